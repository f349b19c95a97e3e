package appliance

import (
	"errors"
	"log/slog"
	"os"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target/sbc"
	"sluice/target/scsi"
)

// newUnit makes a disk device server, whose persistent reservations are kept in dir.
func newUnit(name string, id uuid.UUID, disk sbc.Disk, dir *dataDir, log *slog.Logger) (*unit, error) {
	d, err := sbc.New(sbc.Options{
		Disk: disk, ID: id, Target: api.IQN(name), Revision: "1",
		Registry: registry{dir.join("reservations-" + id.String() + ".json")}, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	return &unit{disk: d, others: scsi.Absent{}, grown: d.Resized}, nil
}

// registry keeps a disk's persistent reservations in a file.
type registry struct{ path string }

// Load implements scsi.Registry.
func (r registry) Load() ([]byte, error) {
	body, err := os.ReadFile(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return body, err
}

// Save implements scsi.Registry.
func (r registry) Save(state []byte) error { return renameio.WriteFile(r.path, state, 0o600) }

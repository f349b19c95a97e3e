package appliance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/google/uuid"
)

// maxReservations is the greatest length of a file of reservations in bytes; there is a
// bound on how many initiators a volume registers.
const maxReservations = 1 << 20

// reservations keeps the persistent reservations of one volume in a file, so that they
// survive restarts and losses of power (SPC-4 5.13.5).
type reservations struct{ path string }

func reservationsOf(dir string, id uuid.UUID) *reservations {
	return &reservations{path: filepath.Join(dir, id.String())}
}

// Load returns what was saved last, or nothing.
func (r *reservations) Load() ([]byte, error) {
	info, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxReservations {
		err = fmt.Errorf("%s has %d bytes, which cannot be", r.path, info.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("reading persistent reservations: %w", err)
	}
	state, err := os.ReadFile(r.path)
	if err != nil {
		return nil, fmt.Errorf("reading persistent reservations: %w", err)
	}
	return state, nil
}

// Save replaces what was saved before; when it returns, that survives a loss of power.
func (r *reservations) Save(state []byte) error {
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return fmt.Errorf("saving persistent reservations: %w", err)
	}
	if err := renameio.WriteFile(r.path, state, 0o600); err != nil {
		return fmt.Errorf("saving persistent reservations: %w", err)
	}
	return nil
}

// forget drops them: the volume leaves this gateway.
func (r *reservations) forget() error {
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dropping persistent reservations: %w", err)
	}
	return nil
}

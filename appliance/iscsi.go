package appliance

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target"
	"sluice/target/sbc"
	"sluice/target/scsi"
)

// unit is a disk as initiators see it.
type unit struct {
	disk   scsi.LogicalUnit // LUN 0
	others scsi.LogicalUnit // all other LUNs
	grown  func()           // tells initiators of a new size
}

// targets makes disks iSCSI targets with one LUN each.
type targets struct {
	server *target.Server
	unit   func(name string, id uuid.UUID, disk sbc.Disk) (*unit, error)

	mu    sync.Mutex
	grown map[string]func() // by volume
}

func newTargets(server *target.Server, makeUnit func(string, uuid.UUID, sbc.Disk) (*unit, error)) *targets {
	return &targets{server: server, unit: makeUnit, grown: map[string]func(){}}
}

// Export implements exporter.
func (t *targets) Export(name string, id uuid.UUID, disk sbc.Disk) error {
	u, err := t.unit(name, id, disk)
	if err != nil {
		return fmt.Errorf("making a SCSI disk: %w", err)
	}
	err = t.server.AddTarget(target.Target{
		Name: api.IQN(name), Alias: name,
		LUs: map[uint64]scsi.LogicalUnit{0: u.disk}, Other: u.others,
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.grown[name] = u.grown
	return nil
}

// Withdraw implements exporter.
func (t *targets) Withdraw(ctx context.Context, name string) error {
	t.mu.Lock()
	delete(t.grown, name)
	t.mu.Unlock()
	return t.server.RemoveTarget(ctx, api.IQN(name))
}

// Grown implements exporter.
func (t *targets) Grown(name string) {
	t.mu.Lock()
	grown := t.grown[name]
	t.mu.Unlock()
	if grown != nil {
		grown()
	}
}

// Sessions implements exporter.
func (t *targets) Sessions(name string) []target.SessionInfo { return t.server.Sessions(api.IQN(name)) }

// Drop implements exporter.
func (t *targets) Drop(ctx context.Context, name string, match func(target.SessionInfo) bool) error {
	_, err := t.server.DropSessions(ctx, api.IQN(name), match)
	return err
}

package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/target"
	"sluice/target/sbc"
	"sluice/target/scsi"
	"sluice/volume"
)

// productRevision is what disks say of themselves (SPC-4 6.6.2, product revision level).
const productRevision = "1"

// targets makes disks iSCSI targets with one LUN each.
type targets struct {
	server *target.Server
	dir    string // where what initiators ask to keep is kept
	access *access
	tokens *sbc.Tokens
	log    *slog.Logger

	mu    sync.Mutex
	disks map[string]*exported // by volume
}

func newTargets(server *target.Server, dir string, rules *access, log *slog.Logger) *targets {
	return &targets{
		server: server, dir: dir, access: rules, tokens: sbc.NewTokens(), log: log,
		disks: map[string]*exported{},
	}
}

// Export implements exporter.
func (t *targets) Export(head *volume.Head, disk sbc.Disk) error {
	name, id := head.Name, head.ID
	device, err := sbc.New(sbc.Options{
		Disk: disk, ID: id, Target: api.IQN(name), Revision: productRevision, WriteThrough: head.WriteThrough,
		Registry: registryOf(disk, keptOf(t.dir, keptReservations, id)), Outlasting: leased(disk), Modes: registryOf(disk, keptOf(t.dir, keptModes, id)),
		Peers: t, Tokens: t.tokens, Logger: t.log.With("volume", name),
	})
	if err != nil {
		return fmt.Errorf("making a SCSI disk: %w", err)
	}
	var unit scsi.LogicalUnit = device
	if _, ok := disk.(standbyDisk); ok {
		unit = scsi.Standby{LogicalUnit: device}
	}
	err = t.server.AddTarget(target.Target{
		Name: api.IQN(name), Alias: name,
		LUs: map[uint64]scsi.LogicalUnit{0: unit}, Other: scsi.Absent{},
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.disks[name] = &exported{id: id, device: device}
	return nil
}

// Withdraw implements exporter.
func (t *targets) Withdraw(ctx context.Context, name string) error {
	t.mu.Lock()
	x := t.disks[name]
	delete(t.disks, name)
	t.mu.Unlock()
	err := t.server.RemoveTarget(ctx, api.IQN(name))
	if x != nil {
		err = errors.Join(err, x.device.Close(ctx))
	}
	return err
}

// Forget implements exporter.
func (t *targets) Forget(id uuid.UUID) error {
	return errors.Join(keptOf(t.dir, keptReservations, id).forget(), keptOf(t.dir, keptModes, id).forget())
}

// Grown implements exporter.
func (t *targets) Grown(name string) {
	t.mu.Lock()
	x := t.disks[name]
	t.mu.Unlock()
	if x != nil {
		x.device.Resized()
	}
}

// Sessions implements exporter.
func (t *targets) Sessions(name string) []target.SessionInfo { return t.server.Sessions(api.IQN(name)) }

// Drop implements exporter.
func (t *targets) Drop(ctx context.Context, name string, match func(target.SessionInfo) bool) error {
	_, err := t.server.DropSessions(ctx, api.IQN(name), match)
	return err
}

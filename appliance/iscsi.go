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
)

// productRevision is what disks say of themselves (SPC-4 6.6.2, product revision level).
const productRevision = "1"

// targets makes disks iSCSI targets with one LUN each.
type targets struct {
	server       *target.Server
	reservations string // directory of persistent reservations
	modes        string // directory of saved mode pages
	access       *access
	tokens       *sbc.Tokens
	log          *slog.Logger

	mu    sync.Mutex
	disks map[string]*exported // by volume
}

func newTargets(server *target.Server, reservations, modes string, rules *access, log *slog.Logger) *targets {
	return &targets{
		server: server, reservations: reservations, modes: modes, access: rules, tokens: sbc.NewTokens(), log: log,
		disks: map[string]*exported{},
	}
}

// Export implements exporter.
func (t *targets) Export(name string, id uuid.UUID, disk sbc.Disk) error {
	device, err := sbc.New(sbc.Options{
		Disk: disk, ID: id, Target: api.IQN(name), Revision: productRevision,
		Registry: reservationsOf(t.reservations, id), Modes: modesOf(t.modes, id), Peers: t, Tokens: t.tokens, Logger: t.log.With("volume", name),
	})
	if err != nil {
		return fmt.Errorf("making a SCSI disk: %w", err)
	}
	err = t.server.AddTarget(target.Target{
		Name: api.IQN(name), Alias: name,
		LUs: map[uint64]scsi.LogicalUnit{0: device}, Other: scsi.Absent{},
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
	return errors.Join(reservationsOf(t.reservations, id).forget(), modesOf(t.modes, id).forget())
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

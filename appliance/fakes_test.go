package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/target"
	"sluice/target/sbc"
	"sluice/volume"
	"sluice/volume/stored"
)

const (
	thisGateway  = "11111111-1111-4111-8111-111111111111"
	otherGateway = "22222222-2222-4222-8222-222222222222"
	alice        = "iqn.2026-11.test:alice"
	bob          = "iqn.2026-11.test:bob"
)

// fakeBucket is a catalogue in memory.
type fakeBucket struct {
	mu      sync.Mutex // held by who looks while a standby does
	heads   map[string]*volume.Head
	openErr error // of the next Open
	opened  map[string]*fakeVolume
}

func newFakeBucket() *fakeBucket {
	return &fakeBucket{heads: map[string]*volume.Head{}, opened: map[string]*fakeVolume{}}
}

func (b *fakeBucket) Create(_ context.Context, n volume.New) (*volume.Head, error) {
	name := n.Name
	if b.heads[name] != nil {
		return nil, fmt.Errorf("creating: %w", volume.ErrExists)
	}
	b.heads[name] = &volume.Head{ID: uuid.New(), Name: name, Size: n.Size, Mode: n.Mode}
	return b.heads[name], nil
}

func (b *fakeBucket) Find(_ context.Context, name string) (*volume.Head, error) {
	if b.heads[name] == nil {
		return nil, fmt.Errorf("volume %q: %w", name, volume.ErrNotFound)
	}
	return new(*b.heads[name]), nil
}

func (b *fakeBucket) List(context.Context) ([]*volume.Head, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	heads := map[string]*volume.Head{}
	for name, h := range b.heads {
		heads[name] = new(*h)
	}
	return slices.SortedFunc(maps.Values(heads), func(a, c *volume.Head) int {
		if a.Name < c.Name {
			return -1
		}
		return 1
	}), nil
}

func (b *fakeBucket) Delete(_ context.Context, name string) error {
	if b.heads[name].Owner != nil {
		return volume.ErrOwned
	}
	delete(b.heads, name)
	return nil
}

func (b *fakeBucket) At(context.Context, *volume.Head, time.Time) (*volume.Past, error) {
	return nil, volume.ErrNoPast
}

func (b *fakeBucket) Moments(context.Context, *volume.Head, int) ([]volume.Moment, error) {
	return nil, volume.ErrNoPast
}

func (b *fakeBucket) Place(uuid.UUID, stored.Placement) error { return nil }
func (b *fakeBucket) Unplace(uuid.UUID) error                 { return nil }

func (b *fakeBucket) Open(_ context.Context, head *volume.Head, force bool) (servedVolume, error) {
	id := head.ID
	if err := b.openErr; err != nil {
		b.openErr = nil
		return nil, err
	}
	for _, h := range b.heads {
		if h.ID != id {
			continue
		}
		if h.Owner != nil && h.Owner.Gateway != thisGateway && !force {
			return nil, fmt.Errorf("attaching: %w", volume.ErrOwned)
		}
		h.Owner = &volume.Owner{Gateway: thisGateway}
		h.Epoch++
		b.opened[h.Name] = &fakeVolume{head: h}
		return b.opened[h.Name], nil
	}
	return nil, volume.ErrNotFound
}

func (b *fakeBucket) TakeOver(ctx context.Context, head *volume.Head) (servedVolume, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.heads[head.Name]; now == nil || now.Nonce != head.Nonce {
		return nil, fmt.Errorf("taking over: %w", volume.ErrOwned)
	}
	return b.Open(ctx, head, true)
}

// fakeVolume remembers what was done to it.
type fakeVolume struct {
	sbc.Disk // no I/O here
	head     *volume.Head
	failure  string
	detach   error
	closed   bool
}

func (v *fakeVolume) Size() int64 { return v.head.Size }
func (v *fakeVolume) Mapped(_ context.Context, off int64) (bool, int64, error) {
	return off < 4096, 4096, nil
}
func (v *fakeVolume) Resize(_ context.Context, size int64) error { v.head.Size = size; return nil }
func (v *fakeVolume) Hold(context.Context) (momentHold, error) {
	return nil, errors.New("a fake volume cannot be held")
}

func (v *fakeVolume) Stats() volume.Stats {
	return volume.Stats{Size: v.head.Size, Epoch: v.head.Epoch, Error: v.failure, Queued: 8192, Segments: 1}
}

func (v *fakeVolume) Detach(context.Context) error {
	if v.detach == nil {
		v.head.Owner, v.closed = nil, true
	}
	return v.detach
}
func (v *fakeVolume) Abandon(ctx context.Context) error { return v.Detach(ctx) }
func (v *fakeVolume) Close() error                      { v.closed = true; return nil }

// fakeExports remembers what is exported and who is logged in.
type fakeExports struct {
	exported map[string]sbc.Disk
	sessions map[string][]target.SessionInfo
	grown    []string
	stale    map[uuid.UUID]bool // volumes of which something is kept that others may have changed
}

func (x *fakeExports) Export(head *volume.Head, disk sbc.Disk) error {
	name := head.Name
	if _, standby := disk.(standbyDisk); !standby && x.stale[head.ID] {
		return errors.New("what was kept by an earlier serving is still there")
	}
	if x.exported[name] != nil {
		return errors.New("it is exported")
	}
	x.exported[name] = disk
	return nil
}

func (x *fakeExports) Withdraw(_ context.Context, name string) error {
	if x.exported[name] == nil {
		return errors.New("it is not exported")
	}
	delete(x.exported, name)
	delete(x.sessions, name)
	return nil
}

func (x *fakeExports) Forget(id uuid.UUID) error { delete(x.stale, id); return nil }

func (x *fakeExports) Grown(name string)                         { x.grown = append(x.grown, name) }
func (x *fakeExports) Sessions(name string) []target.SessionInfo { return x.sessions[name] }
func (x *fakeExports) Drop(_ context.Context, name string, match func(target.SessionInfo) bool) error {
	x.sessions[name] = slices.DeleteFunc(x.sessions[name], match)
	return nil
}

func (x *fakeExports) login(name, initiator, remote string) {
	x.sessions[name] = append(x.sessions[name], target.SessionInfo{Initiator: initiator, Remote: remote})
}

func (x *fakeExports) loggedIn(name string) []string {
	names := []string{}
	for _, s := range x.sessions[name] {
		names = append(names, s.Initiator)
	}
	return names
}

// fixture is the volumes of a gateway over fakes.
type fixture struct {
	*volumes
	fakes   *fakeBucket
	targets *fakeExports
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	rules, err := openAccess(t.TempDir() + "/access.json")
	if err != nil {
		t.Fatal(err)
	}
	notes, err := openImports(t.TempDir() + "/imports")
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		fakes:   newFakeBucket(),
		targets: &fakeExports{exported: map[string]sbc.Disk{}, sessions: map[string][]target.SessionInfo{}},
	}
	f.volumes = &volumes{
		log: slog.New(slog.DiscardHandler), gateway: uuid.MustParse(thisGateway), portal: func() string { return "127.0.0.1:3260" },
		bucket: f.fakes, exports: f.targets, access: rules, imports: notes, deleted: func() {}, own: map[string]*entry{}, standing: map[string]*volume.Head{}, busy: map[string]struct{}{}, space: (&collector{}).space, resized: func(int) {},
	}
	return f
}

func address(t *testing.T, text string) net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

package scsi

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// exchange is one command with its transport, which counts completions.
type exchange struct {
	Command
	count atomic.Int32
	done  chan struct{}
}

func (x *exchange) Buffer(_ *Command, n int) []byte { return make([]byte, n) }

func (x *exchange) Done(*Command) {
	if x.count.Add(1) == 1 {
		close(x.done)
	}
}

func (x *exchange) wait(t testing.TB) *exchange {
	t.Helper()
	select {
	case <-x.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("CDB %x never completed", x.CDB)
	}
	if n := x.count.Load(); n != 1 {
		t.Fatalf("CDB %x completed %d times", x.CDB, n)
	}
	return x
}

// verdict says what a command ended with: "good", "conflict", or sense key and code.
func (x *exchange) verdict() string {
	switch {
	case x.Status == ReservationConflict:
		return "conflict"
	case x.Status == CheckCondition && x.Sense[0]&0x7f == 0x72:
		return fmt.Sprintf("%x/%02x%02x", x.Sense[1], x.Sense[2], x.Sense[3])
	case x.Status == CheckCondition:
		return fmt.Sprintf("%x/%02x%02x", x.Sense[2], x.Sense[12], x.Sense[13])
	case x.Status != Good:
		return fmt.Sprintf("status %02x", byte(x.Status))
	}
	return "good"
}

// rig is a unit with a command that reads (0x28), one that writes (0x2a), and one that calls
// work in a goroutine (0xc1).
type rig struct {
	t    testing.TB
	u    *Unit
	work func(context.Context) Status
}

func newRig(t testing.TB, registry Registry) *rig { return newRigWith(t, registry, nil) }

func newRigWith(t testing.TB, registry, modes Registry) *rig {
	t.Helper()
	r := &rig{t: t}
	nothing := func(_ context.Context, c *Command) { c.Complete() }
	usage := func(code byte) []byte { return []byte{code, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x07} }
	ops := []*Op{
		{Code: 0x28, Action: -1, Usage: usage(0x28), Access: Reads, Run: nothing, Timeout: 60},
		{Code: 0x2a, Action: -1, Usage: usage(0x2a), Access: Writes, Run: nothing},
		{Code: 0xc1, Action: -1, Usage: []byte{0xc1, 0, 0, 0, 0, 0x07}, Access: Writes, Run: func(ctx context.Context, c *Command) {
			r.u.Go(ctx, c, func(ctx context.Context) {
				c.Status = r.work(ctx)
				r.u.Finished(c)
				c.Complete()
			})
		}},
	}
	var err error
	r.u, err = NewUnit(Config{
		Identity: Identity{
			Vendor: "VENDOR", Product: "PRODUCT", Revision: "1.23", Serial: "serial", NAA: [16]byte{0xab, 1, 15: 0xff}, Target: "iqn.2026-01.test:disk",
			Versions: []uint16{0x00a0, 0x0460}, Pages: map[byte]func() []byte{0xb1: func() []byte { return []byte{0, 1} }},
		},
		Logger: slog.New(slog.DiscardHandler), Registry: registry, Modes: modes, Specific: func() byte { return 0x10 },
		Blocks: func() (uint64, uint32) { return 1 << 33, 512 },
		Logs:   map[byte]func() []byte{0x0d: func() []byte { return []byte{7, 8, 9} }},
	}, ops, []*ModePage{
		{Code: 0x08, Default: append([]byte{0x04}, make([]byte, 17)...), Changeable: append([]byte{0x04}, make([]byte, 17)...)},
		ControlPage(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// nexus attaches an initiator and takes its power-on unit attention.
func (r *rig) nexus(name string) *Nexus {
	r.t.Helper()
	n := &Nexus{Initiator: "iqn.2026-01.test:" + name, ISID: [6]byte{0x80, 0, 0, 0, 0, name[0]}, Portal: 1}
	r.u.Attach(n)
	if got := r.do(n, turCDB, nil).verdict(); got != "6/2900" {
		r.t.Fatalf("the first command of %s: %s", name, got)
	}
	return n
}

var (
	turCDB   = []byte{0, 0, 0, 0, 0, 0}
	readCDB  = []byte{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}
	writeCDB = []byte{0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0}
	workCDB  = []byte{0xc1, 0, 0, 0, 0, 0}
)

func (r *rig) command(n *Nexus, cdb, out []byte) *exchange {
	x := &exchange{done: make(chan struct{})}
	x.Bind(x)
	x.Nexus, x.InMax, x.OutMax = n, 1<<16, int64(len(out))
	x.CDB = append(slices.Clone(cdb), make([]byte, max(0, 16-len(cdb)))...) // iSCSI pads them
	x.Out = out[:min(int64(len(out)), r.u.OutLength(x.CDB))]
	return x
}

func (r *rig) do(n *Nexus, cdb, out []byte) *exchange {
	r.t.Helper()
	x := r.command(n, cdb, out)
	r.u.Submit(context.Background(), []*Command{&x.Command})
	return x.wait(r.t)
}

func (r *rig) expect(n *Nexus, cdb, out []byte, want string) *exchange {
	r.t.Helper()
	x := r.do(n, cdb, out)
	if got := x.verdict(); got != want {
		r.t.Errorf("CDB %x of %s: %s, want %s", cdb, n.Initiator, got, want)
	}
	return x
}

// prOut sends PERSISTENT RESERVE OUT.
func (r *rig) prOut(n *Nexus, action int, typ prType, key, newKey uint64, flags byte) string {
	r.t.Helper()
	return r.do(n, []byte{0x5f, byte(action), byte(typ), 0, 0, 0, 0, 0, 24, 0}, prList(key, newKey, flags)).verdict()
}

func prList(key, newKey uint64, flags byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, key)
	b = binary.BigEndian.AppendUint64(b, newKey)
	return append(b, 0, 0, 0, 0, flags, 0, 0, 0)
}

func (r *rig) must(got string) {
	r.t.Helper()
	if got != "good" {
		r.t.Fatalf("%s, want good", got)
	}
}

// prIn returns the data of PERSISTENT RESERVE IN.
func (r *rig) prIn(n *Nexus, action byte) []byte {
	r.t.Helper()
	return r.expect(n, []byte{0x5e, action, 0, 0, 0, 0, 0, 0xff, 0xff, 0}, nil, "good").In
}

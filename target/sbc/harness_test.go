package sbc

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/target/scsi"
)

const testSectors = 1 << 14 // 8 MiB

// ramDisk is a Disk in memory that keeps a list of the calls made to it. Its hook may fail
// a call, or answer EAGAIN.
type ramDisk struct {
	mu     sync.RWMutex
	data   []byte
	mapped []bool // by sector
	calls  []string
	hook   func(ctx context.Context, op string, wait bool) error
}

func newRAM() *ramDisk {
	return &ramDisk{data: make([]byte, testSectors*sector), mapped: make([]bool, testSectors)}
}

func (r *ramDisk) called(ctx context.Context, op string, wait bool, detail string) error {
	r.mu.Lock()
	r.calls = append(r.calls, op+detail)
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		return hook(ctx, op, wait)
	}
	return nil
}

// history returns the calls since it was last asked.
func (r *ramDisk) history() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func (r *ramDisk) Size() int64 { return int64(len(r.data)) }

func (r *ramDisk) Read(ctx context.Context, p []byte, off int64, wait bool) error {
	if err := r.called(ctx, "read", wait, fmt.Sprintf(" %d+%d", off/sector, len(p)/sector)); err != nil {
		return err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	copy(p, r.data[off:off+int64(len(p))])
	return nil
}

func (r *ramDisk) Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error {
	detail := ""
	for i, b := range bufs {
		detail += fmt.Sprintf(" %d+%d", offs[i]/sector, len(b)/sector)
	}
	if err := r.called(ctx, "write", wait, detail); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range bufs {
		copy(r.data[offs[i]:offs[i]+int64(len(b))], b)
		r.mark(offs[i], int64(len(b)), true)
	}
	return nil
}

func (r *ramDisk) mark(off, n int64, mapped bool) {
	for i := off / sector; i < (off+n)/sector; i++ {
		r.mapped[i] = mapped
	}
}

func (r *ramDisk) Flush(ctx context.Context) error { return r.called(ctx, "flush", true, "") }

func (r *ramDisk) Zero(ctx context.Context, off, n int64, unmap bool) error {
	if err := r.called(ctx, "zero", true, fmt.Sprintf(" %d+%d %v", off/sector, n/sector, unmap)); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.data[off : off+n])
	if unmap {
		r.mark(off, n, false)
	}
	return nil
}

func (r *ramDisk) Mapped(ctx context.Context, off int64) (bool, int64, error) {
	if err := r.called(ctx, "mapped", true, ""); err != nil {
		return false, 0, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	first := int(off / sector)
	end := first + 1
	for end < len(r.mapped) && r.mapped[end] == r.mapped[first] {
		end++
	}
	return r.mapped[first], int64(end-first) * sector, nil
}

// exchange is one command with its transport: it counts completions and what is lent.
type exchange struct {
	scsi.Command
	lent  atomic.Int64
	count atomic.Int32
	done  chan struct{}
}

func (x *exchange) Buffer(_ *scsi.Command, n int) []byte {
	x.lent.Add(int64(n))
	return make([]byte, n)
}

func (x *exchange) Done(*scsi.Command) {
	if x.count.Add(1) == 1 {
		close(x.done)
	}
}

// command is a CDB with its data, as a transport would submit it: data-out is cut to what
// the device server asks for.
func command(d *Device, n *scsi.Nexus, cdb, out []byte, inMax int) *exchange {
	x := &exchange{done: make(chan struct{})}
	x.Bind(x)
	x.Nexus, x.InMax, x.OutMax = n, inMax, int64(len(out))
	x.CDB = append(slices.Clone(cdb), make([]byte, max(0, 16-len(cdb)))...) // iSCSI pads them
	x.Out = out[:min(int64(len(out)), d.OutLength(x.CDB))]
	return x
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

// verdict says what a command ended with: "good", a status, or sense key and code.
func (x *exchange) verdict() string {
	switch {
	case x.Status == scsi.CheckCondition && len(x.Sense) >= 14:
		return fmt.Sprintf("%x/%02x%02x", x.Sense[2]&0xf, x.Sense[12], x.Sense[13])
	case x.Status != scsi.Good:
		return fmt.Sprintf("status %02x", byte(x.Status))
	}
	return "good"
}

type rig struct {
	t   testing.TB
	d   *Device
	ram *ramDisk
	n   *scsi.Nexus
}

func newRig(t testing.TB) *rig {
	t.Helper()
	ram := newRAM()
	return newRigOn(t, ram, ram)
}

// newRigOn makes a device of a disk that is ram, or wraps it.
func newRigOn(t testing.TB, ram *ramDisk, disk Disk) *rig {
	t.Helper()
	r := &rig{t: t, ram: ram, n: &scsi.Nexus{Initiator: "iqn.2026-01.test:a", Portal: 1}}
	var err error
	r.d, err = New(Options{Disk: disk, ID: [16]byte{1, 2, 3}, Target: "iqn.2026-01.test:disk", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) do(cdb, out []byte, inMax int) *exchange {
	r.t.Helper()
	x := command(r.d, r.n, cdb, out, inMax)
	r.d.Submit(context.Background(), []*scsi.Command{&x.Command})
	return x.wait(r.t)
}

func (r *rig) good(cdb, out []byte, inMax int) *exchange {
	r.t.Helper()
	x := r.do(cdb, out, inMax)
	if v := x.verdict(); v != "good" {
		r.t.Fatalf("CDB %x: %s", cdb, v)
	}
	return x
}

// cdb10, cdb12 and cdb16 build CDBs with an address and a length.
func cdb10(code, flags byte, lba uint32, n uint16) []byte {
	b := append([]byte{code, flags}, make([]byte, 8)...)
	binary.BigEndian.PutUint32(b[2:], lba)
	binary.BigEndian.PutUint16(b[7:], n)
	return b
}

func cdb12(code, flags byte, lba, n uint32) []byte {
	b := append([]byte{code, flags}, make([]byte, 10)...)
	binary.BigEndian.PutUint32(b[2:], lba)
	binary.BigEndian.PutUint32(b[6:], n)
	return b
}

func cdb16(code, flags byte, lba uint64, n uint32) []byte {
	b := append([]byte{code, flags}, make([]byte, 14)...)
	binary.BigEndian.PutUint64(b[2:], lba)
	binary.BigEndian.PutUint32(b[10:], n)
	return b
}

// unmapList is the parameter list of UNMAP for pairs of address and length.
func unmapList(pairs ...uint64) []byte {
	n := len(pairs) / 2 * 16
	b := binary.BigEndian.AppendUint16(nil, uint16(n+6))
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, 0, 0, 0, 0)
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint64(b, pairs[i])
		b = binary.BigEndian.AppendUint32(b, uint32(pairs[i+1]))
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

func again(_ context.Context, _ string, wait bool) error {
	if !wait {
		return syscall.EAGAIN
	}
	return nil
}

// setCaching sends MODE SELECT(6) with the caching page.
func (r *rig) setCaching(wce byte) {
	r.t.Helper()
	r.good([]byte{0x15, 0x10, 0, 0, 24, 0}, append([]byte{0, 0, 0, 0, 0x08, 18, wce}, make([]byte, 17)...), 0)
}

package sbc

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"sluice/target/scsi"
)

// FuzzCommand sends any CDB with any data to a disk that answers at once, makes commands wait,
// or fails: nothing panics, each completes exactly once and takes a bounded amount of memory,
// and the disk is never asked for what it does not have.
func FuzzCommand(f *testing.F) {
	for _, cdb := range [][]byte{
		{0x08, 0, 0, 1, 0, 0},
		cdb10(0x28, 0x1a, 1, 1), cdb12(0xa8, 0, 1, 1), cdb16(0x88, 0, 1, 1), cdb10(0x2a, 8, 1, 1),
		cdb10(0x2e, 2, 1, 1), cdb10(0x2f, 6, 1, 3), cdb10(0x41, 8, 1, 4), cdb16(0x93, 1, 0, 0), cdb16(0x8b, 0, 1, 1), compareCDB(1, 1),
		cdb10(0x42, 0, 0, 24), cdb10(0x25, 0, 0, 0), cdb16(0x9e, 0x10, 0, 4), cdb16(0x9e, 0x12, 0, 1<<32-1),
		{0x12, 1, 0x83, 0, 255, 0},
		{0x1a, 0, 0x3f, 0xff, 0, 0},
		{0x15, 0x10, 0, 0, 24, 0},
		cdb10(0x5f, 0, 0, 0), cdb10(0x5e, 3, 0, 255),
		cdb12(0xa3, 0x0c, 0, 2), cdb12(0xa0, 0, 0, 16),
		{0x16, 0, 0, 0, 0, 0},
		{0x03, 0, 0, 0, 18, 0},
		cdb12(0xb7, 0, 0, 4),
		cdb16(0x83, 0, 0, 36), cdb16(0x83, 0x10, 0, 36), cdb16(0x83, 0x11, 0, 36), cdb16(0x84, 3, 0, 64), atomicCDB(0, 8, 8),
	} {
		f.Add(cdb, unmapList(1, 2, 3, 4), uint16(512), byte(0))
	}
	ram := newRAM()
	f.Fuzz(func(t *testing.T, cdb, out []byte, inMax uint16, mood byte) {
		if len(cdb) < 6 || len(cdb) > 260 {
			return
		}
		ram.calls = nil
		r := newRigOn(t, ram, copying{bounded{ram}})
		ram.hook = func(_ context.Context, _ string, wait bool) error {
			switch {
			case mood&1 != 0 && !wait:
				return syscall.EAGAIN
			case mood&2 != 0:
				return errors.New("boom")
			}
			return nil
		}
		x := command(r.d, r.n, cdb, out, int(inMax))
		if len(x.CDB) > 16 {
			x.CDB = x.CDB[:len(cdb)]
		}
		r.d.Submit(context.Background(), []*scsi.Command{&x.Command})
		x.wait(t)
		if x.verdict() == "4/4400" {
			t.Error("panic") // of ours, or of bounded
		}
		if lent := x.lent.Load(); lent > maxTransfer*sector {
			t.Errorf("%d bytes lent", lent)
		}
		if cap(x.In) > maxTransfer*sector+4096 {
			t.Errorf("%d bytes of data-in", cap(x.In))
		}
		if mood&2 != 0 && x.Status == scsi.Good && len(ram.history()) > 0 {
			t.Error("the disk failed, and the answer is GOOD")
		}
		if x.Status == scsi.CheckCondition && (len(x.Sense) < 8 || len(x.In) > 0) {
			t.Errorf("CHECK CONDITION with sense % x and %d bytes of data-in", x.Sense, len(x.In))
		}
	})
}

// bounded is a ramDisk that panics when it is asked for what the Disk contract excludes.
type bounded struct{ *ramDisk }

// copying is one that copies inside itself, too.
type copying struct{ bounded }

func (c copying) MaxAtomic() int64 { return copyDisk{c.ramDisk}.MaxAtomic() }

func (c copying) Copy(ctx context.Context, dst, src, n int64) error {
	c.check(dst, n)
	c.check(src, n)
	return copyDisk{c.ramDisk}.Copy(ctx, dst, src, n)
}

func (b bounded) check(off, n int64) {
	if off < 0 || n <= 0 || off%sector != 0 || n%sector != 0 || off > b.Size()-n {
		panic("outside of the disk, or not whole sectors")
	}
}

func (b bounded) Read(ctx context.Context, p []byte, off int64, wait bool) error {
	b.check(off, int64(len(p)))
	return b.ramDisk.Read(ctx, p, off, wait)
}

func (b bounded) Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error {
	for i, p := range bufs {
		b.check(offs[i], int64(len(p)))
	}
	return b.ramDisk.Write(ctx, slices.Clone(bufs), offs, wait)
}

func (b bounded) Zero(ctx context.Context, off, n int64, unmap bool) error {
	b.check(off, n)
	return b.ramDisk.Zero(ctx, off, n, unmap)
}

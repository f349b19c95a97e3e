package sbc

import (
	"context"
	"encoding/binary"
	"syscall"

	"sluice/target/scsi"
)

// AtomicWriter is implemented by a Disk that never keeps a part of a write.
type AtomicWriter interface {
	// MaxAtomic returns how long, in bytes, a write of one buffer may be so that, whenever the
	// process dies or power is lost, either all of it or nothing of it is there afterwards, if its
	// offset and its length are multiples of 4096. It never changes; 0 means that no
	// write is atomic.
	MaxAtomic() int64
}

// maxAtomic returns the longest atomic write of a disk, in sectors, or 0.
func maxAtomic(disk Disk) uint64 {
	if a, ok := disk.(AtomicWriter); ok {
		return min(uint64(max(a.MaxAtomic(), 0))&^(block-1)/sector, maxTransfer, 0xffff)
	}
	return 0
}

// atomicOut is the data-out of WRITE ATOMIC, whose length is in another place than that of other
// commands.
func (d *Device) atomicOut(cdb []byte) int64 {
	if n := uint64(binary.BigEndian.Uint16(cdb[12:])); n <= d.maxAtomic {
		return int64(n) * sector
	}
	return 0
}

// writeAtomic carries out WRITE ATOMIC (16) (SBC-4 4.29 and 5.48), without atomic boundaries: of
// the write, a crash leaves all or nothing, and a read sees all or nothing.
func (d *Device) writeAtomic(ctx context.Context, c *scsi.Command) {
	be := binary.BigEndian
	a := address{be.Uint64(c.CDB[2:]), uint64(be.Uint16(c.CDB[12:]))}
	const aligned = block/sector - 1
	switch {
	case !d.inside(a):
		d.Fail(c, scsi.Sense{Key: scsi.IllegalRequest, Code: scsi.LBAOutOfRange, Info: max(a.lba, d.sectors()), HasInfo: true})
		return
	case a.lba&aligned != 0:
		d.Fail(c, scsi.BadField(2, 7))
		return
	case a.n > d.maxAtomic, a.n&aligned != 0, c.OutMax != a.bytes():
		d.Fail(c, scsi.BadField(12, 7))
		return
	case !d.writable(c):
		return
	case a.n == 0:
		c.Complete()
		return
	}
	c.Transfer = a.bytes()
	flush := d.forced(c)
	d.Go(ctx, c, func(ctx context.Context) {
		err := d.exclusive.alone(ctx, func() error { return d.whole(ctx, c.Out[:a.bytes()], a.offset()) })
		if err == nil && flush {
			err = d.disk.Flush(ctx)
		}
		d.finish(c, err, true)
	})
}

// span is a range of a disk in bytes.
type span struct{ off, end int64 }

// whole writes so that a read sees all or nothing of it. The caller has exclusive alone.
func (d *Device) whole(ctx context.Context, p []byte, off int64) error {
	d.changed(off, int64(len(p)))
	d.writing.Store(&span{off, off + int64(len(p))})
	d.wholes.Add(1)
	defer d.wholes.Add(1)
	return d.disk.Write(ctx, [][]byte{p}, []int64{off}, true)
}

// clash tells whether a whole write to some of n bytes from off was under way, or may have been,
// when wholes was before. Such a write may wait for room in a buffer for long; who reads
// elsewhere need not wait with it.
func (d *Device) clash(before uint64, off, n int64) bool {
	if before&1 == 0 {
		return false
	}
	w := d.writing.Load()
	return d.wholes.Load() != before || off < w.end && w.off < off+n
}

// steady reads without waiting. It asks to be called again (EAGAIN, as the disk does) if what it
// has read may be a part of a write that is to be seen whole.
func (d *Device) steady(ctx context.Context, p []byte, off int64) error {
	before := d.wholes.Load()
	if d.clash(before, off, int64(len(p))) {
		return syscall.EAGAIN
	}
	err := d.disk.Read(ctx, p, off, false)
	if err == nil && d.wholes.Load() != before {
		return syscall.EAGAIN
	}
	return err
}

// steadyTries is how often a read is tried that whole writes get in the way of, before it stops
// them.
const steadyTries = 8

// fetch reads, waits where it has to, and never sees a part of a write that is to be seen whole.
// Otherwise it holds no lock: it may wait for the network for long.
func (d *Device) fetch(ctx context.Context, p []byte, off int64) error {
	for range steadyTries {
		before := d.wholes.Load()
		if d.clash(before, off, int64(len(p))) { // until it is over
			if err := d.exclusive.share(ctx); err != nil {
				return err
			}
			d.exclusive.leave()
			continue
		}
		if err := d.disk.Read(ctx, p, off, true); err != nil || d.wholes.Load() == before {
			return err
		}
	}
	if err := d.exclusive.share(ctx); err != nil {
		return err
	}
	defer d.exclusive.leave()
	return d.disk.Read(ctx, p, off, true)
}

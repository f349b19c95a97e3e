package sbc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"syscall"

	"sluice/target/scsi"
)

// synchronize carries out SYNCHRONIZE CACHE: all of the cache, whatever the range (SBC-3 5.22).
func (d *Device) synchronize(ctx context.Context, c *scsi.Command) {
	if !d.inside(addressOf(c.CDB)) {
		d.outOfRange(c)
		return
	}
	d.Go(ctx, c, func(ctx context.Context) { d.finish(c, d.disk.Flush(ctx), true) })
}

func (d *Device) outOfRange(c *scsi.Command) {
	d.Fail(c, scsi.Sense{
		Key: scsi.IllegalRequest, Code: scsi.LBAOutOfRange,
		Info: max(addressOf(c.CDB).lba, d.sectors()), HasInfo: true,
	})
}

// prefetch promises nothing (SBC-3 5.10).
func (d *Device) prefetch(_ context.Context, c *scsi.Command) {
	if !d.inside(addressOf(c.CDB)) {
		d.outOfRange(c)
		return
	}
	c.Complete()
}

// verify carries out VERIFY: it reads the range and compares it with what the initiator
// sent, if anything (SBC-3 5.30).
func (d *Device) verify(ctx context.Context, c *scsi.Command) {
	a, check := addressOf(c.CDB), c.CDB[1]>>1&3
	if check == 2 {
		d.Fail(c, scsi.BadField(1, 2))
		return
	}
	if !d.checkRange(c, a) {
		return
	}
	if int64(len(c.Out)) < verifyOut(c.CDB) {
		d.Fail(c, scsi.BadField(lengthField(c.CDB), 7)) // the initiator sent less than its CDB says
		return
	}
	c.Transfer = verifyOut(c.CDB)
	if a.n == 0 {
		c.Complete()
		return
	}
	d.Go(ctx, c, func(ctx context.Context) {
		got := c.Buffer(int(a.bytes()))
		if err := d.fetch(ctx, got, a.offset()); err != nil || check == 0 {
			d.finish(c, err, false)
			return
		}
		want := c.Out
		if check == 3 {
			want = bytes.Repeat(c.Out[:sector], int(a.n))
		}
		d.compared(c, got, want)
	})
}

// compared completes a command that Go runs with what a comparison found.
func (d *Device) compared(c *scsi.Command, got, want []byte) {
	d.Finished(c)
	for i := range got {
		if got[i] != want[i] {
			d.Fail(c, scsi.Sense{Key: scsi.Miscompare, Code: scsi.MiscompareDuringVerify, Info: uint64(i), HasInfo: true})
			return
		}
	}
	c.Complete()
}

// writeAndVerify writes and reads back (SBC-3 5.38).
func (d *Device) writeAndVerify(ctx context.Context, c *scsi.Command) {
	a := addressOf(c.CDB)
	if c.CDB[1]>>1&3 > 1 {
		d.Fail(c, scsi.BadField(1, 2))
		return
	}
	if !d.checkWrite(c) {
		return
	}
	c.Transfer = a.bytes()
	p := c.Out[:min(int64(len(c.Out)), a.bytes())]
	if len(p) == 0 {
		c.Complete()
		return
	}
	d.Go(ctx, c, func(ctx context.Context) {
		got := c.Buffer(wholeSectors(len(p)))
		err := d.merge(ctx, got, p, a.offset())
		if err == nil {
			err = d.disk.Flush(ctx)
		}
		if err == nil {
			err = d.fetch(ctx, got, a.offset())
		}
		if err != nil {
			d.finish(c, err, true)
			return
		}
		d.compared(c, got[:len(p)], p)
	})
}

// wholeSectors returns the bytes of the sectors that n bytes touch.
func wholeSectors(n int) int { return (n + sector - 1) &^ (sector - 1) }

// writePart carries out a WRITE of which the initiator was ready to send no whole number
// of sectors: what it did send is written, to the byte.
func (d *Device) writePart(ctx context.Context, c *scsi.Command, p []byte, off int64) {
	flush := d.forced(c)
	d.Go(ctx, c, func(ctx context.Context) {
		err := d.merge(ctx, c.Buffer(wholeSectors(len(p))), p, off)
		if err == nil && flush {
			err = d.disk.Flush(ctx)
		}
		d.finish(c, err, true)
	})
}

// merge writes p, which may end within a sector; got has room for all of its sectors.
func (d *Device) merge(ctx context.Context, got, p []byte, off int64) error {
	if len(got) == len(p) {
		return d.put(ctx, p, off)
	}
	return d.modify(ctx, got, off, func() []byte {
		copy(got, p)
		return got
	})
}

// modify fills got from off and writes there what change makes of it, if anything, while
// nothing else writes. What is there is fetched before that, so that nobody has to wait for
// the network with it.
func (d *Device) modify(ctx context.Context, got []byte, off int64, change func() []byte) error {
	for try := 0; ; try++ {
		err := d.exclusive.alone(ctx, func() error {
			if err := d.disk.Read(ctx, got, off, try == steadyTries); err != nil {
				return err
			}
			if p := change(); p != nil {
				return d.whole(ctx, p, off)
			}
			return nil
		})
		if !errors.Is(err, syscall.EAGAIN) {
			return err
		}
		if err := d.disk.Read(ctx, got, off, true); err != nil {
			return err
		}
	}
}

// zero makes a range read as zeros.
func (d *Device) zero(ctx context.Context, a address, unmap bool) error {
	return d.changing(ctx, a.offset(), a.bytes(), func() error { return d.disk.Zero(ctx, a.offset(), a.bytes(), unmap) })
}

// compareAndWrite writes its second half if the range holds its first half, as one step
// (SBC-3 5.2).
func (d *Device) compareAndWrite(ctx context.Context, c *scsi.Command) {
	be := binary.BigEndian
	a := address{be.Uint64(c.CDB[2:]), uint64(c.CDB[13])}
	switch {
	case !d.inside(a):
		d.outOfRange(c)
		return
	case !d.writable(c):
		return
	case a.n > maxCompare, c.OutMax != 2*a.bytes():
		d.Fail(c, scsi.BadField(13, 7)) // too much, or not what the initiator sends
		return
	case a.n == 0:
		c.Complete()
		return
	}
	c.Transfer = 2 * a.bytes()
	flush := d.forced(c)
	d.Go(ctx, c, func(ctx context.Context) {
		got := c.Buffer(int(a.bytes()))
		want, p := c.Out[:a.bytes()], c.Out[a.bytes():2*a.bytes()]
		same := false
		err := d.modify(ctx, got, a.offset(), func() []byte {
			if same = bytes.Equal(got, want); same {
				return p
			}
			return nil
		})
		if err == nil && same && flush {
			err = d.disk.Flush(ctx)
		}
		if err != nil || same {
			d.finish(c, err, true)
			return
		}
		d.compared(c, got, want)
	})
}

// orWrite combines what is there with what was sent (SBC-3 5.8).
func (d *Device) orWrite(ctx context.Context, c *scsi.Command) {
	a := addressOf(c.CDB)
	if !d.checkWrite(c) {
		return
	}
	c.Transfer = a.bytes()
	p := c.Out[:min(int64(len(c.Out)), a.bytes())]
	if len(p) == 0 {
		c.Complete()
		return
	}
	flush := d.forced(c)
	d.Go(ctx, c, func(ctx context.Context) {
		got := c.Buffer(wholeSectors(len(p)))
		err := d.modify(ctx, got, a.offset(), func() []byte {
			for i := range p {
				got[i] |= p[i]
			}
			return got
		})
		if err == nil && flush {
			err = d.disk.Flush(ctx)
		}
		d.finish(c, err, true)
	})
}

// writeSame carries out WRITE SAME (SBC-3 5.43). Zeros only change the block map.
func (d *Device) writeSame(ctx context.Context, c *scsi.Command) {
	a := addressOf(c.CDB)
	if !d.inside(a) {
		d.outOfRange(c)
		return
	}
	if a.n == 0 { // up to the end of the disk
		a.n = d.sectors() - a.lba
	}
	if a.n > maxWriteSame {
		d.Fail(c, scsi.BadField(lengthField(c.CDB), 7))
		return
	}
	if !d.writable(c) {
		return
	}
	if c.OutMax != oneSector(c.CDB) {
		d.Fail(c, scsi.BadField(1, 0)) // the initiator sends more or less than one sector
		return
	}
	c.Transfer = oneSector(c.CDB)
	var pattern [sector]byte
	copy(pattern[:], c.Out)
	flush := d.writeThroughMode()
	d.Go(ctx, c, func(ctx context.Context) {
		var err error
		if pattern == [sector]byte{} {
			err = d.zero(ctx, a, c.CDB[1]&0x08 != 0)
		} else {
			err = d.repeat(ctx, pattern[:], a)
		}
		if err == nil && flush {
			err = d.disk.Flush(ctx)
		}
		d.finish(c, err, true)
	})
}

// repeat writes one sector all over a range.
func (d *Device) repeat(ctx context.Context, pattern []byte, a address) error {
	chunk := bytes.Repeat(pattern, int(min(a.n, bestTransfer)))
	for off, left := a.offset(), a.bytes(); left > 0; {
		p := chunk[:min(left, int64(len(chunk)))]
		if err := d.put(ctx, p, off); err != nil {
			return err
		}
		off, left = off+int64(len(p)), left-int64(len(p))
	}
	return nil
}

// unmap carries out UNMAP (SBC-3 5.28). All of the list is checked first.
func (d *Device) unmap(ctx context.Context, c *scsi.Command) {
	be := binary.BigEndian
	length := int(be.Uint16(c.CDB[7:]))
	if length == 0 {
		c.Complete()
		return
	}
	if length < 8 || len(c.Out) < length || int(be.Uint16(c.Out[2:]))+8 > length {
		d.Fail(c, scsi.Illegal(scsi.ParameterListLength))
		return
	}
	if !d.writable(c) {
		return
	}
	list := c.Out[8:][:be.Uint16(c.Out[2:])]
	if len(list)/16 > maxUnmapRanges {
		d.Fail(c, scsi.BadParameter(2, 7))
		return
	}
	var ranges []address
	for ; len(list) >= 16; list = list[16:] {
		a := address{be.Uint64(list), uint64(be.Uint32(list[8:]))}
		if !d.inside(a) {
			d.Fail(c, scsi.Sense{Key: scsi.IllegalRequest, Code: scsi.LBAOutOfRange, Info: max(a.lba, d.sectors()), HasInfo: true})
			return
		}
		ranges = append(ranges, a)
	}
	c.Transfer = int64(length)
	flush := d.writeThroughMode()
	d.Go(ctx, c, func(ctx context.Context) {
		var err error
		for _, a := range ranges {
			if a.n > 0 && err == nil {
				err = d.zero(ctx, a, true)
			}
		}
		if err == nil && flush {
			err = d.disk.Flush(ctx)
		}
		d.finish(c, err, true)
	})
}

package sbc

import (
	"context"
	"errors"

	"sluice/target/scsi"
)

// Copier is implemented by a Disk that can copy a range of itself without moving its data.
type Copier interface {
	// Copy makes the n bytes at dst read as the n bytes at src do. All three are multiples of
	// 4096, and the ranges do not overlap. When it returns nil the copy survives what a
	// completed Write survives; with an error any part of it may have been made. An error
	// that is errors.ErrUnsupported means that nothing was done, and has the range
	// read and written instead. It may be called concurrently with everything else. COMPARE AND
	// WRITE, and all writes behind it, wait for it: it should not take long.
	Copy(ctx context.Context, dst, src, n int64) error
}

// Peers finds the other disks of a gateway.
type Peers interface {
	// Peer returns the disk that has an NAA designator (scsi.Identity), if an initiator that
	// has a session with the disk of would be let in there, too, by what it has shown there. It
	// returns nil if there is no such disk or the initiator may not use it.
	Peer(of *Device, initiator string, naa [16]byte) *Device
}

// Bounds of one step of a copy. Between two steps it can be cancelled.
const (
	copyPiece = 1 << 20  // bytes that are read and written at once
	copyStep  = 16 << 20 // bytes that a Copier copies at once; commands that are alone wait for it
	copySlots = 4        // copies at the same time that need a buffer, for a destination
)

// errProtected is returned for a copy to a disk that its initiators have write protected.
var errProtected = errors.New("the disk is write protected")

// sourceError is that of reading what is to be copied.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// find returns the disk of a designator, if the initiator of a command may use it, or nil.
func (d *Device) find(c *scsi.Command, naa [16]byte) *Device {
	switch {
	case naa == d.naa:
		return d
	case d.peers == nil:
		return nil
	}
	return d.peers.Peer(d, c.Nexus.Initiator, naa)
}

// visit makes a command that runs on this disk one of another as well (scsi.Unit.Join). The
// reservations of this disk were respected when the command was admitted.
func (d *Device) visit(ctx context.Context, c *scsi.Command, other *Device, a scsi.Access) (context.Context, func(), error) {
	if other == d {
		return ctx, func() {}, nil
	}
	return other.Join(ctx, c, a)
}

// extent is a range of bytes of a disk.
type extent struct {
	disk   *Device
	off, n int64
}

func (e extent) overlaps(f extent) bool {
	return e.disk == f.disk && e.off < f.off+f.n && f.off < e.off+e.n
}

// transfer is a copy from one extent to another that is as long, as if all of the source were read
// before anything is written.
type transfer struct {
	dst, src extent
	check    func() error  // called after each step has read: what was read may be used
	progress func(n int64) // called after each step
}

// run carries the copy out. Inside one disk, whole blocks are copied by the disk itself. All else is
// read and written.
func (t *transfer) run(ctx context.Context) error {
	if t.src.n == 0 {
		return nil
	}
	if t.dst.disk.writeProtected() {
		return errProtected
	}
	if err := t.dst.disk.enterCopy(ctx); err != nil {
		return err
	}
	defer t.dst.disk.leaveCopy()
	if t.dst.disk != t.src.disk || t.dst.overlaps(t.src) || (t.dst.off-t.src.off)%block != 0 {
		return t.pieces(ctx, 0, t.src.n)
	}
	begin := min((block-t.src.off%block)%block, t.src.n) // of whole blocks
	end := begin + (t.src.n-begin)&^(block-1)
	if done, err := t.whole(ctx, begin, end); err != nil {
		return err
	} else if !done {
		return t.pieces(ctx, 0, t.src.n)
	}
	if err := t.pieces(ctx, 0, begin); err != nil {
		return err
	}
	return t.pieces(ctx, end, t.src.n)
}

// whole has the disk copy the blocks between two distances from the beginning. It returns false if
// the disk cannot.
func (t *transfer) whole(ctx context.Context, at, end int64) (done bool, err error) {
	d := t.dst.disk
	copier, ok := d.disk.(Copier)
	if !ok {
		return false, nil
	}
	for first := true; at < end; first = false {
		n := min(end-at, copyStep)
		dst, src := t.dst.off+at, t.src.off+at
		err := d.changing(ctx, dst, n, func() error { return copier.Copy(ctx, dst, src, n) })
		if first && errors.Is(err, errors.ErrUnsupported) {
			return false, nil
		}
		if err == nil {
			err = t.check()
		}
		if err != nil {
			return false, err
		}
		t.progress(n)
		at += n
	}
	return true, nil
}

// pieces reads and writes what is between two distances from the beginning: from the end if
// otherwise the destination would overwrite what is yet to be read.
func (t *transfer) pieces(ctx context.Context, at, end int64) error {
	if at == end {
		return nil
	}
	pool := &t.dst.disk.pieces
	buf := pool.Get().(*[copyPiece]byte)
	defer pool.Put(buf)
	backwards := t.dst.overlaps(t.src) && t.dst.off > t.src.off
	for at < end {
		n := min(end-at, copyPiece)
		from := at
		if backwards {
			end -= n
			from = end
		} else {
			at += n
		}
		if err := t.piece(ctx, buf[:n], from); err != nil {
			return err
		}
	}
	return nil
}

// piece reads and writes as much as p holds.
func (t *transfer) piece(ctx context.Context, p []byte, at int64) error {
	if err := t.src.disk.fetch(ctx, p, t.src.off+at); err != nil {
		return &sourceError{err}
	}
	if err := t.check(); err != nil {
		return err
	}
	if err := t.dst.disk.put(ctx, p, t.dst.off+at); err != nil {
		return err
	}
	t.progress(int64(len(p)))
	return nil
}

// enterCopy waits until a copy to this disk may begin.
func (d *Device) enterCopy(ctx context.Context) error {
	select {
	case d.copying <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Device) leaveCopy() { <-d.copying }

// changing carries out a change of n bytes from off. Nothing is compared and written as one
// meanwhile, and tokens for the range are cancelled before anything changes.
func (d *Device) changing(ctx context.Context, off, n int64, change func() error) error {
	if err := d.exclusive.share(ctx); err != nil {
		return err
	}
	defer d.exclusive.leave() // also if the disk panics
	d.changed(off, n)
	return change()
}

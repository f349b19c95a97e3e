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

// part returns n bytes of the extent from at on.
func (e extent) part(at, n int64) extent { return extent{e.disk, e.off + at, n} }

func (e extent) overlaps(f extent) bool {
	return e.disk == f.disk && e.off < f.off+f.n && f.off < e.off+e.n
}

// copyExtent copies src to dst, which is as long, as if all of src were read before anything is
// written. After each step it calls check, if there is one, and then progress.
//
// Inside one disk, whole blocks are copied by the disk itself. All else is read and written.
func copyExtent(ctx context.Context, dst, src extent, check func() error, progress func(n int64)) error {
	if src.n == 0 {
		return nil
	}
	if dst.disk.writeProtected() {
		return errProtected
	}
	if err := dst.disk.enterCopy(ctx); err != nil {
		return err
	}
	defer dst.disk.leaveCopy()
	step := func(at, n int64, move func(dst, src extent) error) error {
		err := move(dst.part(at, n), src.part(at, n))
		if err == nil && check != nil {
			err = check()
		}
		if err == nil {
			progress(n)
		}
		return err
	}
	at, n := int64(0), src.n
	if copier, ok := dst.disk.disk.(Copier); ok && dst.disk == src.disk && !dst.overlaps(src) && (dst.off-src.off)%block == 0 {
		head := min((block-src.off%block)%block, n)
		whole := head + (n-head)&^(block-1)
		done, err := copyWhole(ctx, copier, head, whole, step)
		if err != nil {
			return err
		}
		if done { // what is left is less than a block at either end
			if err := copyPieces(ctx, dst, src, 0, head, step); err != nil {
				return err
			}
			at = whole
		}
	}
	return copyPieces(ctx, dst, src, at, n-at, step)
}

// stepFunc carries out one step of a copy: n bytes, at bytes from its beginning.
type stepFunc func(at, n int64, move func(dst, src extent) error) error

// copyWhole has the disk copy from at to end. It returns false if the disk cannot.
func copyWhole(ctx context.Context, copier Copier, at, end int64, step stepFunc) (done bool, err error) {
	for first := true; at < end; first = false {
		n := min(end-at, copyStep)
		err := step(at, n, func(dst, src extent) error {
			return dst.disk.changing(ctx, dst.off, n, func() error { return copier.Copy(ctx, dst.off, src.off, n) })
		})
		if first && errors.Is(err, errors.ErrUnsupported) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		at += n
	}
	return true, nil
}

// copyPieces reads and writes n bytes, at bytes from the beginning of both extents: from the end
// if otherwise the destination would overwrite what is yet to be read.
func copyPieces(ctx context.Context, dst, src extent, at, n int64, step stepFunc) error {
	if n == 0 {
		return nil
	}
	pieces := &dst.disk.pieces
	buf := pieces.Get().(*[copyPiece]byte)
	defer pieces.Put(buf)
	backwards := dst.overlaps(src) && dst.off > src.off
	for left := n; left > 0; {
		size := min(left, copyPiece)
		from := at + n - left
		if backwards {
			from = at + left - size
		}
		p := buf[:size]
		err := step(from, size, func(dst, src extent) error {
			if err := src.disk.fetch(ctx, p, src.off); err != nil {
				return &sourceError{err}
			}
			return dst.disk.put(ctx, p, dst.off)
		})
		if err != nil {
			return err
		}
		left -= size
	}
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

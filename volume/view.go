package volume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// View reads one moment of a volume, as a root in the bucket has it, without attaching anything and without a trace. What it
// names must stay in the bucket while it is read: a snapshot of that root sees to that. What it reads comes
// from local copies where there are any. Its methods may be called concurrently.
type View struct {
	blocks  *blockmap.View
	checked checkedReader
	size    int64
}

// OpenView reads a root; size is that of the volume at that moment, in bytes. Of the options it needs Store, Cache
// and Logger.
func OpenView(ctx context.Context, root blockmap.Root, size int64, opts Options) (*View, error) {
	blocks, err := blockmap.OpenView(ctx, opts.Store, root)
	if err != nil {
		return nil, fmt.Errorf("opening a moment of a volume: %w", err)
	}
	return &View{blocks: blocks, checked: checkedReader{opts.Cache, opts.Logger, new(atomic.Int64), nil}, size: size}, nil
}

// Size returns the size of the volume at the moment, in bytes.
func (v *View) Size() int64 { return v.size }

func (v *View) checkRange(off, n int64) error {
	if off < 0 || n < 0 || (off|n)%segment.BlockSize != 0 || off > v.size || n > v.size-off {
		return fmt.Errorf("range of %d bytes at %d is outside the volume or not in blocks of %d", n, off, segment.BlockSize)
	}
	return nil
}

// Extent is a range of bytes.
type Extent struct{ Offset, Length int64 }

// Mapped yields the ranges from off to off+n that occupy space, in order; neighbours are one. All else reads as
// zeros. An error is the last that comes.
func (v *View) Mapped(ctx context.Context, off, n int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		if err := v.checkRange(off, n); err != nil {
			yield(Extent{}, err)
			return
		}
		var x Extent
		for run, err := range v.blocks.Runs(ctx, uint64(off/segment.BlockSize), uint64((off+n)/segment.BlockSize)) {
			if err != nil {
				yield(Extent{}, fmt.Errorf("reading the block map: %w", err))
				return
			}
			start, length := int64(run.Block)*segment.BlockSize, int64(len(run.Entries))*segment.BlockSize
			if x.Offset+x.Length == start {
				x.Length += length
				continue
			}
			if x.Length > 0 && !yield(x, nil) {
				return
			}
			x = Extent{start, length}
		}
		if x.Length > 0 {
			yield(x, nil)
		}
	}
}

// Read fills p from offset off, both whole blocks.
func (v *View) Read(ctx context.Context, p []byte, off int64) error {
	if err := v.checkRange(off, int64(len(p))); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	first := uint64(off / segment.BlockSize)
	done := 0 // bytes of p
	for run, err := range v.blocks.Runs(ctx, first, first+uint64(len(p)/segment.BlockSize)) {
		if err != nil {
			return fmt.Errorf("reading the block map: %w", err)
		}
		start := int(run.Block-first) * segment.BlockSize
		clear(p[done:start])
		done = start + len(run.Entries)*segment.BlockSize
		if err := v.readRuns(ctx, p[start:done], run.Entries); err != nil {
			if failed, ok := errors.AsType[*ReadError](err); ok {
				failed.Offset += off + int64(start)
			}
			return err
		}
	}
	clear(p[done:])
	return nil
}

// readRuns reads mapped blocks. The offset of its error is from the beginning of p.
func (v *View) readRuns(ctx context.Context, p []byte, entries []segment.Entry) error {
	for at := 0; len(entries) > 0; {
		k := runLength(entries)
		if err := v.checked.read(ctx, p[at:at+k*segment.BlockSize], entries[:k], true); err != nil {
			return &ReadError{Offset: int64(at), Err: err}
		}
		at, entries = at+k*segment.BlockSize, entries[k:]
	}
	return nil
}

package volume

import (
	"context"
	"errors"
	"fmt"

	"sluice/volume/segment"
)

// maxCopy bounds one record of a copy, in blocks (16 MiB): even with each block a run of
// its own, it fits into a segment.
const maxCopy = 4096

// Copy makes n bytes from dst on the same as those from src on, which do not overlap. No data is
// moved: the map gives the blocks at dst the names of those at src. Ranges that are not whole
// blocks are errors.ErrUnsupported. It promises what Write does; a copy that fails may have copied a part.
func (v *Volume) Copy(ctx context.Context, dst, src, n int64) error {
	for _, off := range []int64{dst, src} {
		if err := v.checkRange(off, n); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
	}
	if (dst|src|n)%segment.BlockSize != 0 || dst < src+n && src < dst+n {
		return fmt.Errorf("copying %d bytes from %d to %d: not whole blocks, or overlapping: %w", n, src, dst, errors.ErrUnsupported)
	}
	c := copying{v: v}
	to, from := uint64(dst/segment.BlockSize), uint64(src/segment.BlockSize)
	for left := uint64(n / segment.BlockSize); left > 0; {
		count := min(left, maxCopy)
		if err := c.copy(ctx, to, from, count); err != nil {
			return fmt.Errorf("copying %d blocks from block %d to %d: %w", count, from, to, err)
		}
		to, from, left = to+count, from+count, left-count
	}
	v.stats.writeOps.Add(1)
	return nil
}

// copying is what one record of a copy is made of.
type copying struct {
	v       *Volume
	entries []segment.Entry
	holes   []segment.Run // at dst, where src has nothing
	runs    []segment.Run
	from    []segment.Name
	crcs    []uint32
}

func (c *copying) copy(ctx context.Context, to, from, count uint64) error {
	v := c.v
	if err := v.loadPages(ctx, []segment.Run{{Start: from, Count: uint32(count)}, {Start: to, Count: uint32(count)}}, true); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.check(); err != nil {
		return err
	}
	c.entries = append(c.entries[:0], make([]segment.Entry, count)...)
	if err := v.m.Lookup(ctx, from, c.entries, true); err != nil {
		return fmt.Errorf("reading the block map: %w", err)
	}
	if c.collect(to) {
		// What is in the open segment could be overwritten in it, and would then not be
		// stored. A sealed segment keeps what was mapped when it was sealed.
		v.rotate()
	}
	if err := c.appendHoles(ctx); err != nil {
		return err
	}
	return c.appendCopies(ctx)
}

// collect sorts the entries into holes and copies. It reports whether the open segment has any of them.
func (c *copying) collect(to uint64) (open bool) {
	c.holes, c.runs, c.from, c.crcs = c.holes[:0], c.runs[:0], c.from[:0], c.crcs[:0]
	for entries := c.entries; len(entries) > 0; {
		k := runLength(entries)
		run := segment.Run{Start: to, Count: uint32(k)}
		if first := entries[0].Name; first == 0 {
			c.holes = append(c.holes, run)
		} else {
			open = open || c.v.open != nil && first.Segment() == c.v.open.seg.ID
			c.runs, c.from = append(c.runs, run), append(c.from, first)
			for _, e := range entries[:k] {
				c.crcs = append(c.crcs, e.CRC)
			}
		}
		entries, to = entries[k:], to+uint64(k)
	}
	return open
}

// appendHoles unmaps what is not mapped at the source. The caller holds mu.
func (c *copying) appendHoles(ctx context.Context) error {
	if len(c.holes) == 0 {
		return nil
	}
	fits := func(w *segment.Writer) bool { return w.Fits(len(c.holes), 0) }
	return c.v.appendNames(ctx, fits, func(w *segment.Writer) error { return w.AppendZero(segment.OpUnmap, c.holes) }, func() error {
		for _, r := range c.holes {
			if err := c.v.m.Clear(ctx, r.Start, uint64(r.Count)); err != nil {
				return err
			}
		}
		return nil
	})
}

// appendCopies gives the rest its names. The caller holds mu.
func (c *copying) appendCopies(ctx context.Context) error {
	if len(c.runs) == 0 {
		return nil
	}
	fits := func(w *segment.Writer) bool { return w.FitsCopy(len(c.runs), len(c.crcs)) }
	return c.v.appendNames(ctx, fits, func(w *segment.Writer) error { return w.AppendCopy(c.runs, c.from, c.crcs) }, func() error {
		crcs := c.crcs
		for i, r := range c.runs {
			if err := c.v.m.Set(ctx, r.Start, c.from[i], crcs[:r.Count]); err != nil {
				return err
			}
			crcs = crcs[r.Count:]
		}
		return nil
	})
}

// appendNames writes one record without data to the open segment, or to the next one if it does not fit,
// and changes the map as it says. The caller holds mu.
func (v *Volume) appendNames(ctx context.Context, fits func(*segment.Writer) bool, record func(*segment.Writer) error, change func() error) error {
	o, err := v.opened(ctx)
	if err != nil {
		return err
	}
	if !fits(o.w) {
		v.rotate()
		if o, err = v.opened(ctx); err != nil {
			return err
		}
	}
	if err := record(o.w); err != nil {
		err = fmt.Errorf("writing segment %s: %w", o.seg.ID, err)
		v.fail(err)
		return err
	}
	v.appended(o, 0)
	if err := change(); err != nil {
		err = fmt.Errorf("writing the block map: %w", err)
		v.fail(err)
		return err
	}
	return nil
}

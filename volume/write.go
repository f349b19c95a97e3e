package volume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"sluice/volume/segment"
)

// batch is one combined append: whole blocks, in order.
type batch struct {
	data [][]byte
	runs []segment.Run
	crcs []uint32
	// edges are blocks of which only a part is new: the batch may be appended only while
	// the map still says what the rest of them was read from.
	edges []edge
}

type edge struct {
	block uint64
	from  segment.Entry
}

// errChanged is returned when an edge was overwritten while it was being merged.
var errChanged = errors.New("a block changed meanwhile")

var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) free() {
	clear(b.data)
	b.data, b.runs, b.crcs, b.edges = b.data[:0], b.runs[:0], b.crcs[:0], b.edges[:0]
	batches.Put(b)
}

// add appends whole blocks to the batch. Neighbours become one run, but not beyond a
// size that is sure to fit into a segment.
func (b *batch) add(block uint64, p []byte) {
	for len(p) > 0 {
		n := min(len(p), maxRun*segment.BlockSize)
		b.data = append(b.data, p[:n])
		b.runs = append(b.runs, segment.Run{Start: block, Count: uint32(n / segment.BlockSize)})
		for q := p[:n]; len(q) > 0; q = q[segment.BlockSize:] {
			b.crcs = append(b.crcs, segment.Checksum(q[:segment.BlockSize]))
		}
		p, block = p[n:], block+uint64(n/segment.BlockSize)
	}
}

// maxRun is the greatest number of blocks in one run of a batch.
const maxRun = 64

// Write writes bufs[i] at offs[i], for each i, with as few appends as possible. When it
// returns nil the data survives the death of the process; after Flush, a loss of power.
// With wait false it returns EAGAIN, having done nothing, where it would have to wait.
func (v *Volume) Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error {
	b := batches.Get().(*batch)
	defer b.free()
	total, whole := int64(0), true
	for i, p := range bufs {
		if err := v.checkRange(offs[i], int64(len(p))); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		total += int64(len(p))
		whole = whole && (offs[i]|int64(len(p)))%segment.BlockSize == 0
	}
	switch {
	case whole:
		for i, p := range bufs {
			b.add(uint64(offs[i]/segment.BlockSize), p)
		}
		if err := v.writeBatch(ctx, b, wait); err != nil {
			return err
		}
	case !wait:
		return syscall.EAGAIN
	default:
		for i, p := range bufs {
			if err := v.writePart(ctx, p, offs[i]); err != nil {
				return err
			}
		}
	}
	v.stats.writeOps.Add(int64(len(bufs)))
	v.stats.writeBytes.Add(total)
	return nil
}

// MaxAtomic returns the length in bytes up to which a write of whole blocks is one run of one record, so
// that after a crash all of it is there or nothing.
func (v *Volume) MaxAtomic() int64 { return maxRun * segment.BlockSize }

// writePart writes a range that does not begin or does not end with a block: the rest of
// its first and last blocks is read and written with it. No lock is held meanwhile: if
// such a block has changed when the append is due, all is done again.
func (v *Volume) writePart(ctx context.Context, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	first := off / segment.BlockSize
	in := int(off % segment.BlockSize)
	blocks := (in + len(p) + segment.BlockSize - 1) / segment.BlockSize
	buf := make([]byte, blocks*segment.BlockSize)
	last := len(buf) - segment.BlockSize
	for {
		b := batches.Get().(*batch)
		from, err := v.readBlock(ctx, uint64(first), buf[:segment.BlockSize])
		b.edges = append(b.edges, edge{uint64(first), from})
		if err == nil && last > 0 {
			from, err = v.readBlock(ctx, uint64(first)+uint64(blocks)-1, buf[last:])
			b.edges = append(b.edges, edge{uint64(first) + uint64(blocks) - 1, from})
		}
		if err == nil {
			copy(buf[in:], p)
			b.add(uint64(first), buf)
			err = v.writeBatch(ctx, b, true)
		}
		b.free()
		if !errors.Is(err, errChanged) {
			return err
		}
	}
}

// writeBatch takes room in the upload buffer and appends.
func (v *Volume) writeBatch(ctx context.Context, b *batch, wait bool) error {
	if len(b.crcs) == 0 {
		return nil
	}
	if err := v.loadPages(ctx, b.runs, wait); err != nil {
		return err
	}
	size := int64(len(b.crcs)) * segment.BlockSize
	if err := v.opts.Buffer.Take(ctx, size, wait); err != nil {
		return err
	}
	left, err := v.append(ctx, b, wait)
	v.opts.Buffer.Release(left * segment.BlockSize)
	v.stats.acceptedBlocks.Add(int64(len(b.crcs)) - left)
	return err
}

// loadPages makes sure that the map's pages are at hand, so that nobody waits for the
// bucket while it holds the volume's lock.
func (v *Volume) loadPages(ctx context.Context, runs []segment.Run, wait bool) error {
	for _, r := range runs {
		if err := v.m.Load(ctx, r.Start, uint64(r.Count), wait); err != nil {
			return fmt.Errorf("reading the block map: %w", err)
		}
	}
	return nil
}

// append writes the batch to the open segment, and to its successors where it does not
// fit, and points the map there. It returns how many blocks were not written.
func (v *Volume) append(ctx context.Context, b *batch, wait bool) (left int64, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	data, runs, crcs := b.data, b.runs, b.crcs
	if err := v.check(); err != nil {
		return int64(len(crcs)), err
	}
	if !wait && !v.hasRoom(len(crcs), len(runs)) {
		return int64(len(crcs)), syscall.EAGAIN
	}
	if err := v.checkEdges(ctx, b.edges); err != nil {
		return int64(len(crcs)), err
	}
	for len(runs) > 0 {
		o, err := v.opened(ctx)
		if err != nil {
			return int64(len(crcs)), err
		}
		n, k := fit(runs, o.w)
		if k == 0 {
			v.rotate()
			continue
		}
		if err := v.appendRuns(ctx, o, data[:k], runs[:k], crcs[:n]); err != nil {
			return int64(len(crcs)), err
		}
		data, runs, crcs = data[k:], runs[k:], crcs[n:]
	}
	return 0, nil
}

// fit returns how many blocks and runs, from the first on, the segment has room for.
func fit(runs []segment.Run, w *segment.Writer) (blocks, n int) {
	for n < len(runs) && w.Fits(n+1, blocks+int(runs[n].Count)) {
		blocks += int(runs[n].Count)
		n++
	}
	return blocks, n
}

// appendRuns appends runs that fit the open segment as one record. The caller holds mu.
func (v *Volume) appendRuns(ctx context.Context, o *openSegment, data [][]byte, runs []segment.Run, crcs []uint32) error {
	slot, err := o.w.Append(data, runs, crcs)
	if err != nil {
		err = fmt.Errorf("writing segment %s: %w", o.seg.ID, err)
		v.fail(err)
		return err
	}
	v.appended(o, int64(len(crcs)))
	for _, r := range runs {
		if err := v.m.Set(ctx, r.Start, segment.NewName(o.seg.ID, slot), crcs[:r.Count]); err != nil {
			err = fmt.Errorf("writing the block map: %w", err)
			v.fail(err)
			return err
		}
		slot += r.Count
		crcs = crcs[r.Count:]
	}
	return nil
}

// appended notes a record of n blocks in the open segment. The caller holds mu.
func (v *Volume) appended(o *openSegment, n int64) {
	if o.since.IsZero() {
		o.since = time.Now()
	}
	o.blocks += n
	v.appends++
	if k := len(v.unsynced); k == 0 || v.unsynced[k-1] != o {
		o.pending = v.appends
		v.unsynced = append(v.unsynced, o)
	}
}

// checkEdges tells whether the map still says what partly written blocks were merged
// with. The caller holds mu, so that nothing changes any more.
func (v *Volume) checkEdges(ctx context.Context, edges []edge) error {
	var now [1]segment.Entry
	for _, e := range edges {
		if err := v.m.Lookup(ctx, e.block, now[:], true); err != nil {
			return fmt.Errorf("reading the block map: %w", err)
		}
		if now[0] != e.from {
			return errChanged
		}
	}
	return nil
}

// Zero makes n bytes from off read as zeros. Whole blocks cost one record, whatever
// their number; parts of a block are written. Either way the space is given up, so unmap
// changes nothing but what the record says.
func (v *Volume) Zero(ctx context.Context, off, n int64, unmap bool) error {
	if err := v.checkRange(off, n); err != nil {
		return fmt.Errorf("zero: %w", err)
	}
	op := segment.OpZero
	if unmap {
		op = segment.OpUnmap
	}
	first := (off + segment.BlockSize - 1) / segment.BlockSize
	end := (off + n) / segment.BlockSize
	if first > end { // within one block
		return v.writePart(ctx, make([]byte, n), off)
	}
	if head := first*segment.BlockSize - off; head > 0 {
		if err := v.writePart(ctx, make([]byte, head), off); err != nil {
			return err
		}
	}
	for first < end {
		count := min(end-first, maxZero)
		if err := v.zeroBlocks(ctx, op, uint64(first), uint64(count)); err != nil {
			return err
		}
		first += count
	}
	if tail := off + n - end*segment.BlockSize; tail > 0 {
		return v.writePart(ctx, make([]byte, tail), end*segment.BlockSize)
	}
	return nil
}

// maxZero bounds one zero record, in blocks (4 GiB), so that writes get their turn.
const maxZero = 1 << 20

func (v *Volume) zeroBlocks(ctx context.Context, op segment.Op, block, count uint64) error {
	if err := v.m.LoadNodes(ctx, block, count); err != nil {
		return fmt.Errorf("reading the block map: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.check(); err != nil {
		return err
	}
	runs := []segment.Run{{Start: block, Count: uint32(count)}}
	return v.appendNames(ctx,
		func(w *segment.Writer) bool { return w.Fits(1, 0) },
		func(w *segment.Writer) error { return w.AppendZero(op, runs) },
		func() error { return v.m.Clear(ctx, block, count) })
}

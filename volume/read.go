package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"sluice/cache"
	"sluice/volume/segment"
)

// ErrChecksum is returned when the blocks of a range are neither on disk nor in the bucket with
// the content that was written.
var ErrChecksum = errors.New("checksum mismatch")

// ReadError says where a read failed: all before Offset was read.
type ReadError struct {
	Offset int64 // bytes from the beginning of the volume
	Err    error
}

// Error says where and why.
func (e *ReadError) Error() string { return fmt.Sprintf("reading at byte %d: %v", e.Offset, e.Err) }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// FailedAt returns Offset, for sense data.
func (e *ReadError) FailedAt() int64 { return e.Offset }

// entryBuf holds the map entries of one read.
type entryBuf struct{ e []segment.Entry }

var entryBufs = sync.Pool{New: func() any { return &entryBuf{} }}

// Read fills p from offset off. With wait false it returns EAGAIN where it would have to
// wait for the bucket.
func (v *Volume) Read(ctx context.Context, p []byte, off int64, wait bool) error {
	if err := v.checkRange(off, int64(len(p))); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if len(p) == 0 {
		return nil
	}
	var err error
	if (off|int64(len(p)))%segment.BlockSize == 0 {
		err = v.readBlocks(ctx, p, uint64(off/segment.BlockSize), wait)
	} else {
		err = v.readPart(ctx, p, off, wait)
	}
	if err != nil {
		return err
	}
	v.stats.readOps.Add(1)
	v.stats.readBytes.Add(int64(len(p)))
	v.ahead.note(v, off, int64(len(p)), wait)
	return nil
}

// readPart reads a range that does not begin or end with a block.
func (v *Volume) readPart(ctx context.Context, p []byte, off int64, wait bool) error {
	first := off / segment.BlockSize
	end := (off + int64(len(p)) + segment.BlockSize - 1) / segment.BlockSize
	buf := make([]byte, (end-first)*segment.BlockSize)
	if err := v.readBlocks(ctx, buf, uint64(first), wait); err != nil {
		if failed, ok := errors.AsType[*ReadError](err); ok {
			failed.Offset = max(failed.Offset, off)
		}
		return err
	}
	copy(p, buf[off-first*segment.BlockSize:])
	return nil
}

// readBlock reads one block and returns the map entry that it was read from. It fails with errChanged if the block cannot be read
// because it was overwritten meanwhile.
func (v *Volume) readBlock(ctx context.Context, block uint64, p []byte) (segment.Entry, error) {
	var e [1]segment.Entry
	if err := v.m.Lookup(ctx, block, e[:], true); err != nil {
		return e[0], fmt.Errorf("reading the block map: %w", err)
	}
	err := v.readRun(ctx, p, e[:], true)
	if err != nil && v.changed(ctx, block, e[:]) {
		err = errChanged // and its old place is gone, perhaps even from the bucket
	}
	return e[0], err
}

func (v *Volume) readBlocks(ctx context.Context, p []byte, block uint64, wait bool) error {
	buf := entryBufs.Get().(*entryBuf)
	defer entryBufs.Put(buf)
	n := len(p) / segment.BlockSize
	if cap(buf.e) < n {
		buf.e = make([]segment.Entry, n)
	}
	entries := buf.e[:n]
	if err := v.m.Lookup(ctx, block, entries, wait); err != nil {
		if !wait && errors.Is(err, syscall.EAGAIN) {
			return syscall.EAGAIN
		}
		return fmt.Errorf("reading the block map: %w", err)
	}
	for len(entries) > 0 {
		k := runLength(entries)
		run := p[:k*segment.BlockSize]
		if err := v.readRun(ctx, run, entries[:k], wait); err != nil {
			if errors.Is(err, syscall.EAGAIN) {
				return err
			}
			if !wait || !v.changed(ctx, block, entries[:k]) {
				return &ReadError{Offset: int64(block) * segment.BlockSize, Err: err}
			}
			// The blocks were overwritten after they were looked up, and their old place
			// is gone: read what is there now.
			return v.readBlocks(ctx, p, block, wait)
		}
		p, entries, block = p[len(run):], entries[k:], block+uint64(k)
	}
	return nil
}

// changed tells whether the map says something else than entries for the blocks from block on.
func (v *Volume) changed(ctx context.Context, block uint64, entries []segment.Entry) bool {
	now := make([]segment.Entry, len(entries))
	return v.m.Lookup(ctx, block, now, true) == nil && !slices.Equal(now, entries)
}

// runLength returns how many entries, from the first on, are neighbours in one segment, or
// all zeros.
func runLength(entries []segment.Entry) int {
	first, k := entries[0].Name, 1
	for k < len(entries) {
		next := entries[k].Name
		if first == 0 && next != 0 || first != 0 && (next != first+segment.Name(k) || next.Segment() != first.Segment()) {
			break
		}
		k++
	}
	return k
}

// readRun reads neighbouring blocks of one segment and checks them.
func (v *Volume) readRun(ctx context.Context, p []byte, entries []segment.Entry, wait bool) error {
	return v.checked.read(ctx, p, entries, wait)
}

// checkedReader reads blocks through the cache, and lets none pass whose checksum is wrong.
type checkedReader struct {
	cache  *cache.Cache
	log    *slog.Logger
	errors *atomic.Int64 // counts wrong checksums
	waits  *waits        // nil: nobody asks what is waited for
}

// read reads neighbouring blocks of one segment. A damaged copy is fetched again once.
func (c checkedReader) read(ctx context.Context, p []byte, entries []segment.Entry, wait bool) error {
	first := entries[0].Name
	if first == 0 {
		clear(p)
		return nil
	}
	id, slot := first.Segment(), first.Index()
	for attempt := 0; ; attempt++ {
		err := c.cache.Read(ctx, id, slot, p, false)
		if wait && errors.Is(err, syscall.EAGAIN) {
			err = c.fetch(ctx, id, slot, p)
		}
		if err != nil {
			return err
		}
		bad := badBlock(p, entries)
		if bad < 0 {
			return nil
		}
		c.errors.Add(1)
		err = fmt.Errorf("%w: block %d of segment %s (object %s)", ErrChecksum, slot+uint32(bad), id, id.Key())
		if !c.cache.Invalidate(id, slot, uint32(len(entries))) {
			return fmt.Errorf("%w: the local copy is damaged and is not in the bucket yet", err)
		}
		c.log.Warn("a local copy is damaged; it is fetched again", "error", err)
		if !wait {
			return syscall.EAGAIN
		}
		if attempt > 0 {
			return err
		}
	}
}

// fetch reads what is not at hand.
func (c checkedReader) fetch(ctx context.Context, id segment.ID, slot uint32, p []byte) error {
	ctx, call := c.waits.begin(ctx, WorkRead)
	defer call.end()
	return c.cache.Read(ctx, id, slot, p, true)
}

// badBlock returns the index of the first block that is not what its entry says, or -1.
func badBlock(p []byte, entries []segment.Entry) int {
	for i := range entries {
		if segment.Checksum(p[i*segment.BlockSize:][:segment.BlockSize]) != entries[i].CRC {
			return i
		}
	}
	return -1
}

// Mapped tells whether the block at off occupies space, and for how many bytes from off
// on the same holds, at least.
func (v *Volume) Mapped(ctx context.Context, off int64) (mapped bool, n int64, err error) {
	if err := v.checkRange(off, 512); err != nil {
		return false, 0, fmt.Errorf("mapped: %w", err)
	}
	mapped, end, err := v.m.Extent(ctx, uint64(off/segment.BlockSize))
	if err != nil {
		return false, 0, fmt.Errorf("reading the block map: %w", err)
	}
	n = v.Size() - off
	if end < uint64(v.Size()/segment.BlockSize) {
		n = int64(end)*segment.BlockSize - off
	}
	return mapped, n, nil
}

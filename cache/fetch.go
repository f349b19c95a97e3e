package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sluice/volume/segment"
)

// maxGet bounds one request to the bucket, in stored bytes, and with fetchesAtOnce the
// memory that fetching takes.
const maxGet = 4 << 20

// copyOf returns the local copy of a segment, with a reference; it makes an empty one if
// there is none. Its file is sparse: only what is fetched takes room.
func (c *Cache) copyOf(id segment.ID) (*Segment, error) {
	for {
		if s := c.Acquire(id); s != nil {
			return s, nil
		}
		s, err := c.newCopy(id)
		if s != nil || err != nil {
			return s, err
		}
	}
}

// newCopy returns nil if another reader was faster.
func (c *Cache) newCopy(id segment.ID) (*Segment, error) {
	path := c.path(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("caching segment %s: %w", id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.table.Load(id); ok {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("caching segment %s: %w", id, err)
	}
	if err := f.Truncate(segment.FileSize); err != nil {
		return nil, errors.Join(fmt.Errorf("caching segment %s: %w", id, err), f.Close(), os.Remove(path))
	}
	s := &Segment{ID: id, File: f, cache: c, arrived: make(chan struct{})}
	s.refs.Store(2)
	c.table.Store(id, s)
	return s, nil
}

// Prefetch brings n blocks of a segment from slot on to the local copy, as Read would.
func (c *Cache) Prefetch(ctx context.Context, id segment.ID, slot, n uint32) error {
	s, err := c.copyOf(id)
	if err != nil {
		return err
	}
	defer s.Release()
	return c.fetch(ctx, s, slot, n)
}

// fetch returns when n slots from slot on are present. Slots that another reader is
// fetching are waited for; the others are fetched in as few requests as they allow.
func (c *Cache) fetch(ctx context.Context, s *Segment, slot, n uint32) error {
	if s.holds(slot, n) {
		return nil
	}
	hdr, err := c.header(ctx, s.ID)
	if err != nil {
		return err
	}
	for {
		first, last, arrived, err := s.claim(hdr, slot, n)
		if err != nil {
			return err
		}
		if arrived != nil {
			select {
			case <-arrived:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if first > last {
			return nil
		}
		err = c.fetchFrames(ctx, s, hdr, first, last)
		s.unclaim(hdr, first, last)
		if err != nil {
			return err
		}
	}
}

// claim looks at the frames that hold the wanted slots and reserves the first run of them
// that is neither present nor being fetched: frames first to last. If there is none but
// some are being fetched, it returns a channel that is closed when a fetch ends;
// if all are present, first is greater than last.
func (s *Segment) claim(hdr *segment.ObjectHeader, slot, n uint32) (first, last int, arrived <-chan struct{}, err error) {
	lo, hi, err := hdr.FrameRange(slot, n)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("segment %s: %w", s.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := int64(0)
	first, last = 1, 0
	for f := lo; f <= hi; f++ {
		missing, busy := s.frameState(hdr, f)
		if busy {
			arrived = s.arrived
		}
		want := missing && !busy
		switch {
		case want && first > last:
			first, last = f, f
		case want && f == last+1 && stored < maxGet:
			last = f
		default:
			continue
		}
		stored += int64(hdr.Frame(f).Length)
	}
	if first > last {
		return first, last, arrived, nil
	}
	for f := first; f <= last; f++ {
		for slot := range hdr.FrameSlots(f) {
			s.fetching.set(slot)
		}
	}
	return first, last, nil, nil
}

func (s *Segment) frameState(hdr *segment.ObjectHeader, frame int) (missing, busy bool) {
	for slot := range hdr.FrameSlots(frame) {
		missing = missing || !s.whole && !s.present.has(slot, 1)
		busy = busy || s.fetching.has(slot, 1)
	}
	return missing, missing && busy
}

func (s *Segment) unclaim(hdr *segment.ObjectHeader, first, last int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := first; f <= last; f++ {
		for slot := range hdr.FrameSlots(f) {
			s.fetching.clear(slot)
		}
	}
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// fetchFrames gets adjacent frames with one request, checks them and writes them to the
// local copy.
func (c *Cache) fetchFrames(ctx context.Context, s *Segment, hdr *segment.ObjectHeader, first, last int) error {
	if err := c.fetches.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.fetches.Release(1)
	off := hdr.Frame(first).Offset
	end := hdr.Frame(last).Offset + int64(hdr.Frame(last).Length)
	data, _, err := c.opts.Source.GetRange(ctx, s.ID.Key(), off, end-off)
	if err != nil {
		return fmt.Errorf("fetching segment %s: %w", s.ID, err)
	}
	c.fetched.Add(int64(len(data)))
	if int64(len(data)) != end-off {
		return fmt.Errorf("object %s ends at byte %d of %d", s.ID.Key(), off+int64(len(data)), end)
	}
	var blocks []byte
	for f := first; f <= last; f++ {
		frame := hdr.Frame(f)
		stored := data[frame.Offset-off:][:frame.Length]
		if blocks, err = hdr.DecodeFrame(f, stored, blocks[:0]); err != nil {
			return fmt.Errorf("object %s: %w", s.ID.Key(), err)
		}
		if err := s.keep(hdr, f, blocks); err != nil {
			return err
		}
	}
	c.account(s)
	c.evict()
	if n := c.unsaved.Add(end - off); n >= saveEvery && c.unsaved.CompareAndSwap(n, 0) {
		return c.save()
	}
	return nil
}

// keep writes the blocks of a frame to their slots and notes that they are present.
func (s *Segment) keep(hdr *segment.ObjectHeader, frame int, blocks []byte) error {
	run, n, at := uint32(0), uint32(0), 0 // n slots from run on are to be written from blocks[at:]
	flush := func() error {
		if n == 0 {
			return nil
		}
		size := int(n) * segment.BlockSize
		if _, err := s.File.WriteAt(blocks[at:at+size], segment.SlotOffset(run)); err != nil {
			return fmt.Errorf("caching segment %s: %w", s.ID, err)
		}
		at += size
		return nil
	}
	for slot := range hdr.FrameSlots(frame) {
		if n > 0 && slot == run+n {
			n++
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		run, n = slot, 1
	}
	if err := flush(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot := range hdr.FrameSlots(frame) {
		s.present.set(slot)
	}
	s.unsaved = true
	return nil
}

// header returns the parsed header of a segment's object.
func (c *Cache) header(ctx context.Context, id segment.ID) (*segment.ObjectHeader, error) {
	if hdr, ok := c.headers.Get(id); ok {
		return hdr, nil
	}
	hdr, err := segment.FetchHeader(ctx, c.opts.Source, id)
	if err != nil {
		return nil, err
	}
	c.headers.Add(id, hdr)
	return hdr, nil
}

// Invalidate forgets n slots of a clean copy whose content failed its checksum, so that
// the next Read fetches them again. It reports whether there was such a copy: a segment
// that is not in the bucket yet cannot be fetched.
func (c *Cache) Invalidate(id segment.ID, slot, n uint32) bool {
	s := c.Acquire(id)
	if s == nil {
		return true
	}
	defer s.Release()
	c.mu.Lock()
	_, clean := c.sizes[id]
	c.mu.Unlock()
	if !clean {
		return false
	}
	s.mu.Lock()
	if s.whole {
		s.whole = false
		for i := range s.present {
			s.present[i] = ^uint64(0)
		}
	}
	for ; n > 0; slot, n = slot+1, n-1 {
		s.present.clear(slot)
	}
	s.unsaved = true
	s.mu.Unlock()
	return true
}

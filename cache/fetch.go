package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sluice/volume/segment"
)

// maxGet bounds one request to the bucket, in stored bytes, and with fetchesAtOnce the
// memory that fetching takes.
const maxGet = 4 << 20

// copyOf returns the local copy of a segment, with a reference; it makes an empty one if
// there is none. Its file is sparse: only what is fetched takes room.
func (c *Cache) copyOf(id segment.ID) (*Segment, error) {
	if s := c.Acquire(id); s != nil {
		return s, nil
	}
	s, err := c.newCopy(id)
	for errors.Is(err, syscall.ENOSPC) && c.makeRoom() {
		s, err = c.newCopy(id)
	}
	if err != nil {
		return nil, fmt.Errorf("caching segment %s: %w", id, err)
	}
	c.account(s)
	c.evict() // there may be too many, however small
	return s, nil
}

func (c *Cache) newCopy(id segment.ID) (*Segment, error) {
	c.files.Lock()
	defer c.files.Unlock()
	if s := c.Acquire(id); s != nil {
		return s, nil // another reader was faster
	}
	path := c.path(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// A file that could not be removed when it was dropped may still be read by somebody.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(segment.FileSize); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	s := c.newSegment(id, f)
	s.clean.Store(true)
	s.Retain()
	c.table.put(s)
	return s, nil
}

// attempts is how often an object is asked for before it is called damaged.
const attempts = 3

// fetch returns when n slots from slot on are present. Frames that another reader is
// fetching are waited for; the others are fetched in as few requests as they allow.
func (c *Cache) fetch(ctx context.Context, s *Segment, slot, n uint32) error {
	if s.holds(slot, n) {
		return nil
	}
	for attempt := 1; ; attempt++ {
		err := c.fetchSlots(ctx, s, slot, n)
		for errors.Is(err, syscall.ENOSPC) && c.makeRoom() {
			err = c.fetchSlots(ctx, s, slot, n)
		}
		if !errors.Is(err, segment.ErrObject) || attempt == attempts {
			return err
		}
		// The object may have been written again, without blocks that nobody needs: then its frames
		// are not where they were. Or it was damaged on its way. If it is damaged where it is, it is so still.
		c.headers.Remove(s.ID)
	}
}

// fetchSlots is fetch with a header that may be out of date: then it returns ErrObject.
func (c *Cache) fetchSlots(ctx context.Context, s *Segment, slot, n uint32) error {
	hdr, err := c.header(ctx, s)
	if err != nil {
		return err
	}
	first, last, err := hdr.FrameRange(slot, n)
	if err != nil {
		return fmt.Errorf("object %s: %w", s.ID.Key(), err)
	}
	for {
		mine, other := s.claim(hdr, first, last)
		switch {
		case mine != nil:
			err = c.fetchFrames(ctx, s, hdr, mine)
			s.land(mine, err)
			c.account(s)
			c.evict()
			c.saveSome()
		case other != nil:
			err = other.wait(ctx)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// fetchFrames gets the frames of a flight with one request, checks them and writes them to
// the local copy.
func (c *Cache) fetchFrames(ctx context.Context, s *Segment, hdr *segment.ObjectHeader, f *flight) error {
	if err := c.fetches.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.fetches.Release(1)
	off := hdr.Frame(f.first).Offset
	end := hdr.Frame(f.last).Offset + int64(hdr.Frame(f.last).Length)
	data, _, err := c.opts.Source.GetRange(ctx, s.ID.Key(), off, end-off)
	if err != nil {
		return fmt.Errorf("fetching segment %s: %w", s.ID, err)
	}
	c.fetched.Add(int64(len(data)))
	c.unsaved.Add(int64(len(data)))
	if int64(len(data)) != end-off {
		return fmt.Errorf("object %s: %w: it gave %d bytes from byte %d on instead of %d",
			s.ID.Key(), segment.ErrObject, len(data), off, end-off)
	}
	var blocks []byte
	for i := f.first; i <= f.last; i++ {
		frame := hdr.Frame(i)
		stored := data[frame.Offset-off:][:frame.Length]
		if blocks, err = hdr.DecodeFrame(i, stored, blocks[:0]); err != nil {
			return fmt.Errorf("object %s: %w", s.ID.Key(), err)
		}
		if err := s.keep(hdr, i, blocks); err != nil {
			return err
		}
	}
	return nil
}

// keep writes the blocks of a frame to their slots and notes that they are present. A slot
// counts as present only after all of the frame was written.
func (s *Segment) keep(hdr *segment.ObjectHeader, frame int, blocks []byte) error {
	start, n := uint32(0), uint32(0) // slots whose blocks are the first of blocks
	flush := func() error {
		size := int(n) * segment.BlockSize
		if _, err := s.File.WriteAt(blocks[:size], segment.SlotOffset(start)); err != nil {
			return fmt.Errorf("caching segment %s: %w", s.ID, err)
		}
		blocks = blocks[size:]
		return nil
	}
	for slot := range hdr.FrameSlots(frame) {
		if slot != start+n {
			if err := flush(); err != nil {
				return err
			}
			start, n = slot, 0
		}
		n++
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

// saveSome saves the index once in a while.
func (c *Cache) saveSome() {
	if n := c.unsaved.Load(); n < saveEvery || !c.unsaved.CompareAndSwap(n, 0) {
		return
	}
	if err := c.save(); err != nil { // after a restart it is fetched again
		c.opts.Logger.Warn("saving the cache's index", "error", err)
	}
}

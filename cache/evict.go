package cache

import (
	"fmt"
	"os"
	"path/filepath"

	"sluice/volume/segment"
)

// account brings the queue up to date with what a clean copy holds.
func (c *Cache) account(s *Segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.clean.Load() && c.table.has(s) { // else it was dropped meanwhile
		c.queue.put(s.ID, s.bytes(), c.now())
	}
}

// touch notes a use, at most once a second for each segment.
func (c *Cache) touch(s *Segment) {
	now := c.now()
	if s.used.Load() == now.Unix() {
		return
	}
	s.used.Store(now.Unix())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue.touch(s.ID, now) // does nothing for what is not clean
}

// evict drops clean copies until the rest is within the bounds.
func (c *Cache) evict() {
	if !c.over() {
		return
	}
	c.files.Lock() // one at a time, lest two drop more than is needed
	defer c.files.Unlock()
	for c.over() {
		c.mu.Lock()
		id, ok := c.queue.victim()
		c.mu.Unlock()
		if !ok {
			return
		}
		c.evicted.Add(1)
		if err := c.drop(id); err != nil {
			c.opts.Logger.Warn("evicting", "error", err)
		}
	}
}

// makeRoom gives room on a full disk back, though the budget may not ask for it: a spare file, or the copy that would be evicted next. It
// reports whether there was any.
func (c *Cache) makeRoom() bool {
	c.files.Lock()
	defer c.files.Unlock()
	if spare := c.takeSpare(); spare != "" {
		return os.Remove(spare) == nil
	}
	c.mu.Lock()
	id, ok := c.queue.victim()
	c.mu.Unlock()
	if !ok {
		return false
	}
	c.evicted.Add(1)
	if err := c.drop(id); err != nil {
		c.opts.Logger.Warn("evicting, since the disk is full", "error", err)
		return false
	}
	return true
}

func (c *Cache) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.bytes > c.opts.Bytes || c.queue.len() > c.copies
}

// drop takes a copy out of the table and its file out of its place; the file is freed
// with the last reference. The caller holds files.
func (c *Cache) drop(id segment.ID) error {
	s := c.table.take(id)
	if s == nil {
		return nil
	}
	defer s.Release()
	c.mu.Lock()
	c.queue.remove(id)
	c.mu.Unlock()
	// The file leaves its place before its mark goes: a file without a mark looks like a
	// segment that was never sent.
	err := c.moveAway(s)
	if err == nil {
		err = c.deleteMark(id)
	}
	if err != nil {
		return fmt.Errorf("dropping segment %s: %w", id, err)
	}
	return nil
}

// moveAway renames the file of a whole segment to a spare one, or removes it. Readers
// that have it open are not disturbed. The caller holds files.
func (c *Cache) moveAway(s *Segment) error {
	s.mu.Lock()
	whole := s.whole
	s.mu.Unlock()
	c.mu.Lock()
	spare := ""
	if whole && len(c.spare) < filesKept {
		c.names++
		spare = filepath.Join(c.spareDir(), fmt.Sprintf("%d.seg", c.names))
	}
	c.mu.Unlock()
	if spare == "" {
		return os.Remove(c.path(s.ID))
	}
	if err := os.Rename(c.path(s.ID), spare); err != nil {
		return err
	}
	s.spare = spare
	return nil
}

// free closes the file of a dropped segment that nobody reads any more. From now on it
// may be used again.
func (c *Cache) free(s *Segment) {
	if err := s.File.Close(); err != nil {
		c.opts.Logger.Warn("closing a segment file", "segment", s.ID, "error", err)
	}
	if s.spare != "" {
		c.mu.Lock()
		c.spare = append(c.spare, s.spare)
		c.mu.Unlock()
	}
}

func (c *Cache) takeSpare() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.spare)
	if n == 0 {
		return ""
	}
	path := c.spare[n-1]
	c.spare = c.spare[:n-1]
	return path
}

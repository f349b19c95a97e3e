package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"sluice/volume/segment"
)

// The index has one mark for each clean copy:
//
//	key    'c' | segment id, 8 bytes big endian
//	value  format (1) | whole (0 or 1) | if not whole: one bit for each slot that is present
//
// A mark may be older than the file: what it does not mention is fetched again, and what
// it wrongly mentions after a loss of power fails its checksum and is fetched again.
const (
	markPrefix = 'c'
	markFormat = 1
)

func markKey(id segment.ID) []byte {
	return binary.BigEndian.AppendUint64([]byte{markPrefix}, uint64(id))
}

func (s *Segment) appendMark(b []byte) []byte {
	if s.whole {
		return append(b, markFormat, 1)
	}
	b = append(b, markFormat, 0)
	for _, w := range s.present {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func (s *Segment) parseMark(b []byte) error {
	if len(b) < 2 || b[0] != markFormat {
		return errors.New("unknown format of a cache mark")
	}
	if len(b) == 2 && b[1] == 1 {
		s.whole = true
		return nil
	}
	if b[1] != 0 || len(b) != 2+8*len(s.present) {
		return errors.New("a cache mark has a wrong length")
	}
	for i := range s.present {
		s.present[i] = binary.LittleEndian.Uint64(b[2+8*i:])
	}
	return nil
}

// saveMark writes what is present of a copy, unless it was dropped.
func (c *Cache) saveMark(s *Segment) error {
	c.files.Lock() // a mark must not come after its file has gone
	defer c.files.Unlock()
	if !c.table.has(s) {
		return fmt.Errorf("marking segment %s: %w", s.ID, errDropped)
	}
	s.mu.Lock()
	mark := s.appendMark(nil)
	s.unsaved = false
	s.mu.Unlock()
	err := c.opts.DB.Update(func(tx *badger.Txn) error { return tx.Set(markKey(s.ID), mark) })
	if err != nil {
		s.mu.Lock()
		s.unsaved = true
		s.mu.Unlock()
		return fmt.Errorf("marking segment %s: %w", s.ID, err)
	}
	return nil
}

// errDropped means that a copy is not in the table any more.
var errDropped = errors.New("the local copy was dropped")

func (c *Cache) deleteMark(id segment.ID) error {
	err := c.opts.DB.Update(func(tx *badger.Txn) error { return tx.Delete(markKey(id)) })
	if err != nil {
		return fmt.Errorf("removing its mark: %w", err)
	}
	return nil
}

// save writes the marks of all clean copies that have changed.
func (c *Cache) save() error {
	var err error
	for _, s := range c.table.all() {
		s.mu.Lock()
		unsaved := s.unsaved && s.clean.Load()
		s.mu.Unlock()
		if !unsaved {
			continue
		}
		if e := c.saveMark(s); !errors.Is(e, errDropped) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// marks returns all marks of the index.
func (c *Cache) marks() (map[segment.ID][]byte, error) {
	marks := map[segment.ID][]byte{}
	err := c.opts.DB.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.IteratorOptions{Prefix: []byte{markPrefix}, PrefetchValues: true, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().Key()
			if len(key) != 9 {
				continue
			}
			v, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			marks[segment.ID(binary.BigEndian.Uint64(key[1:]))] = v
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the cache's index: %w", err)
	}
	return marks, nil
}

// scan makes the table from the directory and the index.
func (c *Cache) scan() error {
	marks, err := c.marks()
	if err != nil {
		return err
	}
	err = filepath.WalkDir(c.opts.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if filepath.Dir(path) == c.spareDir() {
			c.scanSpare(path)
			return nil
		}
		id, ours := c.parsePath(path)
		if !ours {
			return nil
		}
		mark := marks[id]
		delete(marks, id)
		return c.scanFile(id, mark)
	})
	if err != nil {
		return err
	}
	for id := range marks { // their files are gone
		if err := c.deleteMark(id); err != nil {
			return fmt.Errorf("segment %s: %w", id, err)
		}
	}
	return nil
}

// parsePath is the inverse of path; it is false for a file that is no segment's.
func (c *Cache) parsePath(path string) (segment.ID, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".seg"), 16, 64)
	id := segment.ID(n)
	return id, err == nil && path == c.path(id)
}

// scanSpare takes a file that waits to be used again, unless its name is not of our making.
func (c *Cache) scanSpare(path string) {
	if n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".seg")); err == nil {
		c.names = max(c.names, n)
		c.spare = append(c.spare, path)
	}
}

// scanFile takes a segment file into the table, or out of its place.
func (c *Cache) scanFile(id segment.ID, mark []byte) error {
	path := c.path(id)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s := c.newSegment(id, f)
	if mark != nil && s.parseMark(mark) == nil {
		s.clean.Store(true)
		c.table.put(s)
		c.account(s)
		c.evict() // now, since open files are not without limit
		return nil
	}
	if mark != nil { // it says nothing that we understand
		if err := c.deleteMark(id); err != nil {
			return errors.Join(fmt.Errorf("segment %s: %w", id, err), f.Close())
		}
	}
	hdr, err := segment.ReadHeader(f)
	switch {
	case err == nil && hdr.ID == id: // maybe never sent
		s.whole, s.volume = true, hdr.Volume
		c.table.put(s)
		return nil
	case err == nil || isBlank(f):
		// A file that was about to be used again, or a copy from the bucket without a mark.
		return errors.Join(f.Close(), os.Remove(path))
	case errors.Is(err, segment.ErrVersion) || !errors.Is(err, segment.ErrHeader):
		return errors.Join(fmt.Errorf("segment file %s: %w", path, err), f.Close())
	}
	return errors.Join(c.setAside(path, err), f.Close())
}

// isBlank tells whether a file has nothing where its header should be.
func isBlank(f *os.File) bool {
	page := make([]byte, segment.BlockSize)
	n, err := f.ReadAt(page, 0)
	return (err == nil || errors.Is(err, io.EOF)) && !slices.ContainsFunc(page[:n], func(b byte) bool { return b != 0 })
}

// setAside keeps a file with a damaged header for whoever wants to look into it: it may have been
// a segment that was never sent.
func (c *Cache) setAside(path string, cause error) error {
	dir := filepath.Join(c.opts.Dir, "damaged")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	to := filepath.Join(dir, filepath.Base(path))
	c.opts.Logger.Warn("a segment file is damaged; it is kept, but not used", "file", to, "error", cause)
	return os.Rename(path, to)
}

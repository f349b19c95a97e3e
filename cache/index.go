package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
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
	if s.whole = b[1] == 1; s.whole {
		return nil
	}
	if len(b) != 2+8*len(s.present) {
		return errors.New("a cache mark has a wrong length")
	}
	for i := range s.present {
		s.present[i] = binary.LittleEndian.Uint64(b[2+8*i:])
	}
	return nil
}

func (c *Cache) saveMark(s *Segment) error {
	s.mu.Lock()
	mark := s.appendMark(nil)
	s.unsaved = false
	s.mu.Unlock()
	err := c.opts.DB.Update(func(tx *badger.Txn) error { return tx.Set(markKey(s.ID), mark) })
	if err != nil {
		return fmt.Errorf("marking segment %s: %w", s.ID, err)
	}
	return nil
}

func (c *Cache) deleteMark(id segment.ID) error {
	return c.opts.DB.Update(func(tx *badger.Txn) error { return tx.Delete(markKey(id)) })
}

// save writes the marks of all partial copies that have grown.
func (c *Cache) save() error {
	var err error
	c.table.Range(func(_, v any) bool {
		s := v.(*Segment)
		s.mu.Lock()
		unsaved := s.unsaved
		s.mu.Unlock()
		if unsaved {
			err = errors.Join(err, c.saveMark(s))
		}
		return true
	})
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
			return c.scanSpare(path)
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(d.Name(), ".seg"), 16, 64)
		if err != nil || path != c.path(segment.ID(n)) {
			return nil // not ours
		}
		id := segment.ID(n)
		mark := marks[id]
		delete(marks, id)
		return c.scanFile(id, mark)
	})
	if err != nil {
		return err
	}
	for id := range marks { // marks whose file is gone
		if err := c.deleteMark(id); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) scanSpare(path string) error {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".seg"))
	if err != nil {
		return nil
	}
	c.names = max(c.names, n)
	c.spare = append(c.spare, path)
	return nil
}

func (c *Cache) scanFile(id segment.ID, mark []byte) error {
	f, err := os.OpenFile(c.path(id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s := &Segment{ID: id, File: f, cache: c, arrived: make(chan struct{})}
	s.refs.Store(1)
	if mark != nil && s.parseMark(mark) == nil {
		c.table.Store(id, s)
		c.account(s)
		return nil
	}
	hdr, err := segment.ReadHeader(f)
	if err != nil || hdr.ID != id {
		// A copy from the bucket that was not marked yet, or a file that was just being made.
		return errors.Join(f.Close(), os.Remove(c.path(id)))
	}
	s.whole = true
	s.volume = hdr.Volume
	c.table.Store(id, s)
	return nil
}

// Unsent returns, in order, the segments of a volume that may not be in the bucket: they were
// made by Create, now or before Open, and Sent was not called or did not reach the index.
func (c *Cache) Unsent(volume [16]byte) []segment.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []segment.ID
	c.table.Range(func(k, v any) bool {
		id := k.(segment.ID)
		if _, clean := c.sizes[id]; !clean && v.(*Segment).volume == volume {
			ids = append(ids, id)
		}
		return true
	})
	slices.Sort(ids)
	return ids
}

package cache

import (
	"math/bits"
	"os"
	"sync"
	"sync/atomic"

	"sluice/volume/segment"
)

// Segment is the local copy of one segment, whole or partial. Its holder has a
// reference and gives it back with Release; the file stays open until the last one.
type Segment struct {
	ID   segment.ID
	File *os.File

	cache  *Cache
	volume [16]byte     // of a segment that Create made, else zero
	spare  string       // where the file went when it was dropped; set before the last Release
	refs   atomic.Int32 // one for the cache's table, one for each holder
	used   atomic.Int64 // the cache's clock at the last use, so that bursts cost one update
	clean  atomic.Bool  // it is in the bucket; never becomes false again

	mu      sync.Mutex // protects what follows
	whole   bool       // every slot is here; present is unused
	present bitmap     // slots that are here
	flights []*flight  // requests under way
	unsaved bool       // present differs from what the index says
}

// bitmap has a bit for each slot of a segment file.
type bitmap [(segment.Slots + 63) / 64]uint64

// has tells whether all of the n slots from slot on are set.
func (b *bitmap) has(slot, n uint32) bool {
	for ; n > 0; slot, n = slot+1, n-1 {
		if b[slot/64]>>(slot%64)&1 == 0 {
			return false
		}
	}
	return true
}

func (b *bitmap) set(slot uint32)   { b[slot/64] |= 1 << (slot % 64) }
func (b *bitmap) clear(slot uint32) { b[slot/64] &^= 1 << (slot % 64) }

func (b *bitmap) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// holds tells whether n slots from slot on can be read from the file.
func (s *Segment) holds(slot, n uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole || s.present.has(slot, n)
}

// Holds tells whether the block of a slot can be read from File. It may be forgotten at any time, but the file of a clean
// copy is not used for anything else as long as the caller has a reference.
func (s *Segment) Holds(slot uint32) bool { return slot < segment.Slots && s.holds(slot, 1) }

// forget makes n slots from slot on be fetched again. It returns false, and does nothing, if
// they are not in the bucket yet.
func (s *Segment) forget(slot, n uint32) bool {
	if !s.clean.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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
	return true
}

// bytes is what the copy counts against the cache's budget.
func (s *Segment) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.whole {
		return segment.FileSize
	}
	return int64(s.present.count()) * segment.BlockSize
}

// Retain takes one more reference; the caller has one, or knows that the segment is unsent.
func (s *Segment) Retain() { s.refs.Add(1) }

// Release gives a reference back.
func (s *Segment) Release() {
	if s.refs.Add(-1) == 0 {
		s.cache.free(s)
	}
}

package cache

import (
	"sync"

	"sluice/volume/segment"
)

// table finds the local copy of a segment. What is in it has a reference for that.
type table struct {
	mu sync.RWMutex // protects m
	m  map[segment.ID]*Segment
}

// acquire returns a segment with a reference, or nil. It does not allocate.
func (t *table) acquire(id segment.ID) *Segment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s := t.m[id]
	if s != nil {
		s.refs.Add(1)
	}
	return s
}

// has tells whether this very copy is in the table.
func (t *table) has(s *Segment) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[s.ID] == s
}

// put adds a copy; false means that there is one already.
func (t *table) put(s *Segment) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[s.ID] != nil {
		return false
	}
	t.m[s.ID] = s
	return true
}

// take removes a copy and hands the table's reference to the caller.
func (t *table) take(id segment.ID) *Segment {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.m[id]
	delete(t.m, id)
	return s
}

// all returns what is in the table, without references.
func (t *table) all() []*Segment {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]*Segment, 0, len(t.m))
	for _, s := range t.m {
		list = append(list, s)
	}
	return list
}

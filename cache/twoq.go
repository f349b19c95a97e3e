package cache

import (
	"math"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"sluice/volume/segment"
)

// promoteAfter is how long after its arrival a segment must be asked for to count as
// used again. The many reads of one sequential pass over a segment fall within it.
const promoteAfter = 30 * time.Second

// twoQueue chooses what to evict, after Johnson and Shasha's 2Q: newcomers wait in a
// first-in-first-out queue, and only those that are asked for again, later on or soon after
// their eviction, enter the least-recently-used main queue. One pass over a whole
// volume therefore displaces nothing but other newcomers. It counts bytes, not segments,
// since partial copies are small: a few whole newcomers must not displace many of them.
// It is not safe for concurrent use.
type twoQueue struct {
	recent *simplelru.LRU[segment.ID, *held] // used as a FIFO
	main   *simplelru.LRU[segment.ID, *held]
	ghosts *simplelru.LRU[segment.ID, struct{}] // evicted from recent, without data

	bytes   int64 // held in both
	recents int64 // of them, in recent
}

type held struct {
	arrived time.Time
	size    int64
}

func newTwoQueue() *twoQueue {
	q := &twoQueue{}
	// NewLRU fails only for a size below one. The bound on bytes is kept by the owner.
	q.recent, _ = simplelru.NewLRU[segment.ID, *held](math.MaxInt, nil)
	q.main, _ = simplelru.NewLRU[segment.ID, *held](math.MaxInt, nil)
	q.ghosts, _ = simplelru.NewLRU[segment.ID, struct{}](math.MaxInt, nil)
	return q
}

// put notes the present size of id and a use of it. It adds id when it is new.
func (q *twoQueue) put(id segment.ID, size int64, now time.Time) {
	h, ok := q.main.Peek(id)
	if !ok {
		if h, ok = q.recent.Peek(id); ok {
			q.recents += size - h.size
		}
	}
	if ok {
		q.bytes += size - h.size
		h.size = size
		q.touch(id, now)
		return
	}
	h = &held{arrived: now, size: size}
	q.bytes += size
	if q.ghosts.Remove(id) {
		q.main.Add(id, h)
		return
	}
	q.recent.Add(id, h)
	q.recents += size
}

// touch notes a use of id, if it is held.
func (q *twoQueue) touch(id segment.ID, now time.Time) {
	if _, ok := q.main.Get(id); ok {
		return
	}
	if h, ok := q.recent.Peek(id); ok && now.Sub(h.arrived) >= promoteAfter {
		q.recent.Remove(id)
		q.recents -= h.size
		q.main.Add(id, h)
	}
}

// victim removes and returns what should be evicted next. Newcomers go first while they
// are more than a quarter of all. The ghosts are half as many as what is held.
func (q *twoQueue) victim() (segment.ID, bool) {
	if q.recent.Len() == 0 || q.main.Len() > 0 && q.recents*4 < q.bytes {
		id, h, ok := q.main.RemoveOldest()
		if ok {
			q.bytes -= h.size
		}
		return id, ok
	}
	id, h, _ := q.recent.RemoveOldest()
	q.bytes -= h.size
	q.recents -= h.size
	q.ghosts.Add(id, struct{}{})
	for q.ghosts.Len() > q.len()/2+1 {
		q.ghosts.RemoveOldest()
	}
	return id, true
}

// remove forgets id, for a reason other than want of room.
func (q *twoQueue) remove(id segment.ID) {
	if h, ok := q.main.Peek(id); ok {
		q.main.Remove(id)
		q.bytes -= h.size
	}
	if h, ok := q.recent.Peek(id); ok {
		q.recent.Remove(id)
		q.bytes -= h.size
		q.recents -= h.size
	}
}

func (q *twoQueue) len() int { return q.recent.Len() + q.main.Len() }

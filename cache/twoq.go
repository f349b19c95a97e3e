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

// ghostsPerSegment bounds the memory of what was evicted, relative to what is held.
const ghostsPerSegment = 2

// twoQueue chooses what to evict, after Johnson and Shasha's 2Q: newcomers wait in a
// first-in-first-out queue, and only those that are asked for again, later on or after
// their eviction, enter the least-recently-used main queue. One pass over a whole
// volume therefore displaces nothing but other newcomers. It is not safe for
// concurrent use.
type twoQueue struct {
	recent *simplelru.LRU[segment.ID, time.Time] // arrival; used as a FIFO
	main   *simplelru.LRU[segment.ID, struct{}]
	ghosts *simplelru.LRU[segment.ID, struct{}] // evicted from recent, without data
}

func newTwoQueue() *twoQueue {
	q := &twoQueue{}
	// NewLRU fails only for a size below one. The bound on bytes is kept by the owner.
	q.recent, _ = simplelru.NewLRU[segment.ID, time.Time](math.MaxInt, nil)
	q.main, _ = simplelru.NewLRU[segment.ID, struct{}](math.MaxInt, nil)
	q.ghosts, _ = simplelru.NewLRU[segment.ID, struct{}](math.MaxInt, nil)
	return q
}

// touch notes a use of id, and adds it when it is new.
func (q *twoQueue) touch(id segment.ID, now time.Time) {
	if _, ok := q.main.Get(id); ok {
		return
	}
	arrived, ok := q.recent.Peek(id)
	switch {
	case !ok && !q.ghosts.Remove(id):
		q.recent.Add(id, now)
	case !ok:
		q.main.Add(id, struct{}{})
	case now.Sub(arrived) >= promoteAfter:
		q.recent.Remove(id)
		q.main.Add(id, struct{}{})
	}
}

// victim removes and returns what should be evicted next. Newcomers go first while they
// are more than a quarter of all.
func (q *twoQueue) victim() (segment.ID, bool) {
	if r := q.recent.Len(); r > 0 && r*4 >= q.len() || q.main.Len() == 0 {
		id, _, ok := q.recent.RemoveOldest()
		if ok {
			q.ghosts.Add(id, struct{}{})
			for q.ghosts.Len() > ghostsPerSegment*(q.len()+1) {
				q.ghosts.RemoveOldest()
			}
		}
		return id, ok
	}
	id, _, ok := q.main.RemoveOldest()
	return id, ok
}

func (q *twoQueue) remove(id segment.ID) {
	q.recent.Remove(id)
	q.main.Remove(id)
}

func (q *twoQueue) len() int { return q.recent.Len() + q.main.Len() }

package sbc

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// turns is a lock that many may share or one has alone, as a sync.RWMutex, but who waits for
// it gives up when its context ends: a command that waits for its turn can be aborted like any
// other.
type turns struct{ seats *semaphore.Weighted }

// seats is more than there are ever commands at once.
const seats = 1 << 30

func newTurns() turns { return turns{semaphore.NewWeighted(seats)} }

// share waits until nobody has the lock alone, or until ctx ends; leave undoes it.
func (t turns) share(ctx context.Context) error { return t.seats.Acquire(ctx, 1) }

// tryShare is share where that need not wait.
func (t turns) tryShare() bool { return t.seats.TryAcquire(1) }
func (t turns) leave()         { t.seats.Release(1) }

// alone carries work out while nobody else has the lock, unless ctx ends before.
func (t turns) alone(ctx context.Context, work func() error) error {
	if err := t.seats.Acquire(ctx, seats); err != nil {
		return err
	}
	defer t.seats.Release(seats) // also if work panics
	return work()
}

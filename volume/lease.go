package volume

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A lease is renewed when a third of its term is over.
const renewals = 3

// Lease says until when a gateway may answer for a volume without having asked the bucket again: for its term after the last time that the
// bucket confirmed the ownership, counted from when that was asked for. Another gateway takes the volume over only when it has
// seen no sign of life for longer than that, by its own clock: no two clocks are ever compared. Its methods may be called concurrently.
type Lease struct {
	term  time.Duration
	since atomic.Pointer[time.Time] // when the newest confirmation was asked for; nil: there was none yet
	wake  chan struct{}             // asks for a renewal before its time

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when since or lost changes
	lost    error
}

func newLease(term time.Duration) *Lease {
	return &Lease{term: term, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Term returns for how long a confirmation holds.
func (l *Lease) Term() time.Duration { return l.term }

// Held tells whether the lease has not run out.
func (l *Lease) Held() bool {
	since := l.since.Load()
	if since == nil {
		return false
	}
	now := time.Now()
	return elapsed(now, *since, now.Round(0), since.Round(0)) < l.term
}

// elapsed returns how much time has passed by the monotonic clock or by the wall clock, whichever went further: the first goes on
// while the process is stopped, the second while the machine is suspended. A wall clock that is set back changes nothing, and one that is set forward
// makes a lease run out early: that costs a renewal.
func elapsed(now, since, wallNow, wallSince time.Time) time.Duration {
	return max(now.Sub(since), wallNow.Sub(wallSince))
}

// Wait returns nil as soon as the lease is held, and an error that wraps ErrLost when it never will be again.
func (l *Lease) Wait(ctx context.Context) error {
	for {
		l.mu.Lock()
		lost, changed := l.lost, l.changed
		l.mu.Unlock()
		switch {
		case lost != nil:
			return lost
		case l.Held():
			return nil
		}
		signal(l.wake)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lost returns why the lease never will be held again; nil: it may.
func (l *Lease) Lost() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// confirm notes a confirmation that was asked for at a time.
func (l *Lease) confirm(asked time.Time) {
	l.since.Store(&asked)
	l.tell(nil)
}

// end makes the lease one that is never held again.
func (l *Lease) end(cause error) {
	l.since.Store(nil)
	l.tell(cause)
}

func (l *Lease) tell(lost error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost == nil {
		l.lost = lost
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

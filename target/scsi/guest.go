package scsi

import (
	"context"
	"errors"
)

// The reasons why a unit takes no guest.
var (
	ErrConflict = errors.New("another initiator has reserved the unit")
	ErrGone     = errors.New("the unit is being taken away")
)

// Join makes a command that runs on another unit, and is about to touch the medium of this one,
// a command of this unit as well: a third-party copy. It is refused if a reservation keeps its
// initiator out. The context that Join returns ends with ctx, and when a PREEMPT AND ABORT
// fences the initiator off, the unit is reset, or Expel is called. Leave is to be called once,
// when the command touches the medium no more; fencing off and Expel wait for it.
//
// The nexus of the command is one with the other unit, so that reservations are respected by
// initiator name: whoever may use this unit through any port may use it as a guest.
func (u *Unit) Join(ctx context.Context, c *Command, a Access) (joined context.Context, leave func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.closed:
		return nil, nil, ErrGone
	case u.guestConflicts(c.Nexus.Initiator, a):
		return nil, nil, ErrConflict
	}
	joined, cancel := context.WithCancel(ctx)
	t := &task{nexus: c.Nexus, guest: true, cancel: cancel, done: make(chan struct{})}
	u.guests[t] = struct{}{}
	return joined, func() {
		cancel()
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.guests, t)
		close(t.done)
	}, nil
}

// guestConflicts tells whether reservations keep all ports of an initiator from an access. The
// caller holds mu.
func (u *Unit) guestConflicts(initiator string, a Access) bool {
	if u.holder != nil {
		return u.holder.Initiator != initiator
	}
	if !u.pr.conflicts(initiatorPort{}, a) {
		return false
	}
	for _, x := range u.pr.Registrants {
		if x.Port.Name == initiator && !u.pr.conflicts(x.Port, a) {
			return false
		}
	}
	return true
}

// Expel lets no guest in any more, cancels those that are here, and waits until none of them
// touches the medium, or until ctx ends.
func (u *Unit) Expel(ctx context.Context) error {
	u.mu.Lock()
	u.closed = true
	guests := make([]*task, 0, len(u.guests))
	for t := range u.guests {
		t.cancel()
		guests = append(guests, t)
	}
	u.mu.Unlock()
	return waitFor(ctx, guests)
}

// waitFor waits until tasks touch nothing any more, or until ctx ends.
func waitFor(ctx context.Context, tasks []*task) error {
	for _, t := range tasks {
		select {
		case <-t.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

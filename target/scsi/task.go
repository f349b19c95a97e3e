package scsi

import (
	"context"
	"runtime/debug"
	"slices"
)

// task is a command that runs in a goroutine.
type task struct {
	nexus  *Nexus
	guest  bool // it runs on another unit, and touches the medium of this one, too
	cancel context.CancelFunc
	done   chan struct{} // closed when it touches nothing any more
}

// Go runs work, which completes c, in a goroutine of its own. Abort cancels its context;
// a panic in it fails the command. A command that somebody has fenced off since it was admitted
// completes with RESERVATION CONFLICT instead.
func (u *Unit) Go(ctx context.Context, c *Command, work func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	t := &task{nexus: c.Nexus, cancel: cancel, done: make(chan struct{})}
	u.mu.Lock()
	fenced := c.fences != u.fences.Load() && u.conflicts(c, u.Lookup(c.CDB))
	if !fenced {
		u.running[c] = t
	}
	u.mu.Unlock()
	if fenced {
		cancel()
		c.Status, c.Transfer = ReservationConflict, 0
		c.Complete()
		return
	}
	go func() {
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				u.cfg.Logger.Error("panic in a command", "panic", p, "cdb", c.CDB, "stack", string(debug.Stack()))
				u.Finished(c)
				u.Fail(c, Sense{Key: HardwareError, Code: InternalFailure})
			}
		}()
		work(ctx)
	}()
}

// Finished is called before a command that Go runs is completed, when it touches the medium
// no more.
func (u *Unit) Finished(c *Command) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t := u.running[c]; t != nil {
		delete(u.running, c)
		close(t.done)
	}
}

// Abort cancels a command that Go runs; it completes soon. Of others it takes no notice.
func (u *Unit) Abort(c *Command) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t := u.running[c]; t != nil {
		t.cancel()
	}
}

// abortAll cancels the commands of initiator ports and waits until none of them touches the
// medium any more, or until ctx ends. Only then is a node that was preempted fenced off.
func (u *Unit) abortAll(ctx context.Context, ports []initiatorPort) error {
	u.gate.Lock() // wait for writes that are carried out at once
	aborted := u.cancelAll(ports)
	u.gate.Unlock()
	return waitFor(ctx, aborted)
}

func (u *Unit) cancelAll(ports []initiatorPort) (cancelled []*task) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.running {
		if t.of(ports) {
			t.cancel()
			cancelled = append(cancelled, t)
		}
	}
	for t := range u.guests {
		if t.of(ports) {
			t.cancel()
			cancelled = append(cancelled, t)
		}
	}
	return cancelled
}

// of tells whether a task is of one of some initiator ports. A guest came through a session
// with another unit, whose ISID says nothing here.
func (t *task) of(ports []initiatorPort) bool {
	return slices.ContainsFunc(ports, func(p initiatorPort) bool {
		return p == portOf(t.nexus) || t.guest && p.Name == t.nexus.Initiator
	})
}

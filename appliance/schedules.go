package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/snapshot"
)

const (
	// reloadEvery is how often the bucket is asked for schedules: another gateway may have changed one.
	reloadEvery = 5 * time.Minute
	// retryFirst and retryLast bound the pause after a snapshot that could not be made.
	retryFirst = time.Minute
	retryLast  = 30 * time.Minute
)

// scheduleStore keeps the schedules; see snapshot.Schedules.
type scheduleStore interface {
	List(ctx context.Context) ([]*snapshot.Schedule, error)
	Get(ctx context.Context, volume uuid.UUID) (*snapshot.Schedule, error)
	Put(ctx context.Context, s *snapshot.Schedule) error
	Delete(ctx context.Context, volume uuid.UUID) error
}

// snapshotMaker makes the snapshots of schedules.
type snapshotMaker interface {
	// Served returns the name of a volume that this gateway serves.
	Served(volume uuid.UUID) (name string, ok bool)
	// Make makes a snapshot and returns when it is complete.
	Make(ctx context.Context, volume string, made *snapshot.Made) error
	// List returns all snapshots.
	List(ctx context.Context) ([]*snapshot.Snapshot, error)
	// Delete deletes one.
	Delete(ctx context.Context, s *snapshot.Snapshot) error
}

// scheduler makes the snapshots that are due, of the volumes that this gateway serves, and deletes those that are not to be
// kept. What it has to do follows from the bucket alone: the schedules, and the snapshots that they made.
type scheduler struct {
	log   *slog.Logger
	maker snapshotMaker
	wake  chan struct{} // a schedule or the volumes changed

	stop func()
	done sync.WaitGroup

	storeMu sync.Mutex // held while store is used
	store   scheduleStore

	mu    sync.Mutex // protects what follows
	state map[uuid.UUID]*scheduleState
	lost  string // why the schedules could not be read
}

// scheduleState is what the scheduler remembers of one schedule.
type scheduleState struct {
	schedule *snapshot.Schedule
	volume   string             // its name, if it is served here and last is known
	last     *snapshot.Snapshot // of the last slot that has one
	err      string             // why the last attempt failed
	failed   time.Time
	pause    time.Duration // until the next attempt
	making   bool
}

// newScheduler starts a scheduler. It ends by endSchedules.
func newScheduler(store scheduleStore, maker snapshotMaker, log *slog.Logger) *scheduler {
	ctx, cancel := context.WithCancel(context.Background())
	x := &scheduler{log: log, maker: maker, wake: make(chan struct{}, 1), stop: cancel, store: store, state: map[uuid.UUID]*scheduleState{}}
	x.done.Go(func() { x.run(ctx) })
	return x
}

// endSchedules ends what is under way: it is due again when the gateway is back.
func (x *scheduler) endSchedules() {
	x.stop()
	x.done.Wait()
}

// soon has the schedules looked at now.
func (x *scheduler) soon() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *scheduler) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-x.wake:
		case <-ctx.Done():
			return
		}
		timer.Reset(time.Until(x.look(ctx)))
	}
}

// look begins what is due, and returns when to look again.
func (x *scheduler) look(ctx context.Context) time.Time {
	lost := ""
	if err := x.load(ctx); err != nil && ctx.Err() == nil {
		x.log.Warn("snapshot schedules cannot be read; it will be tried again", "error", err)
		lost = err.Error()
	}
	x.note(func() { x.lost = lost })
	now := time.Now()
	next := now.Add(reloadEvery)
	for _, s := range x.idle() {
		if at := x.begin(ctx, s, now); at.Before(next) {
			next = at
		}
	}
	return next
}

func (x *scheduler) note(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f()
}

// load reads the schedules.
func (x *scheduler) load(ctx context.Context) error {
	x.storeMu.Lock()
	list, err := x.store.List(ctx)
	x.storeMu.Unlock()
	if list == nil && err != nil {
		return err // what is known goes on
	}
	fresh := x.take(list)
	if len(fresh) == 0 {
		return err
	}
	all, lerr := x.maker.List(ctx)
	if lerr != nil {
		return errors.Join(err, lerr) // what was made is not known: nothing is made twice
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for st, name := range fresh {
		st.last, st.volume = newest(all, st.schedule), name
	}
	return err
}

// take notes what the schedules are now. It returns those of which it is not known what they have made, and the names of their
// volumes.
func (x *scheduler) take(list []*snapshot.Schedule) map[*scheduleState]string {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := x.state
	x.state = map[uuid.UUID]*scheduleState{}
	fresh := map[*scheduleState]string{}
	for _, s := range list {
		st := known[s.Volume]
		if st == nil || st.schedule.ID != s.ID {
			st = &scheduleState{}
		} else if st.schedule.Nonce != s.Nonce {
			st.err, st.pause = "", 0
		}
		st.schedule = s
		name, served := x.maker.Served(s.Volume)
		switch {
		case !served:
			st.volume = ""
		case st.volume == "":
			fresh[st] = name
		}
		x.state[s.Volume] = st
	}
	return fresh
}

// newest returns the snapshot of the last slot of a schedule, or nil.
func newest(all []*snapshot.Snapshot, s *snapshot.Schedule) *snapshot.Snapshot {
	var last *snapshot.Snapshot
	for _, snap := range all {
		if snap.Volume == s.Volume && snap.Made != nil && snap.Made.Schedule == s.ID && (last == nil || snap.Made.Slot.After(last.Made.Slot)) {
			last = snap
		}
	}
	return last
}

// idle returns the schedules of volumes that are served here, and of which no snapshot is being made.
func (x *scheduler) idle() []*scheduleState {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []*scheduleState
	for _, st := range x.state {
		if st.volume != "" && !st.making {
			list = append(list, st)
		}
	}
	slices.SortFunc(list, func(a, b *scheduleState) int { return slices.Compare(a.schedule.Volume[:], b.schedule.Volume[:]) })
	return list
}

// begin makes the snapshot that is due, in the background. It returns when something may be due next.
func (x *scheduler) begin(ctx context.Context, st *scheduleState, now time.Time) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	s, done := st.schedule, time.Time{}
	if st.last != nil {
		done = st.last.Made.Slot
	}
	slot, due, err := s.Due(done, now)
	next, nerr := s.Next(now)
	if err = errors.Join(err, nerr); err != nil {
		st.err, st.failed = err.Error(), now
		return now.Add(retryLast)
	}
	if !due {
		return next
	}
	if again := st.failed.Add(st.pause); again.After(now) {
		return again
	}
	st.making = true
	volume := st.volume
	x.done.Go(func() { x.work(ctx, st, s, volume, slot) })
	return next
}

// work makes one snapshot, and deletes those that are not to be kept any more.
func (x *scheduler) work(ctx context.Context, st *scheduleState, s *snapshot.Schedule, volume string, slot time.Time) {
	made := &snapshot.Made{Schedule: s.ID, Slot: slot.UTC()}
	err := x.maker.Make(ctx, volume, made)
	if err != nil {
		err = fmt.Errorf("making the snapshot of %s: %w", slot.UTC().Format(time.RFC3339), err)
	} else {
		// It is there, whatever becomes of the old ones.
		x.note(func() { st.last = &snapshot.Snapshot{Volume: s.Volume, Created: time.Now().UTC(), Made: made} })
		err = x.prune(ctx, st, s)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	st.making = false
	x.soon()
	if err == nil {
		st.err, st.pause = "", 0
		return
	}
	if ctx.Err() != nil {
		return
	}
	st.volume = "" // ask the bucket what is there: an answer may have been lost
	st.err, st.failed = err.Error(), time.Now()
	st.pause = min(max(2*st.pause, retryFirst), retryLast)
	x.log.Error("scheduled snapshot failed", "volume", volume, "slot", made.Slot, "error", err)
}

// prune deletes what a schedule does not keep. What cannot be deleted now is tried again after the next snapshot.
func (x *scheduler) prune(ctx context.Context, st *scheduleState, s *snapshot.Schedule) error {
	all, err := x.maker.List(ctx)
	if err != nil {
		return fmt.Errorf("looking for old snapshots: %w", err)
	}
	if last := newest(all, s); last != nil {
		x.note(func() { st.last = last })
	}
	gone, err := s.Prune(all)
	if err != nil {
		return err
	}
	for _, snap := range gone {
		if derr := x.maker.Delete(ctx, snap); derr != nil {
			err = errors.Join(err, fmt.Errorf("deleting an old snapshot: %w", derr))
		}
	}
	return err
}

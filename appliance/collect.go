package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sluice/appliance/api"
	"sluice/snapshot"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
)

const (
	// collectEvery is how often the bucket is looked over for garbage, if nothing was deleted.
	collectEvery = 6 * time.Hour
	// collectHorizon is how long garbage is left before it is deleted.
	collectHorizon = 10 * time.Minute
)

// collector deletes garbage from the bucket in the background.
type collector struct {
	gc      *gc.Collector
	log     *slog.Logger
	horizon time.Duration
	wake    chan struct{} // something was deleted

	stop func()
	done sync.WaitGroup

	mu   sync.Mutex // protects what follows
	last api.CollectionStatus
}

// newCollector starts a collector. It ends by close.
func newCollector(c *gc.Collector, horizon time.Duration, log *slog.Logger) *collector {
	ctx, cancel := context.WithCancel(context.Background())
	x := &collector{gc: c, log: log, horizon: horizon, wake: make(chan struct{}, 1), stop: cancel}
	x.done.Go(func() { x.run(ctx) })
	return x
}

// run makes a pass when something was deleted and one after each interval; after a pass that found garbage, another one
// a horizon later.
func (x *collector) run(ctx context.Context) {
	timer := time.NewTimer(collectEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-x.wake:
		case <-ctx.Done():
			return
		}
		rep, err := x.gc.Collect(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			x.log.Warn("collecting garbage failed: nothing is deleted in doubt; it will be tried again", "error", err)
		} else if rep.Deleted > 0 {
			x.log.Info("garbage was deleted from the bucket", "objects", rep.Deleted, "bytes", rep.Freed, "took", rep.Took.Round(time.Millisecond).String())
		}
		x.note(rep, err)
		next := collectEvery
		if err != nil || rep.Garbage > rep.Deleted {
			next = x.horizon + time.Second
		}
		timer.Reset(next)
	}
}

func (x *collector) note(rep gc.Report, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last.At = new(time.Now().UTC())
	x.last.Error = ""
	if err != nil {
		x.last.Error = err.Error()
		return
	}
	x.last.Objects, x.last.Bytes = rep.Objects-rep.Deleted, rep.Bytes-rep.Freed
	x.last.Garbage = rep.GarbageBytes - rep.Freed
	x.last.Freed += rep.Freed
}

func (x *collector) status() api.CollectionStatus {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// soon asks for a pass.
func (x *collector) soon() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *collector) close() {
	x.stop()
	x.done.Wait()
}

// snapshotRoots returns the roots of all snapshots.
func snapshotRoots(catalogue *snapshot.Catalogue) func(context.Context) ([]blockmap.Root, error) {
	return func(ctx context.Context) ([]blockmap.Root, error) {
		list, err := catalogue.List(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing snapshots: %w", err)
		}
		roots := make([]blockmap.Root, len(list))
		for i, s := range list {
			roots[i] = s.Root
		}
		return roots, nil
	}
}

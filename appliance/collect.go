package appliance

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/snapshot"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
)

const (
	// collectEvery is how often the bucket is looked over for garbage, if nothing was deleted and little
	// written; collectFirst is when that happens for the first time after the start.
	collectEvery = 6 * time.Hour
	collectFirst = 10 * time.Minute
	// collectShare of the bucket's bytes, and no less than collectLeast, is what this gateway may have sent
	// before the next pass begins.
	collectShare = 0.1
	collectLeast = 4 << 30
	collectLook  = time.Minute
	// collectRest is how many times as long as it works the collector rests: those who use volumes go first.
	collectRest = 19
	// collectHorizon is how long garbage is left before it is deleted.
	collectHorizon = 10 * time.Minute
)

// collector deletes garbage from the bucket in the background.
type collector struct {
	gc      *gc.Collector
	log     *slog.Logger
	horizon time.Duration
	wake    chan struct{} // something was deleted
	sent    func() int64  // bytes to the bucket since the start

	stop func()
	done sync.WaitGroup

	mu      sync.Mutex // protects what follows
	last    api.CollectionStatus
	volumes map[uuid.UUID]gc.Space
}

// newCollector starts a collector. It ends by close.
func newCollector(c *gc.Collector, horizon time.Duration, sent func() int64, log *slog.Logger) *collector {
	ctx, cancel := context.WithCancel(context.Background())
	x := &collector{gc: c, log: log, horizon: horizon, wake: make(chan struct{}, 1), sent: sent, stop: cancel}
	x.done.Go(func() { x.run(ctx) })
	return x
}

// run makes a pass when something was deleted or much was written, and one after each interval; after a pass that found garbage, another one
// a horizon later.
func (x *collector) run(ctx context.Context) {
	timer := time.NewTimer(collectFirst)
	defer timer.Stop()
	look := time.NewTicker(collectLook)
	defer look.Stop()
	sent := x.sent() // at the last pass
	for {
		select {
		case <-timer.C:
		case <-x.wake:
		case <-look.C:
			if x.sent()-sent < max(collectLeast, int64(collectShare*float64(x.status().Bytes))) {
				continue
			}
		case <-ctx.Done():
			return
		}
		sent = x.sent()
		rep, err := x.gc.Collect(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			x.log.Warn("collecting garbage failed: nothing is deleted in doubt; it will be tried again", "error", err)
		} else if rep.Freed > 0 {
			x.log.Info("garbage was removed from the bucket", "objects", rep.Deleted, "thinned", rep.Thinned, "bytes", rep.Freed, "took", rep.Took.Round(time.Millisecond).String())
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
	x.last.Thinned += rep.Thinned
	x.volumes = rep.Volumes
}

func (x *collector) status() api.CollectionStatus {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

// space returns what the last pass found out about a volume.
func (x *collector) space(id uuid.UUID) *api.Space {
	x.mu.Lock()
	defer x.mu.Unlock()
	sp, ok := x.volumes[id]
	if !ok {
		return nil
	}
	return &api.Space{Live: sp.Live, Shared: sp.Shared, Dead: sp.Dead}
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

// sentBytes returns how much this gateway has sent to the bucket since it started.
func (g *Gateway) sentBytes() int64 {
	n := g.counter.Stats()
	return n.Put.Bytes + n.PutIf.Bytes
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

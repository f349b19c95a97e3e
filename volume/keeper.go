package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

const (
	// watchEvery is how often the head in the bucket is looked at for another owner, and
	// renewEvery how often it is rewritten to say that this one lives.
	watchEvery = 15 * time.Second
	renewEvery = time.Minute

	// checkpointEvery bounds what a restart replays, in sealed segments.
	checkpointEvery = 1024

	// A root of the map is written after rootMin published segments at the earliest and
	// rootMax at the latest; in between as soon as it costs less than 1/rootShare of the
	// data that was uploaded since the one before.
	rootMin   = 128
	rootMax   = 4096
	rootShare = 25
)

// sealer seals what is old, syncs it when there is nothing else to do, and checkpoints the map until ctx ends. It never waits for the
// bucket. The map is checkpointed up to a segment already.
func (v *Volume) sealer(ctx context.Context, checkpointed segment.ID) {
	tick := time.NewTicker(min(time.Second, v.opts.SealAfter))
	defer tick.Stop()
	quiet := uint64(0) // what appends was at the last tick
	for {
		idle := false
		select {
		case <-tick.C:
			v.mu.Lock()
			idle, quiet = quiet == v.appends, v.appends
			v.mu.Unlock()
		case <-v.grown:
		case <-ctx.Done():
			return
		}
		v.mu.Lock()
		if o := v.open; o != nil && !o.since.IsZero() && time.Since(o.since) >= v.opts.SealAfter {
			v.rotate()
		}
		sealed, appends := v.sealed, v.sealedAppends
		due := v.checkpointDue
		v.checkpointDue = false
		v.mu.Unlock()
		if idle {
			// The next flush finds less to sync, and less is lost with the power. While writes go on the
			// kernel writes back what is old; who uploads or flushes syncs. An error has stopped the volume.
			_ = v.syncTo(ctx, appends)
		}
		if sealed-checkpointed < checkpointEvery && !v.m.NeedsCheckpoint() && !due {
			continue
		}
		if err := v.m.Checkpoint(ctx, sealed); err == nil {
			checkpointed = sealed
		} else if ctx.Err() == nil {
			v.log.Warn("writing a checkpoint of the block map failed; it will be tried again", "error", err)
		}
	}
}

// keeper writes roots and watches over the ownership until ctx ends. It waits for the
// bucket as long as it takes.
func (v *Volume) keeper(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	renewed := time.Now()
	for {
		err := error(nil)
		select {
		case <-tick.C:
			if time.Since(renewed) >= renewEvery {
				renewed = time.Now()
				err = v.renew(ctx)
			} else {
				err = v.claim.Watch(ctx)
			}
		case <-v.advanced:
			err = v.keepRoot(ctx)
		case <-ctx.Done():
			return
		}
		if err != nil && ctx.Err() == nil {
			v.log.Warn("housekeeping failed; it will be tried again", "error", err)
		}
	}
}

// signal wakes the goroutine behind c, if it is not awake already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// keepRoot writes a root when one is due.
func (v *Volume) keepRoot(ctx context.Context) error {
	v.rootMu.Lock()
	defer v.rootMu.Unlock()
	published, _ := v.queue.position()
	v.considerRoot(published)
	return v.finishRoot(ctx, published)
}

// considerRoot asks the next rotation to freeze the map when a new root is due. The
// caller holds rootMu.
func (v *Volume) considerRoot(published segment.ID) {
	behind := segmentsBehind(append(v.history, Span{Writer: v.writer, To: published.Sequence()}), v.rooted)
	if published.Writer() != v.writer || behind < rootMin {
		return
	}
	uploaded := v.stats.uploadedBytes.Load() - v.uploadedAtRoot
	if behind >= rootMax || v.m.DirtyRootBytes()*rootShare <= uploaded {
		v.mu.Lock()
		v.rootDue = v.frozen == nil && v.cut == nil
		v.mu.Unlock()
	}
}

// segmentsBehind counts the segments of a history that are newer than pos.
func segmentsBehind(spans []Span, pos segment.ID) int {
	n := 0
	for _, s := range spans {
		switch {
		case s.Writer == pos.Writer() && s.To > pos.Sequence():
			n += int(s.To - pos.Sequence())
		case s.Writer > pos.Writer():
			n += int(s.To)
		}
	}
	return n
}

// finishRoot writes the frozen map to the bucket once all that it names is there.
func (v *Volume) finishRoot(ctx context.Context, published segment.ID) error {
	v.mu.Lock()
	frozen := v.frozen
	v.mu.Unlock()
	if frozen == nil || frozen.Position() > published {
		return nil
	}
	root, err := v.writeRoot(ctx, frozen)
	if errors.Is(err, blockmap.ErrSuperseded) {
		return nil // by a cut, whose root is next
	}
	if err != nil {
		return err
	}
	err = v.claim.Update(ctx, func(h *Head) {
		h.Root, h.Published = &root, max(h.Published, published)
		h.addPoint(Point{Time: frozen.Time().UTC(), Root: root})
		h.forget(time.Now())
	})
	if err != nil {
		return fmt.Errorf("publishing a root: %w", err)
	}
	v.mu.Lock()
	if v.frozen == frozen { // else a cut superseded it just now
		v.frozen = nil
	}
	v.checkpointDue = true
	v.mu.Unlock()
	signal(v.grown)
	frozen.Done()
	v.rooted, v.uploadedAtRoot = frozen.Position(), v.stats.uploadedBytes.Load()
	v.stats.roots.Add(1)
	return nil
}

// writeRoot stores a frozen map under a key that no other root ever has: later roots
// refer to the pages in it. The caller holds rootMu.
func (v *Volume) writeRoot(ctx context.Context, frozen *blockmap.Frozen) (blockmap.Root, error) {
	v.rootsWritten++
	key := fmt.Sprintf("%s%s/roots/%06x-%d", volumesPrefix, v.id, v.writer, v.rootsWritten)
	root, err := frozen.WriteRoot(ctx, v.opts.Store, key)
	if err != nil {
		return root, fmt.Errorf("writing a root of the block map: %w", err)
	}
	return root, nil
}

// renew says in the head that this gateway lives, and how far it has published.
func (v *Volume) renew(ctx context.Context) error {
	published, _ := v.queue.position()
	err := v.claim.Update(ctx, func(h *Head) {
		// It never goes back: after a restart segments are sent again whose upload was not noted here.
		h.Published = max(h.Published, published)
		h.forget(time.Now())
	})
	if err != nil {
		return fmt.Errorf("renewing the ownership: %w", err)
	}
	return nil
}

package gc

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// Options are what a Collector needs.
type Options struct {
	Store object.Store
	// Snapshots returns the roots of all snapshots in the bucket. It lists the bucket anew at each call.
	Snapshots func(context.Context) ([]blockmap.Root, error)
	// Horizon is the time between the two passes that must agree on what is garbage.
	Horizon time.Duration
	Codec   segment.Codec // of thinned segments; zero: the usual one
	Logger  *slog.Logger
}

// Collector finds and deletes garbage. Its methods are not for concurrent use.
type Collector struct {
	opts Options
	// condemned is the garbage of earlier passes, and when it was found.
	condemned map[string]time.Time
	thinner   thinner
	passes    int
}

// New returns a Collector.
func New(opts Options) *Collector {
	return &Collector{opts: opts, condemned: map[string]time.Time{}, thinner: newThinner(opts)}
}

// Report is the result of a pass. Sizes are in bytes, as stored.
type Report struct {
	Objects      int   // that were looked at
	Bytes        int64 // in them
	Garbage      int   // objects that nothing needs, deleted ones included
	GarbageBytes int64 //
	Deleted      int   // objects
	Thinned      int   // segments that were written again without the blocks that nothing names
	Freed        int64 // bytes, by both
	Volumes      map[uuid.UUID]Space
	Took         time.Duration // the whole pass
}

// Space is what a volume takes in the bucket, in bytes.
type Space struct {
	Live   int64 // mapped in the volume by its newest root, not compressed
	Shared int64 // of those, at least so many are also part of a snapshot or another volume
	Dead   int64 // in the segments that the volume wrote and nothing names, as stored; about so many
}

// Collect makes one pass: it deletes what was garbage Horizon ago and still is, and thins segments. When it returns an error that
// is not of a deletion or a thinning, nothing was changed.
func (c *Collector) Collect(ctx context.Context) (Report, error) {
	began := time.Now()
	var rep Report
	found, err := c.list(ctx)
	if err != nil {
		return rep, fmt.Errorf("collecting garbage: %w", err)
	}
	c.passes++
	live, err := c.mark(ctx, detailed(found, c.passes))
	if err != nil {
		return rep, fmt.Errorf("collecting garbage: %w", err)
	}
	condemned := map[string]time.Time{}
	var due []object.Info
	for _, info := range found {
		rep.Objects++
		rep.Bytes += info.Size
		if live.needs(info.Key) {
			continue
		}
		rep.Garbage++
		rep.GarbageBytes += info.Size
		since, known := c.condemned[info.Key]
		if !known {
			since = began
		}
		condemned[info.Key] = since
		if (known || c.opts.Horizon == 0) && began.Sub(since) >= c.opts.Horizon {
			due = append(due, info)
		}
	}
	c.condemned = condemned
	if err = c.delete(ctx, due, &rep); err == nil {
		err = c.thinner.pass(ctx, live, found, began, &rep)
	}
	rep.Volumes = live.space
	rep.Took = time.Since(began)
	return rep, err
}

// list returns all segments and objects of roots.
func (c *Collector) list(ctx context.Context) ([]object.Info, error) {
	var found []object.Info
	for _, prefix := range []string{segmentsPrefix, "volumes/"} {
		for info, err := range c.opts.Store.List(ctx, prefix, "") {
			if err != nil {
				return nil, fmt.Errorf("listing %s: %w", prefix, err)
			}
			if prefix == segmentsPrefix || strings.Contains(info.Key, "/roots/") {
				found = append(found, info)
			}
		}
	}
	return found, nil
}

// deletions is how many objects are deleted at once.
const deletions = 16

func (c *Collector) delete(ctx context.Context, due []object.Info, rep *Report) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(deletions)
	for _, info := range due {
		g.Go(func() error {
			if err := c.opts.Store.Delete(gctx, info.Key); err != nil {
				return fmt.Errorf("deleting garbage: %w", err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err // what was deleted is missing from the next list
	}
	for _, info := range due {
		delete(c.condemned, info.Key)
		rep.Deleted++
		rep.Freed += info.Size
	}
	return nil
}

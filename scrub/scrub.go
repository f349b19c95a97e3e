package scrub

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

// Options say what is scrubbed, and how. Only Store and Logger are required.
type Options struct {
	Store  object.Store
	Volume string // its name; empty: all volumes and snapshots of the bucket
	Quick  bool   // only headers and sizes of segments: see verify.Options
	Rate   int64  // bytes/s that are read from the store, at most; 0: as many as it gives
	// Cache has the local copies that damage is repaired from; nil: nothing is written at all.
	Cache *cache.Cache
	// Published, if it is set, returns up to which segment the history of a volume that is served here is in the bucket, 0 for another's. The head
	// in the bucket lags behind that.
	Published func(volume uuid.UUID) segment.ID
	// Orphans has objects counted that nothing refers to. Only where all volumes are looked at.
	Orphans  bool
	Progress *verify.Progress // is kept up to date, if there is one
	Logger   *slog.Logger
}

const (
	// settled is within which time after its catalogue was read what was found to be damaged surely is: the garbage collector
	// leaves what was needed for twice as long.
	settled = 5 * time.Minute
	// maxRounds bounds how often the catalogue is read again.
	maxRounds = 4
	// maxRanges is how many lost ranges are kept of a moment.
	maxRanges = 1000
)

// Run reads and checks every object that a volume, or all of them, need. An error means that too little is known: the store could not be
// asked, a newer program wrote what is there, or ctx ended; what was repaired until then is. It may be called while gateways serve the volumes.
func Run(ctx context.Context, opts Options) (*Report, error) {
	if opts.Rate > 0 {
		opts.Store = object.Limit(opts.Store, object.LimitOptions{Down: opts.Rate})
	}
	s := &scrubber{opts: opts, store: opts.Store, repaired: map[segment.ID]string{}, failed: map[segment.ID]error{}}
	rep, err := s.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("scrubbing: %w", err)
	}
	return rep, nil
}

// scrubber is one scrub.
type scrubber struct {
	opts  Options
	store object.Store

	localDropped, localBad atomic.Int64

	mu       sync.Mutex            // protects what follows
	repaired map[segment.ID]string // what was wrong
	failed   map[segment.ID]error  // why it was not repaired
}

func (s *scrubber) run(ctx context.Context) (*Report, error) {
	if err := volume.CheckFormat(ctx, s.store); err != nil {
		return nil, err
	}
	var stored *inventory
	var err error
	if s.opts.Orphans && s.opts.Volume == "" {
		if stored, err = takeInventory(ctx, s.store); err != nil { // before the catalogue: what is made meanwhile is no orphan
			return nil, err
		}
	}
	first, all, err := s.round(ctx, nil, s.checkLocal)
	if err != nil {
		return nil, err
	}
	last := first
	for n := 1; n < maxRounds && !last.found.OK(); n++ {
		if last, _, err = s.round(ctx, suspects(last.found), s.repair); err != nil {
			return nil, err
		}
		if time.Since(last.began) < settled {
			break
		}
	}
	rep := s.report(last)
	rep.Objects, rep.Bytes, rep.Blocks = all.Objects, all.Bytes, all.Blocks
	rep.Volumes, rep.Snapshots = len(first.catalogue.heads), len(first.catalogue.snapshots)
	for _, m := range first.catalogue.moments {
		if m.Kind == Past {
			rep.Points++
		}
	}
	if stored != nil {
		if err := s.checkWriters(ctx, stored, rep); err != nil {
			return nil, err
		}
		rep.Orphans, rep.OrphanBytes = stored.orphans(first.catalogue, all.Refers)
	}
	return rep, nil
}

// suspects are the segments to be looked at again.
func suspects(found *verify.Report) map[segment.ID]bool {
	only := map[segment.ID]bool{}
	for _, d := range found.Damaged {
		if d.Segment != 0 {
			only[d.Segment] = true
		}
	}
	return only
}

// round is what was found at one reading of the catalogue.
type round struct {
	began     time.Time
	catalogue *catalogue
	found     *verify.Report
	losses    []Loss
}

// round reads the catalogue and what it needs.
func (s *scrubber) round(ctx context.Context, only map[segment.ID]bool, visit func(context.Context, *verify.Segment) (bool, error)) (*round, *verify.Report, error) {
	r := &round{began: time.Now()}
	var err error
	if r.catalogue, err = readCatalogue(ctx, &s.opts); err != nil {
		return nil, nil, err
	}
	moments := make([]verify.Moment, len(r.catalogue.moments))
	for i, m := range r.catalogue.moments {
		moments[i] = m.root
	}
	opts := verify.Options{Quick: s.opts.Quick, Whole: r.catalogue.whole(), Only: only, Lost: r.lose}
	if only == nil {
		opts.Progress = s.opts.Progress
	}
	if s.opts.Cache != nil {
		opts.Visit = visit
	}
	r.found, err = verify.Verify(ctx, s.store, moments, opts)
	return r, r.found, err
}

// lose notes a lost range.
func (r *round) lose(i int, l verify.Lost) {
	m := r.catalogue.moments[i].Moment
	if n := len(r.losses); n == 0 || r.losses[n-1].Moment != m {
		r.losses = append(r.losses, Loss{Moment: m})
	}
	loss := &r.losses[len(r.losses)-1]
	loss.Bytes += l.Length
	if len(loss.Ranges) < maxRanges {
		loss.Ranges = append(loss.Ranges, l)
	} else {
		loss.More++
	}
}

// report tells what is left in the end.
func (s *scrubber) report(last *round) *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	rep := &Report{
		Damaged: last.catalogue.problems, Notes: last.catalogue.notes, Losses: last.losses,
		LocalDropped: s.localDropped.Load(), LocalBad: s.localBad.Load(),
	}
	for _, d := range last.found.Damaged {
		o := Object{Key: d.Object, Reason: d.Reason}
		if d.Whole {
			o.Effects = last.catalogue.effects(d.Segment)
		}
		if err := s.failed[d.Segment]; err != nil {
			o.Reason += fmt.Sprintf(" (it could not be repaired: %v)", err)
		}
		delete(s.repaired, d.Segment) // not all of it
		rep.Damaged = append(rep.Damaged, o)
	}
	for id, was := range s.repaired {
		rep.Repaired = append(rep.Repaired, Object{Key: id.Key(), Reason: was})
	}
	slices.SortFunc(rep.Repaired, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return rep
}

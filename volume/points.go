package volume

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// DefaultWindow is for how long the past of a volume is kept unless something else is asked for.
const DefaultWindow = 24 * time.Hour

const (
	// maxPoints bounds the roots that are kept of a volume's past, and pointSegments is how many
	// segments may lie between two of them while there is room.
	maxPoints     = 256
	pointSegments = 1024
)

// Point is a root of a volume's past, and when the volume was like that.
type Point struct {
	Time time.Time     `json:"time"`
	Root blockmap.Root `json:"root"` // without a key: the volume was empty
}

func (p Point) root() *blockmap.Root {
	if p.Root.Key == "" {
		return nil
	}
	return &p.Root
}

// Errors of At and Moments.
var (
	ErrForgotten = errors.New("the volume's past does not reach back that far")
	ErrNoPast    = errors.New("nothing of the volume's past is kept")
)

// begin notes the first point of a new volume.
func (h *Head) begin(past *Past) {
	switch {
	case h.Window <= 0:
	case past != nil:
		h.Points = []Point{past.base}
	case h.Root != nil:
		h.Points = []Point{{Time: h.Created, Root: *h.Root}}
	default:
		h.Points = []Point{{Time: h.Created}}
	}
}

// addPoint keeps a root as a point of the past, unless there are enough of them already.
func (h *Head) addPoint(p Point) {
	if h.Window <= 0 {
		return
	}
	if n := len(h.Points); n > 0 {
		last := h.Points[n-1]
		near := p.Time.Sub(last.Time) < h.window()/(maxPoints/2)
		if p.Root.Position == last.Root.Position || near && h.Segments(last, p) < pointSegments {
			return // what is in between is replayed on top of the last one
		}
	}
	h.Points = append(h.Points, p)
	if len(h.Points) > maxPoints {
		h.thin()
	}
}

// thin drops the point that is missed least: the one whose neighbours are nearest to each other.
func (h *Head) thin() {
	least := 1
	for i := 2; i < len(h.Points)-1; i++ {
		if h.Points[i+1].Time.Sub(h.Points[i-1].Time) < h.Points[least+1].Time.Sub(h.Points[least-1].Time) {
			least = i
		}
	}
	h.Points = slices.Delete(h.Points, least, least+1)
}

// forget drops the points that are older than the window, but for the newest of them: with it
// begins the oldest moment inside of the window.
func (h *Head) forget(now time.Time) {
	if h.Window <= 0 {
		h.Points = nil
		return
	}
	begin := now.Add(-h.window())
	for len(h.Points) > 1 && !h.Points[1].Time.After(begin) {
		h.Points = slices.Delete(h.Points, 0, 1)
	}
}

func (h *Head) window() time.Duration { return time.Duration(h.Window) * time.Second }

// Needs tells up to which position the segments of a volume are needed only for what roots name, and which
// roots those are. Segments behind the position are needed whole: they are replayed.
func (h *Head) Needs() (position segment.ID, roots []blockmap.Root) {
	if h.Root != nil {
		position, roots = h.Root.Position, append(roots, *h.Root)
	}
	for _, p := range h.Points {
		position = min(position, p.Root.Position)
		if r := p.root(); r != nil {
			roots = append(roots, *r)
		}
	}
	return position, roots
}

// Behind yields the published segments of the history behind a position, the oldest first.
func (h *Head) Behind(position segment.ID) iter.Seq[segment.ID] {
	return func(yield func(segment.ID) bool) {
		between := h.segmentsBetween(position, h.Published)
		for i := range between.len() {
			if !yield(between.at(i)) {
				return
			}
		}
	}
}

// segmentsBetween returns the segments of the history behind after, up to last.
func (h *Head) segmentsBetween(after, last segment.ID) (list stretch) {
	for _, s := range h.Spans {
		from, to := uint32(1), s.To
		if s.Writer == after.Writer() {
			from = after.Sequence() + 1
		}
		if s.Writer == last.Writer() && (to == 0 || to > last.Sequence()) {
			to = last.Sequence()
		}
		if s.Writer >= after.Writer() && s.Writer <= last.Writer() && from <= to {
			list = append(list, part{s.Writer, from, to})
		}
	}
	return list
}

// part is the segments from to to of a writer.
type part struct{ writer, from, to uint32 }

// stretch is a part of a history.
type stretch []part

func (s stretch) len() (n int) {
	for _, p := range s {
		n += int(p.to-p.from) + 1
	}
	return n
}

// at returns the i-th segment.
func (s stretch) at(i int) segment.ID {
	for _, p := range s {
		n := int(p.to-p.from) + 1
		if i < n {
			return segment.NewID(p.writer, p.from+uint32(i))
		}
		i -= n
	}
	return 0
}

// Moment is a state that a volume had and can be had again.
type Moment struct {
	Time     time.Time
	Position segment.ID // the last segment of that state
}

// Past is a moment together with all that a new volume needs to begin as it: see New.
type Past struct {
	Moment
	base  Point
	spans []Span
}

// At finds the newest moment of a volume that is not after t. Every segment that was published is a
// moment: when it was sealed the volume was as its history says up to it. head should be fresh: what it does not
// call published is not looked at. At makes a handful of requests, whatever the length of the history.
func At(ctx context.Context, store object.Store, head *Head, t time.Time) (*Past, error) {
	if len(head.Points) == 0 {
		return nil, fmt.Errorf("volume %q: %w: its recovery window is 0", head.Name, ErrNoPast)
	}
	i := sort.Search(len(head.Points), func(i int) bool { return head.Points[i].Time.After(t) })
	if i == 0 {
		return nil, fmt.Errorf("volume %q: %w: the oldest moment is %s", head.Name, ErrForgotten, head.Points[0].Time.Format(time.RFC3339))
	}
	base := head.Points[i-1]
	between := head.segmentsBetween(base.Root.Position, head.Published)
	past := &Past{Moment: Moment{Time: base.Time, Position: base.Root.Position}, base: base}
	// Segments are sealed one after the other.
	var err error
	n := sort.Search(between.len(), func(i int) bool {
		if err != nil {
			return true
		}
		var sealed time.Time
		sealed, err = sealedAt(ctx, store, between.at(i))
		return sealed.After(t)
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the moment: %w", err)
	}
	if n > 0 {
		past.Position = between.at(n - 1)
		if past.Time, err = sealedAt(ctx, store, past.Position); err != nil {
			return nil, fmt.Errorf("looking for the moment: %w", err)
		}
	}
	past.spans = until(head.Spans, past.Position)
	return past, nil
}

// KeptBy tells whether a head of the volume still keeps what the moment is made of.
func (p *Past) KeptBy(h *Head) bool {
	return slices.ContainsFunc(h.Points, func(q Point) bool { return q.Root.Position <= p.base.Root.Position })
}

// until returns a history as it was at a segment.
func until(spans []Span, pos segment.ID) (list []Span) {
	for _, s := range spans {
		if s.Writer > pos.Writer() {
			break
		}
		if s.Writer == pos.Writer() {
			s.To = pos.Sequence()
		}
		list = append(list, s)
	}
	return list
}

// sealedAt returns when a segment was sealed; if that is not known, when its object was stored.
func sealedAt(ctx context.Context, store object.Store, id segment.ID) (time.Time, error) {
	h, err := segment.FetchHeader(ctx, store, id)
	if err != nil {
		return time.Time{}, err
	}
	if h.Sealed.IsZero() {
		info, err := store.Stat(ctx, id.Key())
		return info.ModTime, err
	}
	return h.Sealed, nil
}

// momentsAtOnce is how many headers are fetched at once.
const momentsAtOnce = 16

// Moments lists the moments that a volume can go back to, the oldest first, but no more than limit: the newest of those
// that are not after until. It reads the header of each.
func Moments(ctx context.Context, store object.Store, head *Head, until time.Time, limit int) ([]Moment, error) {
	newest, err := At(ctx, store, head, until)
	if err != nil {
		return nil, err
	}
	oldest := head.Points[0]
	between := head.segmentsBetween(oldest.Root.Position, newest.Position)
	skip := max(0, between.len()-limit)
	list := make([]Moment, between.len()-skip)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(momentsAtOnce)
	for i := range list {
		g.Go(func() (err error) {
			list[i].Position = between.at(skip + i)
			list[i].Time, err = sealedAt(gctx, store, list[i].Position)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("listing recovery points: %w", err)
	}
	if skip == 0 && len(list) < limit {
		list = append([]Moment{{Time: oldest.Time, Position: oldest.Root.Position}}, list...)
	}
	return list, nil
}

// Segments counts the moments between two points of the past.
func (h *Head) Segments(after, last Point) int {
	return h.segmentsBetween(after.Root.Position, last.Root.Position).len()
}

// Head returns the volume's head as it is in the bucket, but with what is published by now.
func (v *Volume) Head() *Head {
	published, _ := v.queue.position()
	h := v.claim.Head()
	h.Published = max(h.Published, published)
	return h
}

// SetWindow changes for how long the past is kept. A longer window does not bring back what was
// forgotten.
func (v *Volume) SetWindow(ctx context.Context, window time.Duration) error {
	err := v.claim.Update(ctx, func(h *Head) {
		h.Window = int64(window / time.Second)
		if h.Window > 0 && len(h.Points) == 0 && h.Root != nil {
			h.Points = []Point{{Time: time.Now().UTC(), Root: *h.Root}}
		}
		h.forget(time.Now())
	})
	if err != nil {
		return fmt.Errorf("setting the recovery window: %w", err)
	}
	return nil
}

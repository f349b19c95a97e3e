package verify

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// Moment is a state of a volume that a root of the block map describes.
type Moment struct {
	Root blockmap.Root
	Size int64 // of the volume, bytes
}

func (m *Moment) blocks() uint64 { return uint64(m.Size+segment.BlockSize-1) / segment.BlockSize }

// Options say what is verified beside moments, and how. The zero value is useful.
type Options struct {
	// Whole are segments that are needed with all that they hold, because they are replayed on top of a root.
	Whole []segment.ID
	// Only, if it is not nil, are the only segments that are looked at. All of the map is read in any case.
	Only map[segment.ID]bool
	// Quick reads only the headers of segments: what is in their frames is taken on trust.
	Quick bool
	// Memory bounds, in bytes, what is remembered at once of the blocks to be found in segments. 0: 128 MiB. With less, the map is
	// read more often.
	Memory int64
	// Parallel is how many segments are read at once, each with a MiB or two of memory. 0: 4.
	Parallel int
	// Progress, if there is one, is kept up to date meanwhile.
	Progress *Progress
	// Visit, if it is set, is called once with each segment, after it was looked at; concurrently. Its error ends the verification. If it says
	// that it has changed something, the segment is looked at again.
	Visit func(context.Context, *Segment) (changed bool, err error)
	// Lost, if it is set, is called in the end with each range that is lost of each moment: one moment after the other, its ranges in order.
	Lost func(moment int, l Lost)
}

// Progress tells how far a verification is. Its methods may be called concurrently.
type Progress struct{ done, total atomic.Int64 }

// Bytes returns how many bytes of blocks were looked at, of how many. The total is 0 as long as it is not known.
func (p *Progress) Bytes() (done, total int64) { return p.done.Load(), p.total.Load() }

// Lost is a range of bytes of a volume that can no longer be read.
type Lost struct {
	Offset, Length int64  // bytes
	Object         string // the key of what is missing or damaged
	Reason         string
}

// Report is the result of a verification.
type Report struct {
	Objects int64       // of the bucket that were looked at: segments and parts of the map
	Bytes   int64       // that were read from the bucket
	Blocks  int64       // 4096 bytes each, that were looked for in segments; those of parts of the map that moments share count once
	Damaged []Damaged   // objects that are missing or damaged, in the order of their keys
	Refers  *References // what the moments need

	damage *damage
	views  []*blockmap.View // nil where the root is lost
}

// Damaged is an object of which something that is needed is lost.
type Damaged struct {
	Object  string     // its key
	Segment segment.ID // 0: it is a part of the map
	Reason  string
	Whole   bool // it is to be replayed
}

// References are the objects that moments need.
type References struct {
	Segments map[segment.ID]struct{}
	Maps     map[string]struct{} // keys of roots, nodes and pages
}

// OK tells whether nothing is lost.
func (r *Report) OK() bool { return len(r.Damaged) == 0 }

// View returns the map of a moment, nil if its root is lost.
func (r *Report) View(moment int) *blockmap.View { return r.views[moment] }

// Takes tells whether the damage takes a block of that name.
func (r *Report) Takes(name segment.Name) bool { return r.damage.takes(name) }

// Verify shows that all of the moments can be read: each part of their maps and each segment that the maps name
// is there and as it was written, each block that a map names is in its segment with the checksum that the map has for it,
// and, unless it is to be quick, the content of each such block has this checksum.
//
// What is damaged is in the report; an error means that nothing is known, because the bucket could not be asked
// or ctx ended. What looks damaged is read twice. Whoever deletes a moment meanwhile makes it look damaged, too.
func Verify(ctx context.Context, store object.Store, moments []Moment, opts Options) (*Report, error) {
	v := newVerifier(store, moments, opts)
	if err := v.run(ctx); err != nil {
		return nil, err
	}
	return v.report(), nil
}

// verifier is one verification.
type verifier struct {
	opts    Options
	store   *meter
	moments []Moment
	views   []*blockmap.View // nil where the root is lost

	needed map[segment.ID]*need
	damage *damage
	blocks int64
}

func newVerifier(store object.Store, moments []Moment, opts Options) *verifier {
	opts.Memory, opts.Parallel = cmp.Or(opts.Memory, 128<<20), cmp.Or(opts.Parallel, 4)
	if opts.Progress == nil {
		opts.Progress = new(Progress)
	}
	return &verifier{
		opts: opts, store: newMeter(store), moments: moments, views: make([]*blockmap.View, len(moments)),
		needed: map[segment.ID]*need{}, damage: newDamage(len(moments)),
	}
}

// need is what maps want of one segment.
type need struct {
	id          segment.ID
	first, last uint64 // blocks of a volume, between which all are that it holds
	blocks      int64  // that name it; one slot may be named many times
	whole       bool   // it is wanted with all that it has
	wants       []want // while it is being verified
}

// want is a block that is to be in a slot of a segment.
type want struct {
	slot uint16
	crc  uint32
}

const wantBytes = 8

func compareWants(a, b want) int {
	return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.crc, b.crc))
}

func (v *verifier) run(ctx context.Context) error {
	for i, m := range v.moments {
		view, err := blockmap.OpenView(ctx, v.store, m.Root)
		if damaged(err) {
			v.damage.noteRoot(i, m.Root.Key, err)
			continue
		}
		if err != nil {
			return err
		}
		v.views[i] = view
	}
	if err := v.survey(ctx); err != nil {
		return err
	}
	for _, batch := range v.batches() {
		if err := v.gather(ctx, batch); err != nil {
			return err
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(v.opts.Parallel)
		for _, n := range batch {
			g.Go(func() error { return v.verify(gctx, n) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return v.lose(ctx)
}

// damaged tells damage of the map from what a newer program wrote: there the checksum is right.
func damaged(err error) bool {
	return errors.Is(err, blockmap.ErrDamaged) && !errors.Is(err, segment.ErrVersion)
}

// need returns the need of a segment, which it makes if there is none yet.
func (v *verifier) need(id segment.ID) *need {
	n := v.needed[id]
	if n == nil {
		n = &need{id: id, first: math.MaxUint64}
		v.needed[id] = n
	}
	return n
}

// fresh reads the maps from block first to end-1, each part that moments share once. Lost parts are noted and skipped.
func (v *verifier) fresh(ctx context.Context, first, end uint64, do func(blockmap.Run)) error {
	seen := blockmap.NewSeen()
	for i, view := range v.views {
		if view == nil {
			continue
		}
		for run, err := range view.Fresh(ctx, seen, first, min(end, v.moments[i].blocks())) {
			if lost, ok := errors.AsType[*blockmap.LostError](err); ok && damaged(err) {
				v.damage.noteMap(lost)
				continue
			}
			if err != nil {
				return err
			}
			do(run)
		}
	}
	return nil
}

// survey finds the segments that are needed.
func (v *verifier) survey(ctx context.Context) error {
	err := v.fresh(ctx, 0, math.MaxUint64, func(run blockmap.Run) {
		for i, e := range run.Entries {
			block := run.Block + uint64(i)
			n := v.need(e.Name.Segment())
			n.first, n.last = min(n.first, block), max(n.last, block)
			n.blocks++
		}
		v.blocks += int64(len(run.Entries))
	})
	for _, id := range v.opts.Whole {
		v.need(id).whole = true
	}
	total := int64(0)
	for _, n := range v.needed {
		total += n.bytes()
	}
	v.opts.Progress.total.Store(total)
	return err
}

// bytes is what a segment counts in the progress.
func (n *need) bytes() int64 { return max(n.blocks, 1) * segment.BlockSize }

// maxWants is how many wants of one segment are kept before those that say the same are dropped.
const maxWants = 2 * segment.MaxBlocks

// batches cuts the segments into batches of which the wants fit into memory. Segments that hold the same part
// of the volume come together, so that little of the map is read more than once where it was written in order.
func (v *verifier) batches() [][]*need {
	all := slices.SortedFunc(maps.Values(v.needed), func(a, b *need) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.id, b.id))
	})
	var out [][]*need
	room := int64(0)
	for _, n := range all {
		if v.opts.Only != nil && !v.opts.Only[n.id] {
			v.opts.Progress.done.Add(n.bytes())
			continue
		}
		size := min(n.blocks, maxWants) * wantBytes
		if room < size || len(out) == 0 {
			out, room = append(out, nil), v.opts.Memory
		}
		room -= size
		out[len(out)-1] = append(out[len(out)-1], n)
	}
	return out
}

// gather collects what the maps want of the segments of a batch.
func (v *verifier) gather(ctx context.Context, batch []*need) error {
	members := make(map[segment.ID]*need, len(batch))
	first, last := uint64(math.MaxUint64), uint64(0)
	for _, n := range batch {
		n.wants = make([]want, 0, min(n.blocks, maxWants))
		members[n.id] = n
		first, last = min(first, n.first), max(last, n.last)
	}
	if first > last { // no map names any of them
		return nil
	}
	return v.fresh(ctx, first, last+1, func(run blockmap.Run) {
		for _, e := range run.Entries {
			if n := members[e.Name.Segment()]; n != nil {
				n.add(want{uint16(e.Name.Index()), e.CRC})
			}
		}
	})
}

// add adds a want. Those of blocks that were copied inside the volume are the same, and kept once.
func (n *need) add(w want) {
	if len(n.wants) >= maxWants && len(n.wants) == cap(n.wants) {
		n.sort()
	}
	n.wants = append(n.wants, w)
}

// sort orders the wants by slot, each once.
func (n *need) sort() {
	slices.SortFunc(n.wants, compareWants)
	n.wants = slices.Compact(n.wants)
}

// verify looks for the wants of one segment.
func (v *verifier) verify(ctx context.Context, n *need) error {
	n.sort()
	bad, err := v.look(ctx, n)
	if err == nil && v.opts.Visit != nil {
		var changed bool
		if changed, err = v.opts.Visit(ctx, &Segment{need: n, bad: bad, v: v}); changed && err == nil {
			bad, err = v.look(ctx, n)
		}
	}
	if err != nil {
		return err
	}
	if bad != nil {
		v.damage.note(n, bad)
	}
	n.wants = nil
	v.opts.Progress.done.Add(n.bytes())
	return nil
}

// look looks at a segment, and at what looks damaged again, from the header on: the object may have been
// replaced meanwhile by a smaller one with the same blocks, or the damage was one of the way here.
func (v *verifier) look(ctx context.Context, n *need) (bad *badSegment, err error) {
	for range 2 {
		c := checker{store: v.store, need: n, wants: n.wants, quick: v.opts.Quick}
		if bad, err = c.check(ctx); err != nil || bad == nil {
			break
		}
	}
	return bad, err
}

// lose tells what is lost of each moment.
func (v *verifier) lose(ctx context.Context) error {
	if v.opts.Lost == nil || v.damage.empty() {
		return nil
	}
	for i, m := range v.moments {
		lose := func(l Lost) {
			l.Length = min(l.Length, m.Size-l.Offset)
			v.opts.Lost(i, l)
		}
		if err := v.damage.roots[i]; err != nil {
			lose(Lost{Length: m.Size, Object: m.Root.Key, Reason: err.Error()})
			continue
		}
		if err := v.damage.ranges(ctx, v.views[i], m.blocks(), lose); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) report() *Report {
	r := &Report{Blocks: v.blocks, Damaged: v.damage.list(), damage: v.damage, views: v.views}
	r.Refers = &References{Segments: make(map[segment.ID]struct{}, len(v.needed)), Maps: v.store.keys}
	for id := range v.needed {
		r.Refers.Segments[id] = struct{}{}
	}
	r.Objects, r.Bytes = int64(len(v.store.keys)+len(v.needed)), v.store.bytes
	return r
}

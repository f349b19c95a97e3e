package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// VerifyOptions say how a snapshot is verified. The zero value is useful.
type VerifyOptions struct {
	// Quick reads only the headers of segments: what is in their frames is taken on trust.
	Quick bool
	// Memory bounds, in bytes, what is remembered at once of the blocks to be found in segments. 0: 128 MiB. With less, the map is
	// read more often.
	Memory int64
	// Parallel is how many segments are read at once, each with a MiB or two of memory. 0: 4.
	Parallel int
	// Progress, if there is one, is kept up to date meanwhile.
	Progress *Progress
	// Lost, if it is set, is called with each range that is lost, in order, in the end.
	Lost func(Lost)
}

// Progress tells how far a verification is. Its methods may be called concurrently.
type Progress struct{ done, total atomic.Int64 }

// Bytes returns how many bytes of the volume were looked at, of how many. The total is 0 as long as it is not known.
func (p *Progress) Bytes() (done, total int64) { return p.done.Load(), p.total.Load() }

// Lost is a range of bytes of the volume that can no longer be read.
type Lost struct {
	Offset, Length int64  // bytes
	Object         string // the key of what is missing or damaged
	Reason         string
}

// Report is the result of a verification.
type Report struct {
	Objects int64 // of the bucket that were looked at: segments and parts of the map
	Bytes   int64 // that were read from the bucket
	Blocks  int64 // of the volume, 4096 bytes each, that were looked for in segments
	Damaged int64 // objects that are missing or damaged
	Lost    int64 // bytes of the volume that are lost, zeros that nobody knows of included

	damage *damage
	view   *blockmap.View // nil if the root is lost
}

// OK tells whether nothing is lost.
func (r *Report) OK() bool { return r.Damaged == 0 }

// Verify shows that all of a snapshot can be read, without restoring it: each part of its map and each segment that the map names
// is there and as it was written, each block that the map names is in its segment with the checksum that the map has for it,
// and, unless it is to be quick, the content of each such block has this checksum.
//
// What is damaged is in the report; an error means that nothing is known, because the bucket could not be asked
// or ctx ended. What looks damaged is read twice. Whoever deletes the snapshot meanwhile makes it look damaged, too.
func Verify(ctx context.Context, store object.Store, s *Snapshot, opts VerifyOptions) (*Report, error) {
	v := newVerifier(store, s, opts)
	if err := v.run(ctx); err != nil {
		return nil, fmt.Errorf("verifying snapshot %s: %w", s.ID, err)
	}
	return v.report(), nil
}

// verifier is one verification.
type verifier struct {
	opts     VerifyOptions
	store    *meter
	snapshot *Snapshot
	view     *blockmap.View // nil if the root is lost
	rootErr  error          // why

	needed  map[segment.ID]*need
	mapLost bool
	damage  *damage
	blocks  int64
	rep     Report
}

func newVerifier(store object.Store, s *Snapshot, opts VerifyOptions) *verifier {
	opts.Memory, opts.Parallel = cmp.Or(opts.Memory, 128<<20), cmp.Or(opts.Parallel, 4)
	if opts.Progress == nil {
		opts.Progress = new(Progress)
	}
	if opts.Lost == nil {
		opts.Lost = func(Lost) {}
	}
	return &verifier{opts: opts, store: newMeter(store), snapshot: s, needed: map[segment.ID]*need{}, damage: newDamage()}
}

// need is what the map wants of one segment.
type need struct {
	id          segment.ID
	first, last uint64 // blocks of the volume, between which all are that it holds
	blocks      int64  // that name it; one slot may be named many times
	wants       []want // while it is being verified
}

// want is a block that is to be in a slot of a segment.
type want struct {
	slot uint16
	crc  uint32
}

const wantBytes = 8

func (v *verifier) run(ctx context.Context) error {
	view, err := blockmap.OpenView(ctx, v.store, v.snapshot.Root)
	if errors.Is(err, blockmap.ErrDamaged) {
		v.rootErr = err
		v.lose(Lost{Length: v.snapshot.Size, Object: v.snapshot.Root.Key, Reason: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	v.view = view
	if err := v.survey(ctx); err != nil {
		return err
	}
	v.opts.Progress.total.Store(v.blocks * segment.BlockSize)
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
	if !v.mapLost && v.damage.empty() {
		return nil
	}
	return v.damage.ranges(ctx, v.view, v.snapshot.blocks(), v.lose)
}

// survey finds the segments that the map names.
func (v *verifier) survey(ctx context.Context) error {
	for run, err := range v.view.Runs(ctx, 0, v.snapshot.blocks()) {
		if lost, ok := errors.AsType[*blockmap.LostError](err); ok {
			v.mapLost = true
			v.damage.noteMap(lost.Object)
			continue
		}
		if err != nil {
			return err
		}
		for i, e := range run.Entries {
			block := run.Block + uint64(i)
			n := v.needed[e.Name.Segment()]
			if n == nil {
				n = &need{id: e.Name.Segment(), first: block}
				v.needed[n.id] = n
			}
			n.last = block
			n.blocks++
		}
		v.blocks += int64(len(run.Entries))
	}
	return nil
}

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
		size := min(n.blocks, maxWants) * wantBytes
		if room < size || len(out) == 0 {
			out, room = append(out, nil), v.opts.Memory
		}
		room -= size
		out[len(out)-1] = append(out[len(out)-1], n)
	}
	return out
}

// gather collects what the map wants of the segments of a batch.
func (v *verifier) gather(ctx context.Context, batch []*need) error {
	members := make(map[segment.ID]*need, len(batch))
	first, last := batch[0].first, uint64(0)
	for _, n := range batch {
		n.wants = make([]want, 0, min(n.blocks, maxWants))
		members[n.id] = n
		last = max(last, n.last)
	}
	for run, err := range v.view.Runs(ctx, first, last+1) {
		if _, ok := errors.AsType[*blockmap.LostError](err); ok {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range run.Entries {
			if n := members[e.Name.Segment()]; n != nil {
				n.add(want{uint16(e.Name.Index()), e.CRC})
			}
		}
	}
	return nil
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
	slices.SortFunc(n.wants, func(a, b want) int { return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.crc, b.crc)) })
	n.wants = slices.Compact(n.wants)
}

// verify looks for the wants of one segment. What looks damaged is read again, from the header on: the object may have been
// replaced meanwhile by a smaller one with the same blocks, or the damage was one of the way here.
func (v *verifier) verify(ctx context.Context, n *need) error {
	n.sort()
	var bad *badSegment
	for range 2 {
		c := checker{store: v.store, id: n.id, wants: n.wants, quick: v.opts.Quick}
		var err error
		if bad, err = c.check(ctx); err != nil {
			return err
		}
		if bad == nil {
			break
		}
	}
	if bad != nil {
		v.damage.note(n.id, bad)
	}
	n.wants = nil
	v.opts.Progress.done.Add(n.blocks * segment.BlockSize)
	return nil
}

// lose notes a lost range.
func (v *verifier) lose(l Lost) {
	l.Length = min(l.Length, v.snapshot.Size-l.Offset)
	v.rep.Lost += l.Length
	v.opts.Lost(l)
}

func (v *verifier) report() *Report {
	v.rep.Blocks, v.rep.Damaged, v.rep.damage, v.rep.view = v.blocks, v.damage.objects(), v.damage, v.view
	if v.rootErr != nil {
		v.rep.Damaged++
	}
	v.rep.Objects, v.rep.Bytes = v.store.count()
	v.rep.Objects += int64(len(v.needed))
	return &v.rep
}

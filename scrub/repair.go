package scrub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/cache"
	"sluice/object"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

// repair puts a damaged segment in place again, made of what is left of it in the bucket and here. It reports whether it has changed
// the object, or somebody else has.
func (s *scrubber) repair(ctx context.Context, seg *verify.Segment) (changed bool, err error) {
	if !seg.Damaged() {
		return false, nil
	}
	r := repairer{store: s.store, seg: seg}
	if r.local = s.opts.Cache.Acquire(seg.ID()); r.local != nil {
		defer r.local.Release()
	}
	changed, err = r.repair(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.failed[seg.ID()] = err
	case changed:
		s.repaired[seg.ID()] = r.reason
		s.opts.Logger.Info("a damaged segment was written anew from a local copy", "segment", seg.ID(), "was", r.reason)
	}
	return changed, nil
}

// maxObject is more than any object of a segment has.
const maxObject = 2 * segment.FileSize

// Errors that say why a segment is not repaired.
var (
	errNoCopy = errors.New("no local copy has what is lost")
	errGap    = errors.New("it is to be replayed, and no local copy has all of it")
)

// repairer repairs one segment.
type repairer struct {
	store object.Store
	seg   *verify.Segment
	local *cache.Segment // nil: there is none

	body   []byte // of the object, nil: it is missing
	etag   string
	header *segment.ObjectHeader // of the object; nil: it has none, or another's
	reason string
	blocks segment.Blocks // that were found
}

func (r *repairer) repair(ctx context.Context) (changed bool, err error) {
	r.reason = r.seg.Reason()
	if err := r.fetch(ctx); err != nil {
		return false, err
	}
	r.decode()
	plan, sums, err := r.plan(ctx)
	if err != nil {
		return false, err
	}
	r.readLocal(sums)
	layout, err := r.fill(plan, sums)
	if err != nil {
		return false, err
	}
	body, err := segment.NewBuilder(segment.BuilderOptions{}).Encode(nil, r.identity(), layout, &r.blocks)
	if err != nil {
		return false, fmt.Errorf("making it anew: %w", err)
	}
	if _, err = r.store.PutIf(ctx, r.seg.ID().Key(), body, r.etag); errors.Is(err, object.ErrPrecondition) {
		return true, nil
	}
	return err == nil, err
}

// fetch reads what there is of the object.
func (r *repairer) fetch(ctx context.Context) (err error) {
	r.body, r.etag, err = r.store.GetRange(ctx, r.seg.ID().Key(), 0, maxObject)
	if errors.Is(err, object.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	h, err := segment.ParseHeader(r.body)
	if errors.Is(err, segment.ErrVersion) {
		return err // perhaps not damaged at all
	}
	if err == nil && h.ID == r.seg.ID() {
		r.header = h
	}
	return nil
}

// decode keeps the blocks that the object still has.
func (r *repairer) decode() {
	if r.header == nil {
		return
	}
	for i := range r.header.Frames() {
		f := r.header.Frame(i)
		from := min(f.Offset, int64(len(r.body)))
		data, err := r.header.DecodeFrame(i, r.body[from:min(from+int64(f.Length), int64(len(r.body)))], nil)
		if err != nil {
			continue
		}
		for slot := range r.header.FrameSlots(i) {
			r.blocks[slot], data = data[:segment.BlockSize], data[segment.BlockSize:]
		}
	}
}

// plan returns what the segment is to hold: what the object's header says, or the records of the local file, if they have all that
// maps want. For a segment that is not replayed, what maps want is enough.
func (r *repairer) plan(ctx context.Context) (*segment.Layout, map[uint32]uint32, error) {
	for _, find := range []func() *segment.Layout{r.headerLayout, r.recordLayout} {
		l := find()
		if l == nil || l.Thinned && r.whole() {
			continue
		}
		if sums := sumsOf(l); r.covers(sums) {
			return l, sums, nil
		}
	}
	if r.whole() {
		return nil, nil, errGap
	}
	starts, err := r.seg.Blocks(ctx)
	if err != nil {
		return nil, nil, err
	}
	l, sums := &segment.Layout{Thinned: true}, map[uint32]uint32{}
	for slot, crc := range r.seg.Wants() {
		if _, twice := sums[slot]; twice || slot >= segment.Slots {
			return nil, nil, fmt.Errorf("maps want slot %d, with more than one content or outside of the segment", slot)
		}
		sums[slot] = crc
		l.Live = append(l.Live, segment.Extent{Op: segment.OpWrite, Run: segment.Run{Start: starts[slot], Count: 1}, Slot: slot, CRCs: []uint32{crc}})
	}
	return l, sums, nil
}

// whole tells whether the segment is to be put back whole or not at all: it is to be replayed, and its object still can be.
func (r *repairer) whole() bool { return r.seg.Whole() && r.header != nil && !r.header.Thinned }

func (r *repairer) headerLayout() *segment.Layout {
	if r.header == nil {
		return nil
	}
	l := &segment.Layout{Sealed: r.header.Sealed, Thinned: r.header.Thinned}
	for e := range r.header.Runs() {
		switch e.Op {
		case segment.OpWrite:
			l.Live = append(l.Live, e)
		case segment.OpCopy:
			l.Copies = append(l.Copies, e)
		case segment.OpZero, segment.OpUnmap:
			l.Holes = append(l.Holes, e)
		}
	}
	return l
}

// recordLayout returns what the records of the local file say, if the segment was written here.
func (r *repairer) recordLayout() *segment.Layout {
	if r.local == nil {
		return nil
	}
	got, err := segment.RecoverSynced(r.local.File, r.seg.ID())
	if err != nil || got.Torn || len(got.Records) == 0 {
		return nil // a copy from the bucket, or damaged
	}
	l := segment.Collapse(got.Records)
	l.Sealed = r.written()
	return &l
}

// written returns when the local file was written to last.
func (r *repairer) written() time.Time {
	info, err := r.local.File.Stat()
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// identity returns the header of the new object.
func (r *repairer) identity() segment.Header {
	if r.header != nil {
		return r.header.Header
	}
	if r.local != nil {
		if h, err := segment.ReadHeader(r.local.File); err == nil && h.ID == r.seg.ID() {
			return h
		}
	}
	return segment.Header{ID: r.seg.ID()}
}

func sumsOf(l *segment.Layout) map[uint32]uint32 {
	sums := map[uint32]uint32{}
	for _, e := range l.Live {
		for i, crc := range e.CRCs {
			sums[e.Slot+uint32(i)] = crc
		}
	}
	return sums
}

// covers tells whether all that maps want is among the blocks with these sums.
func (r *repairer) covers(sums map[uint32]uint32) bool {
	for slot, want := range r.seg.Wants() {
		if crc, ok := sums[slot]; !ok || crc != want {
			return false
		}
	}
	return true
}

// readLocal takes from the local copy the blocks that the object does not have.
func (r *repairer) readLocal(sums map[uint32]uint32) {
	for slot, crc := range sums {
		if b := r.blocks[slot]; b != nil && segment.Checksum(b) == crc {
			continue
		}
		r.blocks[slot] = nil
		if r.local == nil || !r.local.Holds(slot) {
			continue
		}
		if b := make([]byte, segment.BlockSize); readLocal(r.local, slot, crc, b) {
			r.blocks[slot] = b
		}
	}
}

// fill returns the layout with the blocks that were found, if that is better than what the bucket has.
func (r *repairer) fill(l *segment.Layout, sums map[uint32]uint32) (*segment.Layout, error) {
	missing, gained := 0, false
	for _, slot := range slices.Sorted(maps.Keys(sums)) {
		if r.blocks[slot] == nil {
			missing++
		} else if r.seg.Lost(slot) {
			gained = true
		}
	}
	switch {
	case missing == 0 && (gained || r.seg.Whole() && !l.Thinned):
		return l, nil
	case missing > 0 && r.whole():
		return nil, errGap
	case !gained:
		return nil, errNoCopy
	}
	out := &segment.Layout{Sealed: l.Sealed, Thinned: true}
	for _, e := range l.Live {
		for i := range e.Count {
			if r.blocks[e.Slot+i] == nil {
				continue
			}
			out.Live = append(out.Live, segment.Extent{
				Op: segment.OpWrite, Run: segment.Run{Start: e.Start + uint64(i), Count: 1}, Slot: e.Slot + i, CRCs: e.CRCs[i : i+1],
			})
		}
	}
	return out, nil
}

package gc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

const (
	// A segment is thinned when no more than thinBelow of the blocks in its object are needed.
	thinBelow = 0.75
	// maxDetailed bounds the segments of which one pass notes the blocks, 300 bytes each: in a bucket
	// with more, passes take turns.
	maxDetailed = 256 << 10
	// maxSuspects bounds those that a pass remembers for the next, 300 bytes each.
	maxSuspects = 64 << 10
)

// detailed chooses the segments whose blocks a pass notes.
func detailed(found []object.Info, pass int) func(segment.ID) bool {
	turns := len(found)/maxDetailed + 1
	return func(id segment.ID) bool { return int(id.Sequence())%turns == pass%turns }
}

// thinner writes segments again, under their names, without the blocks that nothing names.
type thinner struct {
	opts    Options
	builder *segment.Builder
	stored  map[segment.ID]uint16   // blocks in the objects of segments that looked sparse
	suspect map[segment.ID]*suspect // sparse segments
}

// suspect is a sparse segment.
type suspect struct {
	since  time.Time
	needed blockmap.Slots // then
}

func newThinner(opts Options) thinner {
	return thinner{
		opts: opts, builder: segment.NewBuilder(segment.BuilderOptions{Codec: opts.Codec}),
		stored: map[segment.ID]uint16{}, suspect: map[segment.ID]*suspect{},
	}
}

// pass thins the segments that were sparse a horizon ago and still are. It also estimates what is dead.
func (t *thinner) pass(ctx context.Context, l *live, found []object.Info, now time.Time, rep *Report) error {
	owners := l.owners()
	there := map[segment.ID]bool{}
	var bad []error // of objects that are left as they are
	for _, info := range found {
		id, ok := segment.ParseKey(info.Key)
		slots := l.roots.Named()[id]
		if !ok || slots == nil || l.replays(id) {
			continue
		}
		there[id] = true
		stored, err := t.count(ctx, id, slots)
		if damaged(err) {
			bad = append(bad, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for sparse segments: %w", err)
		}
		needed := slots.Count()
		dead := info.Size * int64(max(0, stored-needed)) / int64(max(1, stored))
		if float64(needed) <= thinBelow*float64(stored) {
			freed, err := t.consider(ctx, id, slots, now)
			if err != nil {
				err = fmt.Errorf("thinning segment %s: %w", id, err)
			}
			if damaged(err) {
				bad = append(bad, err)
				continue
			}
			if err != nil {
				return err
			}
			if freed > 0 {
				rep.Thinned, rep.Freed, dead = rep.Thinned+1, rep.Freed+freed, 0
			}
		}
		if h, ok := owners[id.Writer()]; ok {
			sp := l.space[h.ID]
			sp.Dead += dead
			l.space[h.ID] = sp
		}
	}
	t.forget(l, there)
	return errors.Join(bad...)
}

// damaged tells whether an error is of one object only.
func damaged(err error) bool {
	return errors.Is(err, segment.ErrObject) || errors.Is(err, object.ErrNotFound)
}

// owners returns whose writer each is.
func (l *live) owners() map[uint32]*volume.Head {
	of := map[uint32]*volume.Head{}
	for _, h := range l.volumes {
		for _, s := range h.Spans {
			if o := of[s.Writer]; o == nil || h.Created.Before(o.Created) { // a clone has the spans of its source, too
				of[s.Writer] = h
			}
		}
	}
	return of
}

// forget drops what is known of segments that are not there any more, or not sparse.
func (t *thinner) forget(l *live, there map[segment.ID]bool) {
	for id := range t.stored {
		if !there[id] && !l.roots.Names(id) {
			delete(t.stored, id)
		}
	}
	for id := range t.suspect {
		if !l.roots.Names(id) {
			delete(t.suspect, id)
		}
	}
}

// count returns how many blocks a segment's object has. Of one that is full enough in any case it is not asked for.
func (t *thinner) count(ctx context.Context, id segment.ID, needed *blockmap.Slots) (int, error) {
	if float64(needed.Count()) > thinBelow*segment.Slots {
		return segment.Slots, nil
	}
	if n, ok := t.stored[id]; ok {
		return int(n), nil
	}
	h, err := segment.FetchHeader(ctx, t.opts.Store, id)
	if err != nil {
		return 0, err
	}
	t.stored[id] = uint16(h.Blocks())
	return h.Blocks(), nil
}

// consider thins a segment if it was sparse a horizon ago, too, and else notes that it is. It returns
// the bytes that were freed.
func (t *thinner) consider(ctx context.Context, id segment.ID, needed *blockmap.Slots, now time.Time) (freed int64, err error) {
	s := t.suspect[id]
	if s == nil {
		if t.opts.Horizon > 0 {
			if len(t.suspect) < maxSuspects {
				t.suspect[id] = &suspect{since: now, needed: *needed}
			}
			return 0, nil
		}
		s = &suspect{since: now, needed: *needed}
	}
	if now.Sub(s.since) < t.opts.Horizon {
		return 0, nil
	}
	keep := s.needed
	for i := range keep { // what is not needed stays so; if it does not, somebody is wrong, and nothing is lost by that
		keep[i] |= needed[i]
	}
	freed, err = t.thin(ctx, id, &keep)
	if err == nil {
		delete(t.suspect, id)
		delete(t.stored, id)
	}
	return freed, err
}

// thin writes a segment again with the blocks of keep only.
func (t *thinner) thin(ctx context.Context, id segment.ID, keep *blockmap.Slots) (freed int64, err error) {
	old, etag, err := t.opts.Store.GetRange(ctx, id.Key(), 0, -1)
	if err != nil {
		return 0, err
	}
	h, err := segment.ParseHeader(old)
	if err != nil {
		return 0, err
	}
	if h.ID != id || h.Size != int64(len(old)) {
		return 0, fmt.Errorf("%w: object %s has %d bytes, its header says segment %s of %d", segment.ErrObject, id.Key(), len(old), h.ID, h.Size)
	}
	blocks, err := decode(h, old)
	if err != nil {
		return 0, err
	}
	layout := segment.Layout{Sealed: h.Sealed, Thinned: true}
	left := *keep
	for e := range h.Runs() {
		if e.Op != segment.OpWrite {
			continue
		}
		for i := range e.Count {
			slot := e.Slot + i
			if !keep.Has(slot) {
				continue
			}
			left[slot/64] &^= 1 << (slot % 64)
			layout.Live = appendBlock(layout.Live, e.Start+uint64(i), slot, e.CRCs[i])
		}
	}
	if n := left.Count(); n > 0 {
		return 0, fmt.Errorf("%w: object %s lacks %d blocks that roots name", segment.ErrObject, id.Key(), n)
	}
	body, err := t.builder.Encode(nil, h.Header, &layout, blocks)
	if err != nil {
		return 0, err
	}
	if len(body) >= len(old) {
		return 0, nil
	}
	_, err = t.opts.Store.PutIf(ctx, id.Key(), body, etag)
	if errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound) {
		return 0, nil // another gateway was faster
	}
	return int64(len(old) - len(body)), err
}

// appendBlock adds a block to the live runs.
func appendBlock(live []segment.Extent, block uint64, slot, crc uint32) []segment.Extent {
	if n := len(live); n > 0 {
		if e := &live[n-1]; e.End() == block && e.Slot+e.Count == slot {
			e.Count++
			e.CRCs = append(e.CRCs, crc)
			return live
		}
	}
	return append(live, segment.Extent{Op: segment.OpWrite, Run: segment.Run{Start: block, Count: 1}, Slot: slot, CRCs: []uint32{crc}})
}

// decode returns all blocks of an object, checked.
func decode(h *segment.ObjectHeader, body []byte) (*segment.Blocks, error) {
	all := new(segment.Blocks)
	for i := range h.Frames() {
		f := h.Frame(i)
		data, err := h.DecodeFrame(i, body[f.Offset:][:f.Length], nil)
		if err != nil {
			return nil, err
		}
		for slot := range h.FrameSlots(i) {
			all[slot], data = data[:segment.BlockSize], data[segment.BlockSize:]
		}
	}
	return all, nil
}

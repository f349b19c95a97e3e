package verify

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// damage is what a verification found. Its methods may be called concurrently.
type damage struct {
	mu          sync.Mutex
	segments    map[segment.ID]*badSegment
	maps        map[string]error // objects of the map, roots included
	roots       []error          // of the moments
	first, last uint64           // blocks between which all lost ones are, but for those of lost roots
}

// badSegment is what cannot be read of a segment: 1 KiB, and why.
type badSegment struct {
	slots  [segment.MaxBlocks / 64]uint64
	reason string // of the first
	whole  bool   // it is to be replayed
}

func (b *badSegment) has(slot uint32) bool { return b != nil && b.slots[slot/64]>>(slot%64)&1 == 1 }

func newDamage(moments int) *damage {
	return &damage{segments: map[segment.ID]*badSegment{}, maps: map[string]error{}, roots: make([]error, moments), first: math.MaxUint64}
}

func (d *damage) note(n *need, bad *badSegment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	bad.whole = n.whole
	d.segments[n.id] = bad
	d.first, d.last = min(d.first, n.first), max(d.last, n.last)
}

func (d *damage) noteMap(lost *blockmap.LostError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.maps[lost.Object] = lost.Err
	d.first, d.last = min(d.first, lost.Block), max(d.last, lost.Block+lost.Count-1)
}

func (d *damage) noteRoot(moment int, key string, err error) {
	d.maps[key], d.roots[moment] = err, err
}

func (d *damage) empty() bool { return len(d.segments)+len(d.maps) == 0 }

// list returns the damaged objects, in the order of their keys.
func (d *damage) list() []Damaged {
	var out []Damaged
	for id, bad := range d.segments {
		out = append(out, Damaged{Object: id.Key(), Segment: id, Reason: bad.reason, Whole: bad.whole})
	}
	for key, err := range d.maps {
		out = append(out, Damaged{Object: key, Reason: err.Error()})
	}
	slices.SortFunc(out, func(a, b Damaged) int { return strings.Compare(a.Object, b.Object) })
	return out
}

// of returns the damage that a block has met, if any.
func (d *damage) of(name segment.Name) *badSegment {
	if bad := d.segments[name.Segment()]; bad.has(name.Index()) {
		return bad
	}
	return nil
}

// takes tells whether a block of that name is lost. It is for when the verification has ended.
func (d *damage) takes(name segment.Name) bool { return d.of(name) != nil }

// ranges calls lose with each lost range of a map of so many blocks, in order. The map's root is there.
func (d *damage) ranges(ctx context.Context, view *blockmap.View, blocks uint64, lose func(Lost)) error {
	if d.first > d.last {
		return nil
	}
	var last Lost
	add := func(block, count uint64, key, reason string) {
		l := Lost{Offset: int64(block) * segment.BlockSize, Length: int64(count) * segment.BlockSize, Object: key, Reason: reason}
		if last.Offset+last.Length == l.Offset && last.Object == key && last.Length > 0 {
			last.Length += l.Length
			return
		}
		if last.Length > 0 {
			lose(last)
		}
		last = l
	}
	for run, err := range view.Runs(ctx, d.first, min(d.last+1, blocks)) {
		if lost, ok := errors.AsType[*blockmap.LostError](err); ok {
			add(lost.Block, lost.Count, lost.Object, lost.Err.Error())
			continue
		}
		if err != nil {
			return err
		}
		for i, e := range run.Entries {
			if bad := d.of(e.Name); bad != nil {
				add(run.Block+uint64(i), 1, e.Name.Segment().Key(), bad.reason)
			}
		}
	}
	if last.Length > 0 {
		lose(last)
	}
	return nil
}

// meter is a store that counts what is read.
type meter struct {
	object.Store

	mu    sync.Mutex
	keys  map[string]struct{} // of the map; segments are too many to be remembered, and counted elsewhere
	bytes int64
}

func newMeter(store object.Store) *meter { return &meter{Store: store, keys: map[string]struct{}{}} }

// GetRange implements object.Store.
func (m *meter) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	data, etag, err := m.Store.GetRange(ctx, key, off, n)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !strings.HasPrefix(key, "segments/") {
		m.keys[key] = struct{}{}
	}
	m.bytes += int64(len(data))
	return data, etag, err
}

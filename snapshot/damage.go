package snapshot

import (
	"context"
	"errors"
	"strings"
	"sync"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// damage is what a verification found. Its methods may be called concurrently.
type damage struct {
	mu       sync.Mutex
	segments map[segment.ID]*badSegment
	maps     map[string]struct{} // objects of the map
}

// badSegment is what cannot be read of a segment: 1 KiB, and why.
type badSegment struct {
	slots  [segment.MaxBlocks / 64]uint64
	reason string // of the first
}

func newDamage() *damage {
	return &damage{segments: map[segment.ID]*badSegment{}, maps: map[string]struct{}{}}
}

func (d *damage) note(id segment.ID, bad *badSegment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.segments[id] = bad
}

func (d *damage) noteMap(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.maps[key] = struct{}{}
}

func (d *damage) empty() bool { return d.objects() == 0 }

func (d *damage) objects() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.segments) + len(d.maps))
}

// of returns the damage that a block has met, if any.
func (d *damage) of(name segment.Name) *badSegment {
	bad := d.segments[name.Segment()]
	if slot := name.Index(); bad != nil && bad.slots[slot/64]&(1<<(slot%64)) != 0 {
		return bad
	}
	return nil
}

// takes tells whether a block of that name is lost. It is for when the verification has ended.
func (d *damage) takes(name segment.Name) bool { return d.of(name) != nil }

// ranges calls lose with each lost range of a map of so many blocks, in order.
func (d *damage) ranges(ctx context.Context, view *blockmap.View, blocks uint64, lose func(Lost)) error {
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
	for run, err := range view.Runs(ctx, 0, blocks) {
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

// count returns how many objects of the map were read, and how many bytes in all.
func (m *meter) count() (objects, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.keys)), m.bytes
}

package blockmap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"sluice/volume/segment"
)

// LoadRoot starts the map, which must be new or freshly dropped, from a root in the bucket. Only the
// root itself is read now; index nodes and pages are fetched when they are needed, and
// kept in badger. The map's position is then the root's.
func (m *Map) LoadRoot(ctx context.Context, root Root) error {
	t, err := m.readRoot(ctx, root)
	if err != nil {
		return fmt.Errorf("loading a map root: %w", err)
	}
	m.saveMu.Lock()
	defer m.saveMu.Unlock()
	if m.used() {
		return errors.New("loading a map root: the map is not empty")
	}
	st := &meta{position: root.Position, hasPosition: true, root: t}
	if err := m.saveState(st); err != nil {
		return fmt.Errorf("loading a map root: %w", err)
	}
	m.root.Store(t)
	m.frozenMu.Lock()
	m.position, m.hasPosition = root.Position, true
	m.frozenMu.Unlock()
	return nil
}

// Rebase makes a published root the one that this map, and later roots, build on. All that changed between the
// root of the map and this one must be part of the last checkpoint, as it is when Position is not before the
// root's. A process that ended after it published a root, and before Done, leaves a map whose root may be
// garbage soon.
func (m *Map) Rebase(ctx context.Context, root Root) error {
	if old := m.root.Load(); old.Key != "" && old.Position >= root.Position {
		return nil // the same, or one that was written and not published: what that has is no longer dirty
	}
	t, err := m.readRoot(ctx, root)
	if err != nil {
		return fmt.Errorf("changing the root of a map: %w", err)
	}
	m.saveMu.Lock()
	defer m.saveMu.Unlock()
	m.frozenMu.Lock()
	st := &meta{position: m.position, hasPosition: m.hasPosition, root: t}
	m.frozenMu.Unlock()
	if !st.hasPosition || st.position < root.Position {
		return fmt.Errorf("changing the root of a map: it is at %s, and the root at %s", st.position, root.Position)
	}
	if err := m.saveState(st); err != nil {
		return fmt.Errorf("changing the root of a map: %w", err)
	}
	m.root.Store(t)
	return m.dropStaleNodes()
}

// readRoot fetches and checks a root.
func (m *Map) readRoot(ctx context.Context, root Root) (*rootTable, error) {
	if root.Offset < 0 || root.Length <= 0 || root.Length > maxIndex {
		return nil, fmt.Errorf("%w: %s: a root of %d bytes at %d is impossible", ErrDamaged, root.Key, root.Length, root.Offset)
	}
	b, err := m.fetch(ctx, root.Key, root.Offset, root.Length)
	if err != nil {
		return nil, err
	}
	if checksum(b) != root.CRC {
		return nil, fmt.Errorf("%w: %s at %d: root: checksum mismatch", ErrDamaged, root.Key, root.Offset)
	}
	x, err := decodeIndex(kindRoot, root.Key, b)
	if err == nil && segment.ID(x.number) != root.Position {
		err = fmt.Errorf("it is the root of position %s, not %s", segment.ID(x.number), root.Position)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s at %d: %w", ErrDamaged, root.Key, root.Offset, err)
	}
	return &rootTable{root, x}, nil
}

// used tells whether the map has or had any content.
func (m *Map) used() bool {
	used := m.root.Load().Key != ""
	m.local.keys(m.local.prefix[:], func([]byte) bool {
		used = true
		return false
	})
	for _, s := range m.shards {
		s.mu.Lock()
		used = used || s.lru.Len() > 0 || len(s.dirty) > 0
		s.mu.Unlock()
	}
	return used
}

// dropStaleNodes deletes badger's copies of nodes that the root does not refer to.
func (m *Map) dropStaleNodes() error {
	root := m.root.Load()
	return m.local.remove(m.local.kind(kindIndex), func(key []byte) bool {
		r, ok := root.find(int(number(key)))
		return !ok || len(key) < prefixLen+9 || binary.BigEndian.Uint32(key[prefixLen+5:]) != r.crc
	})
}

// DirtyRootBytes estimates how many bytes a root written now would add to the bucket: from above, but after a crash, when some
// pages are new again that were not counted, until the next root.
func (m *Map) DirtyRootBytes() int64 {
	_, n := m.dirty()
	return n
}

// dirty returns how many pages the root does not have, and the size of what a root of
// them would take.
func (m *Map) dirty() (pages, size int64) {
	const refBytes = 12
	root := m.root.Load()
	var seen [maxNodes]bool
	size = m.dirtyBytes.Load()
	m.frozenMu.Lock()
	if m.frozen != nil {
		size += m.frozen.size
	}
	m.frozenMu.Unlock()
	m.eachDirty(func(word, b uint64) {
		pages += int64(bits.OnesCount64(b))
		if num := word / nodeWords; !seen[num] {
			seen[num] = true
			if r, ok := root.find(int(num)); ok {
				size += int64(r.length)
			}
		}
	})
	return pages, size + pages*refBytes
}

package blockmap

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"time"

	"sluice/object"
	"sluice/volume/segment"
)

// maxPartBytes is the size above which a root is cut into several objects, so that it takes
// no more memory than a few times that.
const maxPartBytes = 4 << 20

// Frozen is the map as it was at one moment. It is written to the bucket by WriteRoot, while the
// map goes on changing. Done must be called in the end.
type Frozen struct {
	m    *Map
	pos  segment.ID
	at   time.Time
	size int64      // estimate of the encoded size of the changed pages
	base *rootTable // the root that it is a change of
	// words are the pages that changed since base, for each shard. They are not changed.
	words [shards]map[uint64]uint64

	mu      sync.Mutex // held by WriteRoot; protects all below
	todo    []uint32   // index nodes that are still to be written
	started bool
	buf     []byte   // the object that is being filled
	ended   bool     // buf ends with the root
	parts   []string // objects written so far
	nodes   []ref    // nodes written so far; their key is the part, counted from 1, or 0: buf
	blobs   []blob   // the nodes in buf
	err     error    // why this state can no longer be written
	written *rootTable
}

// blob is an encoded node, for badger.
type blob struct {
	ref
	b []byte
}

// Freeze notes the state of the map as it is now, which must be the state at pos exactly:
// no Set or Clear may run meanwhile, nor may one of a later record have run. It takes
// microseconds; pages are copied only when they change. There is one frozen state at a
// time: an earlier one that is not Done is superseded, and its changes become part of this one.
func (m *Map) Freeze(pos segment.ID) *Frozen {
	m.frozenMu.Lock()
	defer m.frozenMu.Unlock()
	f := &Frozen{m: m, pos: pos, at: time.Now()}
	for _, s := range m.shards {
		s.mu.Lock()
	}
	if old := m.frozen; old != nil {
		m.thaw(old, false)
	}
	f.base, f.size = m.root.Load(), m.dirtyBytes.Swap(0)
	for i, s := range m.shards {
		f.words[i], s.dirty = s.dirty, map[uint64]uint64{}
		s.gen++
		s.frozen, s.wanted, s.kept, s.copies = f, f.words[i], map[uint64]uint64{}, map[uint64][]byte{}
		s.mu.Unlock()
	}
	m.frozen = f
	return f
}

// thaw forgets a frozen state. Unless it has become the root, its changes are dirty
// again. The caller holds frozenMu and the locks of all shards.
func (m *Map) thaw(f *Frozen, rooted bool) {
	for i, s := range m.shards {
		if !rooted {
			for w, b := range f.words[i] {
				s.dirty[w] |= b
			}
		}
		s.frozen, s.wanted, s.kept, s.copies = nil, nil, nil, nil
	}
	if !rooted {
		m.dirtyBytes.Add(f.size)
	}
	m.copies.Store(0)
	m.frozen = nil
}

// Position returns the position given to Freeze.
func (f *Frozen) Position() segment.ID { return f.pos }

// Time returns the moment of the freeze.
func (f *Frozen) Time() time.Time { return f.at }

// Done ends the frozen state. Call it when the root that WriteRoot returned has been
// published: later roots build on it. If WriteRoot was not called, or failed, Done gives the
// changes back to the map, for the next root. It may be called again, to no effect.
func (f *Frozen) Done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.m
	m.saveMu.Lock()
	defer m.saveMu.Unlock()
	m.frozenMu.Lock()
	st := &meta{position: m.position, hasPosition: m.hasPosition, root: f.written}
	current, later := m.frozen == f, m.frozen
	m.frozenMu.Unlock()
	rooted := f.written != nil && (current || f.written.Position > m.root.Load().Position)
	if rooted {
		// The older root may be garbage soon. If this one cannot be stored, the next process finds it in
		// the volume's head: see Rebase.
		if err := m.saveState(st); err != nil {
			m.stats.saveErrors.Add(1)
		}
		m.root.Store(f.written)
		if !current && later != nil {
			later.rebase(f.written)
		}
	}
	m.frozenMu.Lock()
	if m.frozen == f { // else superseded, with all its changes: they are written twice
		for _, s := range m.shards {
			s.mu.Lock()
		}
		m.thaw(f, rooted)
		for _, s := range m.shards {
			s.mu.Unlock()
		}
	}
	idle := m.frozen == nil
	m.frozenMu.Unlock()
	if err := m.tidy(idle); err != nil {
		m.stats.saveErrors.Add(1)
	}
}

// rebase makes a frozen state that took the place of another one build on that one's root. What it has to write
// includes all that the other one had.
func (f *Frozen) rebase(root *rootTable) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started {
		f.base = root
	}
}

// tidy deletes what badger no longer needs to have. What stays is deleted by the next Open.
func (m *Map) tidy(idle bool) error {
	if idle {
		if err := m.local.remove(m.local.kind(kindCopy), nil); err != nil {
			return err
		}
	}
	return m.dropStaleNodes()
}

// WriteRoot writes the frozen state to the bucket: the pages that changed since the last root and the
// index nodes above them, many to an object, and the root at the end of the last one. Small
// roots take one object. Keys are key, a dash, and a hash of the content, so that no object
// is ever overwritten by another. After an error it may be called again, and goes on where it stopped;
// but not after ErrSuperseded.
func (f *Frozen) WriteRoot(ctx context.Context, store object.Store, key string) (Root, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.written != nil {
		return f.written.Root, nil
	}
	if err := f.write(ctx, store, key); err != nil {
		return Root{}, fmt.Errorf("writing a map root: %w", err)
	}
	return f.written.Root, nil
}

func (f *Frozen) write(ctx context.Context, store object.Store, key string) error {
	if !f.started {
		f.todo, f.started = f.changedNodes(), true
	}
	if len(f.todo) == 0 && len(f.nodes) == 0 && f.base.Key != "" && f.base.Position == f.pos {
		f.written = f.base // nothing has changed
		return nil
	}
	for len(f.todo) > 0 {
		if f.err != nil {
			return f.err
		}
		if f.buf == nil {
			// A part ends behind the node that fills it: room for one more of the usual size.
			f.buf = make([]byte, 0, min(f.size, int64(f.m.partBytes))*3/2+4<<10)
		}
		if len(f.buf) >= f.m.partBytes {
			if _, err := f.put(ctx, store, key); err != nil {
				return err
			}
		}
		if err := f.addNode(ctx, uint64(f.todo[0])); err != nil {
			return err
		}
		f.todo = f.todo[1:]
	}
	root := f.base.merge(uint64(f.pos), f.nodes, f.parts)
	if !f.ended {
		f.buf, f.ended = appendIndex(f.buf, root), true
	}
	length := len(appendIndex(nil, root))
	body := f.buf
	name, err := f.put(ctx, store, key)
	if err != nil {
		return err
	}
	root.keys[0] = name
	f.written = &rootTable{index: root, Root: Root{
		Key: name, Offset: int64(len(body) - length), Length: int64(length), CRC: checksum(body[len(body)-length:]), Position: f.pos,
	}}
	f.buf = nil
	f.m.stats.roots.Add(1)
	return nil
}

// put writes buf as an object and begins a new one.
func (f *Frozen) put(ctx context.Context, store object.Store, key string) (name string, err error) {
	sum := sha256.Sum256(f.buf)
	name = key + "-" + hex.EncodeToString(sum[:8])
	if _, err := store.Put(ctx, name, f.buf); err != nil {
		return "", err
	}
	f.m.stats.rootBytes.Add(int64(len(f.buf)))
	if err := f.keepNodes(); err != nil {
		return "", err
	}
	f.parts = append(f.parts, name)
	for i := range f.nodes {
		if f.nodes[i].key == 0 {
			f.nodes[i].key = uint16(len(f.parts))
		}
	}
	f.buf, f.blobs = f.buf[:0], nil
	return name, nil
}

// keepNodes gives badger copies of the nodes in buf.
func (f *Frozen) keepNodes() error {
	wb := f.m.local.db.NewWriteBatch()
	defer wb.Cancel()
	for _, n := range f.blobs {
		if err := wb.Set(f.m.local.indexKey(n.num, n.crc), seal(bytes.Clone(n.b), 0)); err != nil {
			return fmt.Errorf("saving an index node: %w", err)
		}
	}
	if err := wb.Flush(); err != nil {
		return fmt.Errorf("saving index nodes: %w", err)
	}
	return nil
}

// changedNodes returns the index nodes that have changed pages.
func (f *Frozen) changedNodes() []uint32 {
	var list []uint32
	seen := [maxNodes]bool{}
	for _, words := range f.words {
		for w := range words {
			if num := w / nodeWords; !seen[num] {
				seen[num] = true
				list = append(list, uint32(num))
			}
		}
	}
	slices.Sort(list)
	return list
}

// addNode adds the changed pages of an index node, and the node, to buf.
func (f *Frozen) addNode(ctx context.Context, num uint64) error {
	old, err := f.m.node(ctx, f.base, int(num), true)
	if err != nil {
		return err
	}
	var changes []ref
	for word := num * nodeWords; word < (num+1)*nodeWords; word++ {
		b := f.words[shardIndex(word*64)][word]
		for ; b != 0; b &= b - 1 {
			r, err := f.addPage(word*64 + uint64(bits.TrailingZeros64(b)))
			if err != nil {
				f.err = err // some pages are in buf and no longer kept elsewhere
				return err
			}
			changes = append(changes, r)
		}
	}
	node := old.merge(num, changes, nil)
	r := ref{num: uint16(num), off: uint32(len(f.buf))}
	if len(node.refs) > 0 {
		f.buf = appendIndex(f.buf, node)
		b := f.buf[r.off:]
		r.length, r.crc = uint32(len(b)), checksum(b)
		f.blobs = append(f.blobs, blob{r, b})
	}
	f.nodes = append(f.nodes, r)
	return nil
}

// addPage adds a page to buf; its ref has length 0 if it is empty.
func (f *Frozen) addPage(no uint64) (ref, error) {
	r := ref{num: uint16(no % nodePages), off: uint32(len(f.buf))}
	var n uint16
	var err error
	f.buf, n, err = f.take(f.buf, no)
	if err != nil {
		return r, err
	}
	b := f.buf[r.off:]
	if n == 0 {
		f.buf = f.buf[:r.off]
		return r, nil
	}
	r.length, r.crc = uint32(len(b)), checksum(b)
	return r, nil
}

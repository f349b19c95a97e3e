package blockmap

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

const (
	cachedNodes = 32 // decoded index nodes in memory; at most 64 KiB each
	fetchPages  = 64 // pages fetched in one go if they are neighbours
	fetchBytes  = 256 << 10
)

// acquire returns a page in memory with its shard locked.
func (m *Map) acquire(ctx context.Context, no uint64, wait bool) (*shard, *page, error) {
	s := m.shard(no)
	for {
		s.mu.Lock()
		if p := m.get(s, no); p != nil {
			return s, p, nil
		}
		ch, busy := s.loading[no]
		if !busy {
			p, err := m.bringIn(ctx, s, no, wait)
			return s, p, err
		}
		s.mu.Unlock()
		if !wait {
			return nil, nil, syscall.EAGAIN
		}
		select {
		case <-ch: // if it failed, it is our turn to try
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("waiting for map page %d: %w", no, ctx.Err())
		}
	}
}

// bringIn reads a page that is not in memory. The shard is locked when it is called, and when
// it returns without error.
func (m *Map) bringIn(ctx context.Context, s *shard, no uint64, wait bool) (*page, error) {
	ch := make(chan struct{})
	s.loading[no] = ch
	s.mu.Unlock()
	p, err := m.load(ctx, no, wait)
	s.mu.Lock()
	delete(s.loading, no)
	close(ch)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	m.insert(s, no, p)
	return p, nil
}

// load reads a page from badger, else from the bucket. A page that is nowhere is empty.
func (m *Map) load(ctx context.Context, no uint64, wait bool) (*page, error) {
	m.stats.misses.Add(1)
	if err := m.makeRoom(ctx, wait); err != nil {
		return nil, err
	}
	p, err := m.loadLocal(no)
	if p != nil || err != nil {
		return p, err
	}
	node, err := m.node(ctx, m.root.Load(), int(no/nodePages), wait)
	if err != nil {
		return nil, err
	}
	if r, ok := node.find(int(no % nodePages)); ok {
		if !wait {
			return nil, syscall.EAGAIN
		}
		return m.fetchPages(ctx, node, r)
	}
	return &page{no: uint32(no)}, nil
}

// loadLocal reads a page from badger; nil if it is not there.
func (m *Map) loadLocal(no uint64) (*page, error) {
	val, err := m.local.get(m.local.key(kindPage, uint32(no)))
	if val == nil || err != nil {
		return nil, err
	}
	p, err := decodePage(no, val)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return p, nil
}

// decodedNode is a decoded node, the object that it was read from, and the CRC that the root gives for it. The bytes of a node
// do not say in which object its pages are if that is its own, so equal bytes may mean other pages.
type decodedNode struct {
	object string
	crc    uint32
	*index
}

var emptyNode = &index{kind: kindNode, keys: []string{""}}

// node returns an index node of a root; an empty one if the root has none for these pages.
func (m *Map) node(ctx context.Context, root *rootTable, num int, wait bool) (*index, error) {
	r, ok := root.find(num)
	if !ok {
		return emptyNode, nil
	}
	key := root.keys[r.key]
	if n := m.cachedNode(key, r); n != nil {
		return n, nil
	}
	if n, err := m.localNode(key, r); n != nil || err != nil {
		return n, err
	}
	if !wait {
		return nil, syscall.EAGAIN
	}
	select {
	case m.fetching <- struct{}{}:
		defer func() { <-m.fetching }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for map index %d: %w", num, ctx.Err())
	}
	if n := m.cachedNode(key, r); n != nil { // fetched while we waited
		return n, nil
	}
	b, err := m.fetch(ctx, key, int64(r.off), int64(r.length))
	if err == nil && checksum(b) != r.crc {
		err = fmt.Errorf("%w: %s at %d: index node %d: checksum mismatch", ErrDamaged, key, r.off, num)
	}
	if err != nil {
		return nil, err
	}
	n, err := decodeNode(key, num, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s at %d: %w", ErrDamaged, key, r.off, err)
	}
	if err := m.local.put(m.local.indexKey(r.num, r.crc), b); err != nil {
		return nil, err
	}
	m.cacheNode(key, r, n)
	return n, nil
}

func (m *Map) cachedNode(key string, r ref) *index {
	m.nodesMu.Lock()
	defer m.nodesMu.Unlock()
	if c, ok := m.nodes.Get(r.num); ok && c.crc == r.crc && c.object == key {
		return c.index
	}
	return nil
}

func (m *Map) cacheNode(key string, r ref, n *index) {
	m.nodesMu.Lock()
	defer m.nodesMu.Unlock()
	m.nodes.Add(r.num, decodedNode{key, r.crc, n})
}

// localNode reads badger's copy of a node; nil if there is none.
func (m *Map) localNode(key string, r ref) (*index, error) {
	b, err := m.local.get(m.local.indexKey(r.num, r.crc))
	if b == nil || err != nil {
		return nil, err
	}
	n, err := decodeNode(key, int(r.num), b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	m.cacheNode(key, r, n)
	return n, nil
}

func decodeNode(key string, num int, b []byte) (*index, error) {
	n, err := decodeIndex(kindNode, key, b)
	if err == nil && n.number != uint64(num) {
		err = fmt.Errorf("it is index node %d, not %d", n.number, num)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// fetch reads a range of an object.
func (m *Map) fetch(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if m.store == nil {
		return nil, errors.New("the block map has a root but no object store")
	}
	m.stats.fetches.Add(1)
	b, _, err := m.store.GetRange(ctx, key, off, n)
	if err != nil {
		return nil, fmt.Errorf("fetching block map: %w", err)
	}
	if int64(len(b)) != n {
		return nil, fmt.Errorf("%w: %s ends before %d", ErrDamaged, key, off+n)
	}
	return b, nil
}

// fetchPages fetches a page, and those behind it that come next in the same object.
func (m *Map) fetchPages(ctx context.Context, node *index, first ref) (*page, error) {
	refs := node.refs[node.search(int(first.num)):]
	n, end := 1, first.off+first.length
	for n < min(len(refs), fetchPages) && refs[n].key == first.key && refs[n].off == end &&
		end+refs[n].length-first.off <= fetchBytes {
		end += refs[n].length
		n++
	}
	key := node.keys[first.key]
	b, err := m.fetch(ctx, key, int64(first.off), int64(end-first.off))
	if err != nil {
		return nil, err
	}
	p, err := m.fetched(node, first, b[:first.length])
	if err != nil {
		return nil, err
	}
	for _, r := range refs[1:n] {
		next, err := m.fetched(node, r, b[r.off-first.off:][:r.length])
		if err != nil {
			break // whoever needs it will say so
		}
		if err := m.offer(next); err != nil {
			return nil, err
		}
	}
	return p, nil //nolint:nilerr // the error of a neighbour is not one of p
}

// fetched makes a page of bytes from the bucket.
func (m *Map) fetched(node *index, r ref, b []byte) (*page, error) {
	p, err := checkedPage(node, r, b)
	if err != nil {
		return nil, err
	}
	p.unsaved = true // so that badger keeps it when it is evicted
	return p, nil
}

// offer puts a page from the bucket into memory, unless there is a newer one.
func (m *Map) offer(p *page) error {
	no := uint64(p.no)
	s := m.shard(no)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, busy := s.loading[no]; busy || s.peek(no) != nil {
		return nil
	}
	newer, err := m.local.has(m.local.key(kindPage, p.no))
	if err == nil && !newer {
		m.insert(s, no, p)
	}
	return err
}

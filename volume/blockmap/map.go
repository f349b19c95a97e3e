package blockmap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"sluice/object"
	"sluice/volume/segment"
)

// MaxBlocks is the greatest number of blocks in a volume: 32 TiB.
const MaxBlocks = 1 << 33

// What a caller can act on. Test with errors.Is.
var (
	// ErrCorrupt says that the local copy of the map is damaged. Drop it, and make it
	// again from a root in the bucket and the segments behind it.
	ErrCorrupt = errors.New("the local block map is damaged")

	// ErrDamaged says that an object in the bucket does not hold what a root says that
	// it holds. The error names the object.
	ErrDamaged = errors.New("a block map object is damaged")

	// ErrSuperseded says that a later Freeze took the place of this one.
	ErrSuperseded = errors.New("a later freeze of the block map took the place of this one")

	// ErrRange says that blocks lie outside the 32 TiB that a map can hold.
	ErrRange = errors.New("blocks outside the map")
)

// Options are what a Map needs.
type Options struct {
	// CacheBytes bounds the decoded pages in memory; 0 means 64 MiB. Up to a quarter
	// more may be in use while pages are on their way to disk. A map of N randomly
	// written blocks wants about 24*N bytes to be held as a whole.
	CacheBytes int64

	// Store is where roots are read from. It may be nil if there are none.
	Store object.Store
}

// Root is the place of a root in the bucket. It goes into the volume's head, and into snapshots.
type Root struct {
	Key    string `json:"key"`
	Offset int64  `json:"offset"` // bytes
	Length int64  `json:"length"` // bytes
	CRC    uint32 `json:"crc"`    // CRC32C of those bytes
	// Position is the segment up to which, itself included, all records are in the
	// map, and none behind it.
	Position segment.ID `json:"position"`
}

// Map is the block map of one volume. Its methods may be called concurrently. The caller sees to it
// that Set, Clear and Freeze are called in the order that their effects are to have.
type Map struct {
	store      object.Store
	local      local
	shardBytes int64
	shards     [shards]*shard

	// root is the newest root that this map knows to be published, or one that refers
	// to nothing.
	root atomic.Pointer[rootTable]

	limbo      atomic.Int64 // bytes of evicted pages that are not saved yet
	copies     atomic.Int64 // bytes of frozen copies in memory
	dirtyBytes atomic.Int64 // estimate of the size of the pages that the root does not have; too low after a crash, never negative
	partBytes  int          // maxPartBytes, but less in tests
	softLimit  int64        // of limbo + copies: above it they are written in the background
	hardLimit  int64        // above it, whoever needs another page waits for that

	nodesMu  sync.Mutex // protects nodes
	nodes    *simplelru.LRU[uint16, decodedNode]
	fetching chan struct{} // held while a node is fetched

	// saveMu is held while pages or the state are written to badger, so that of two
	// versions of a page the later one stays. It comes before frozenMu and the shards' locks.
	saveMu sync.Mutex

	// frozenMu protects frozen, position and hasPosition. It comes before the shards' locks.
	frozenMu    sync.Mutex
	frozen      *Frozen
	position    segment.ID
	hasPosition bool

	background sync.WaitGroup
	saving     atomic.Bool // a goroutine writes in the background
	closed     atomic.Bool
	stats      counters
}

// Open opens the map of a volume. If badger has nothing of it, or no checkpoint was ever
// made, Position says so: the map is then to be made by LoadRoot (after Drop) or by
// replaying every record there is. ErrCorrupt says that there is something that cannot be read.
func Open(db *badger.DB, vol [16]byte, opts Options) (*Map, error) {
	if opts.CacheBytes <= 0 {
		opts.CacheBytes = 64 << 20
	}
	m := &Map{
		store: opts.Store, local: newLocal(db, vol),
		shardBytes: opts.CacheBytes / shards, partBytes: maxPartBytes,
		softLimit: opts.CacheBytes / 16, hardLimit: opts.CacheBytes / 4,
		fetching: make(chan struct{}, 1),
	}
	for i := range m.shards {
		s, err := newShard()
		if err != nil {
			return nil, fmt.Errorf("opening the block map: %w", err)
		}
		m.shards[i] = s
	}
	var err error
	if m.nodes, err = simplelru.NewLRU[uint16, decodedNode](cachedNodes, nil); err != nil {
		return nil, fmt.Errorf("opening the block map: %w", err)
	}
	if err := m.restore(); err != nil {
		return nil, fmt.Errorf("opening the block map: %w", err)
	}
	return m, nil
}

// restore reads the map's state from badger, and deletes what a crash left behind.
func (m *Map) restore() error {
	st, err := m.local.loadMeta()
	if err != nil {
		return err
	}
	m.position, m.hasPosition = st.position, st.hasPosition
	m.dirtyBytes.Store(max(0, st.dirtyBytes))
	if st.root == nil {
		st.root = noRoot()
	}
	m.root.Store(st.root)
	if err := m.restoreDirty(); err != nil {
		return err
	}
	if err := m.local.remove(m.local.kind(kindCopy), nil); err != nil {
		return err
	}
	return m.dropStaleNodes()
}

func noRoot() *rootTable { return &rootTable{index: &index{kind: kindRoot, keys: []string{""}}} }

// Drop forgets everything that badger has of a volume's map. No Map of it may be open.
func Drop(db *badger.DB, vol [16]byte) error {
	l := newLocal(db, vol)
	// The state goes first: what is left without it is nothing that Open relies on.
	for _, prefix := range [][]byte{l.kind(kindMeta), l.prefix[:]} {
		if err := l.remove(prefix, nil); err != nil {
			return fmt.Errorf("dropping a block map: %w", err)
		}
	}
	if err := l.sync(); err != nil {
		return fmt.Errorf("dropping a block map: %w", err)
	}
	return nil
}

// Close waits for writes in the background. It does not write what is not saved yet: what was
// not part of a checkpoint is replayed. The database stays open.
func (m *Map) Close() error {
	m.closed.Store(true)
	m.background.Wait()
	return nil
}

// Position returns the segment given to the last checkpoint (or the position of the root that
// the map was loaded from): all records up to it are in the stored map. It returns false if
// there is none, which means that the stored map is no state of the volume at all.
func (m *Map) Position() (segment.ID, bool) {
	m.frozenMu.Lock()
	defer m.frozenMu.Unlock()
	return m.position, m.hasPosition
}

func checkRange(block, count uint64) error {
	if block > MaxBlocks || count > MaxBlocks-block {
		return fmt.Errorf("%w: %d from %d", ErrRange, count, block)
	}
	return nil
}

// Lookup fills out with the entries of block, block+1 and so on. If a page would have to be
// fetched from the bucket, or someone is just reading it, and wait is false, it returns
// syscall.EAGAIN; reading badger does not count as waiting.
func (m *Map) Lookup(ctx context.Context, block uint64, out []segment.Entry, wait bool) error {
	if err := checkRange(block, uint64(len(out))); err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	for len(out) > 0 {
		no, i := block/pageBlocks, int(block%pageBlocks)
		k := min(len(out), pageBlocks-i)
		s, p, err := m.acquire(ctx, no, wait)
		if err != nil {
			return err
		}
		p.fill(i, out[:k])
		s.mu.Unlock()
		out, block = out[k:], block+uint64(k)
	}
	return nil
}

// Set maps block, block+1 and so on to consecutive names, the first being first. A call that
// fails may have set some of them.
func (m *Map) Set(ctx context.Context, block uint64, first segment.Name, crcs []uint32) error {
	if err := checkRange(block, uint64(len(crcs))); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	if first == 0 || first+segment.Name(len(crcs)) < first {
		return fmt.Errorf("set: %#x does not name %d blocks", uint64(first), len(crcs))
	}
	for len(crcs) > 0 {
		no, i := block/pageBlocks, int(block%pageBlocks)
		k := min(len(crcs), pageBlocks-i)
		s, p, err := m.acquire(ctx, no, true)
		if err != nil {
			return err
		}
		m.beforeChange(s, no, p)
		size, n := p.size(), p.n
		p.set(i, first, crcs[:k])
		m.afterChange(s, no, p, size, n)
		s.changes += int64(k)
		s.mu.Unlock()
		crcs, block, first = crcs[k:], block+uint64(k), first+segment.Name(k)
	}
	m.relieve(ctx)
	return nil
}

// Load brings the pages of a range into memory, so that a Set of the same range soon
// after does not wait for the bucket. With wait false it returns EAGAIN as Lookup does.
func (m *Map) Load(ctx context.Context, block, count uint64, wait bool) error {
	if err := checkRange(block, count); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	for end := block + count; block < end; block = (block/pageBlocks + 1) * pageBlocks {
		s, _, err := m.acquire(ctx, block/pageBlocks, wait)
		if err != nil {
			return err
		}
		s.mu.Unlock()
	}
	return nil
}

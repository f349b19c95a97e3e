package blockmap

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// shards is a power of two. All pages of one word of the bitmaps (128 MiB of the volume)
// belong to one shard.
const shards = 64

// shard holds some of a map's pages. Every page is in one of three places: in lru; in
// limbo, if it was evicted before it was saved; or not in memory.
type shard struct {
	mu    sync.Mutex // protects all below
	lru   *simplelru.LRU[uint64, *page]
	limbo map[uint64]*page
	bytes int64 // of the pages in lru

	// loading has the pages that someone is reading, without the lock. Nobody else may
	// put such a page into memory.
	loading map[uint64]chan struct{}

	// dirty has the pages that changed since the last Freeze, or since the last root if
	// there was none since; a bitmap of 64 pages at page/64.
	dirty   map[uint64]uint64
	gen     uint32 // counts freezes from 1; a page of this gen has its bit in dirty
	changes int64  // blocks set since the last checkpoint

	// While a frozen state waits to be written: the pages that it is to write, and
	// those of them that no longer need keeping, because they were written or copied.
	frozen *Frozen
	wanted map[uint64]uint64
	kept   map[uint64]uint64
	copies map[uint64][]byte // encoded pages; spilled if they are in badger
}

// spilled stands in copies for a page that is in badger.
var spilled = []byte{}

func newShard() (*shard, error) {
	// The LRU counts pages; its bound is in bytes and kept by trim.
	lru, err := simplelru.NewLRU[uint64, *page](math.MaxInt, nil)
	if err != nil {
		return nil, err
	}
	return &shard{
		lru: lru, gen: 1,
		limbo: map[uint64]*page{}, loading: map[uint64]chan struct{}{}, dirty: map[uint64]uint64{},
	}, nil
}

func shardIndex(page uint64) int { return int(page / 64 % shards) }

func (m *Map) shard(page uint64) *shard { return m.shards[shardIndex(page)] }

func bit(page uint64) uint64 { return 1 << (page % 64) }

// get returns a page if it is in memory, and notes its use.
func (m *Map) get(s *shard, no uint64) *page {
	if p, ok := s.lru.Get(no); ok {
		return p
	}
	p := s.limbo[no]
	if p != nil {
		delete(s.limbo, no)
		m.limbo.Add(-p.size())
		m.insert(s, no, p)
	}
	return p
}

// peek returns a page if it is in memory.
func (s *shard) peek(no uint64) *page {
	if p, ok := s.lru.Peek(no); ok {
		return p
	}
	return s.limbo[no]
}

// insert puts a page into the LRU.
func (m *Map) insert(s *shard, no uint64, p *page) {
	s.lru.Add(no, p)
	s.bytes += p.size()
	m.trim(s)
}

// trim evicts pages until the shard is within its budget. Those that are not saved yet
// go to limbo, and are written in the background.
func (m *Map) trim(s *shard) {
	for s.bytes > m.shardBytes && s.lru.Len() > 1 {
		no, p, _ := s.lru.RemoveOldest()
		s.bytes -= p.size()
		if p.unsaved || p.saving {
			s.limbo[no] = p
			m.limbo.Add(p.size())
		}
	}
}

// pageEstimate and entryEstimate bound the encoded size of a page, in bytes.
const (
	pageEstimate  = 24
	entryEstimate = 14
)

// change applies f to a page in memory, and keeps all the books.
func (m *Map) change(s *shard, no uint64, p *page, f func(*page)) {
	m.beforeChange(s, no, p)
	size, n := p.size(), p.n
	f(p)
	m.afterChange(s, no, p, size, n)
}

// beforeChange keeps a copy of the page as it is if a frozen state still needs it.
func (m *Map) beforeChange(s *shard, no uint64, p *page) {
	if p.gen == s.gen || s.frozen == nil || !s.needed(no) {
		return
	}
	c := seal(appendPage(nil, p), 0)
	s.copies[no] = c
	s.kept[no/64] |= bit(no)
	m.copies.Add(int64(len(c)))
}

// needed tells whether the frozen state still needs the page as it is now.
func (s *shard) needed(no uint64) bool {
	return s.wanted[no/64]&^s.kept[no/64]&bit(no) != 0
}

// afterChange notes that the page, which had size bytes and n mapped blocks, was changed.
func (m *Map) afterChange(s *shard, no uint64, p *page, size int64, n uint16) {
	if p.gen != s.gen && s.dirty[no/64]&bit(no) == 0 {
		s.dirty[no/64] |= bit(no)
		m.dirtyBytes.Add(pageEstimate + entryEstimate*int64(p.n))
	} else if d := entryEstimate * (int64(p.n) - int64(n)); d != 0 && m.dirtyBytes.Add(d) < 0 {
		m.dirtyBytes.Store(0) // after a crash a page can be marked that was not counted
	}
	p.gen, p.unsaved = s.gen, true
	if d := p.size() - size; d != 0 {
		s.bytes += d
		m.trim(s)
	}
}

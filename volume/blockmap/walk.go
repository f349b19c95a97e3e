package blockmap

import (
	"context"
	"fmt"
	"iter"
	"math/bits"

	"github.com/dgraph-io/badger/v4"
)

// LoadNodes makes sure that a Clear of the range does not wait for the bucket.
func (m *Map) LoadNodes(ctx context.Context, block, count uint64) error {
	if err := checkRange(block, count); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if count == 0 {
		return nil
	}
	for _, edge := range []uint64{block, block + count - 1} {
		if err := m.Load(ctx, edge, 1, true); err != nil {
			return err
		}
	}
	root := m.root.Load()
	const nodeBlocks = nodePages * pageBlocks
	for num := block / nodeBlocks; num <= (block+count-1)/nodeBlocks; num++ {
		if _, err := m.node(ctx, root, int(num), true); err != nil {
			return err
		}
	}
	return nil
}

// Clear unmaps blocks: they read as zeros. Its cost grows with the pages that exist in the
// range, not with the range. A call that fails may have cleared some.
func (m *Map) Clear(ctx context.Context, block, count uint64) error {
	if err := checkRange(block, count); err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	end := block + count
	if i := block % pageBlocks; i != 0 && count > 0 {
		n := min(count, pageBlocks-i)
		if err := m.clearPart(ctx, block/pageBlocks, int(i), int(n)); err != nil {
			return err
		}
		block += n
	}
	if n := end % pageBlocks; n != 0 && block < end {
		if err := m.clearPart(ctx, end/pageBlocks, 0, int(n)); err != nil {
			return err
		}
		end -= n
	}
	if block < end {
		for no, err := range m.existing(ctx, block/pageBlocks, end/pageBlocks) {
			if err == nil {
				err = m.clearPage(ctx, no)
			}
			if err != nil {
				return err
			}
		}
	}
	m.relieve(ctx)
	return nil
}

func (m *Map) clearPart(ctx context.Context, no uint64, i, n int) error {
	s, p, err := m.acquire(ctx, no, true)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.changes += int64(n)
	m.change(s, no, p, func(p *page) { p.clear(i, n) })
	return nil
}

// clearPage empties a page. It need not be read for that, unless a frozen state still
// wants it.
func (m *Map) clearPage(ctx context.Context, no uint64) error {
	if err := m.makeRoom(ctx, true); err != nil {
		return err
	}
	s := m.shard(no)
	s.mu.Lock()
	_, busy := s.loading[no]
	if p := s.peek(no); p == nil && !busy && (s.frozen == nil || !s.needed(no)) {
		defer s.mu.Unlock()
		s.changes++
		p = &page{no: uint32(no)}
		m.insert(s, no, p)
		m.change(s, no, p, func(*page) {})
		return nil
	}
	s.mu.Unlock()
	return m.clearPart(ctx, no, 0, pageBlocks)
}

// existing yields the pages from first to end-1 that may have mapped blocks: those that badger
// has, those that the root has, and those that changed since. A page that begins to exist
// meanwhile may be missed.
func (m *Map) existing(ctx context.Context, first, end uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		// In this order: a page that stops being dirty meanwhile is in the new root, and
		// one that is saved meanwhile is still noted as dirty.
		w := walk{m: m, words: make([]uint64, (end-1)/64-first/64+1), base: first / 64}
		for i := range w.words {
			w.words[i] = m.dirtyWord(w.base + uint64(i))
		}
		w.root = m.root.Load()
		_ = m.local.db.View(func(tx *badger.Txn) error {
			w.keys = tx.NewIterator(badger.IteratorOptions{Prefix: m.local.kind(kindPage)})
			defer w.keys.Close()
			w.keys.Seek(m.local.key(kindPage, uint32(first)))
			for no := first; no < end; no = (no/nodePages + 1) * nodePages {
				b, err := w.node(ctx, no/nodePages)
				if err != nil {
					yield(0, err)
					return nil
				}
				for i, word := range b {
					for ; word != 0; word &= word - 1 {
						no := (no/nodePages*nodeWords+uint64(i))*64 + uint64(bits.TrailingZeros64(word))
						if no >= first && no < end && !yield(no, nil) {
							return nil
						}
					}
				}
			}
			return nil
		})
	}
}

// dirtyWord returns which of 64 pages the root does not have.
func (m *Map) dirtyWord(word uint64) uint64 {
	s := m.shard(word * 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.dirty[word]
	if s.frozen != nil {
		b |= s.wanted[word]
	}
	return b
}

// walk is the state of one run of existing.
type walk struct {
	m     *Map
	words []uint64 // dirty pages, from word base on
	base  uint64
	root  *rootTable
	keys  *badger.Iterator
}

// node returns which pages of an index node exist. Nodes must be asked for in order.
func (w *walk) node(ctx context.Context, num uint64) (*nodeBits, error) {
	b := new(nodeBits)
	for i := range b {
		if at := num*nodeWords + uint64(i) - w.base; at < uint64(len(w.words)) {
			b[i] = w.words[at]
		}
	}
	for ; w.keys.Valid(); w.keys.Next() {
		no := uint64(number(w.keys.Item().Key()))
		if no/nodePages != num {
			break
		}
		b[no%nodePages/64] |= bit(no)
	}
	x, err := w.m.node(ctx, w.root, int(num), true)
	if err != nil {
		return nil, err
	}
	for _, r := range x.refs {
		b[r.num/64] |= bit(uint64(r.num))
	}
	return b, nil
}

const (
	extentPages = 64             // pages that Extent reads
	extentReach = 16 * nodePages // pages that it looks over: 128 GiB
)

// Extent tells whether a block is mapped, and the end (exclusive) of a range from it on for which the
// same holds. The range may go on behind end: effort is bounded.
func (m *Map) Extent(ctx context.Context, block uint64) (mapped bool, end uint64, err error) {
	if err := checkRange(block, 1); err != nil {
		return false, 0, fmt.Errorf("extent: %w", err)
	}
	no := block / pageBlocks
	mapped, n, err := m.pageExtent(ctx, no, int(block%pageBlocks))
	end = no*pageBlocks + uint64(n)
	if err != nil || n < pageBlocks || no+1 == maxPages {
		return mapped, end, err
	}
	limit := min(no+extentReach, maxPages)
	left := extentPages
	for next, err := range m.existing(ctx, no+1, limit) {
		if err != nil {
			return false, 0, err
		}
		if mapped && next*pageBlocks != end { // a page that is missing is not mapped
			return mapped, end, nil
		}
		if left--; left == 0 {
			return mapped, next * pageBlocks, nil
		}
		same, n, err := m.pageExtent(ctx, next, 0)
		if err != nil {
			return false, 0, err
		}
		if same != mapped {
			return mapped, next * pageBlocks, nil
		}
		if end = next*pageBlocks + uint64(n); n < pageBlocks {
			return mapped, end, nil
		}
	}
	if !mapped {
		end = limit * pageBlocks
	}
	return mapped, end, nil
}

func (m *Map) pageExtent(ctx context.Context, no uint64, i int) (mapped bool, end int, err error) {
	s, p, err := m.acquire(ctx, no, true)
	if err != nil {
		return false, 0, err
	}
	defer s.mu.Unlock()
	mapped, end = p.extent(i)
	return mapped, end, nil
}

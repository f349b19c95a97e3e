package blockmap

import (
	"encoding/binary"
	"iter"

	"sluice/volume/segment"
)

const (
	pageBlocks = 512 // blocks that one page covers: 2 MiB of the volume

	sparseEntry = 14             // bytes: index (2), CRC (4), name (8)
	denseAbove  = pageBlocks / 3 // mapped blocks above which a page is dense
	sparseBelow = pageBlocks / 6 // mapped blocks below which it is sparse again

	denseBytes = pageBlocks * 12
	// pageOverhead is what a page costs in memory beside its entries: the page itself
	// and its place in the LRU list and its index, as measured.
	pageOverhead = 48 + 128
)

// page is one decoded page. It has one of two forms: sparse, a sorted list of
// entries, or dense, two arrays. The shard's lock protects it.
type page struct {
	sparse []byte // entries of sparseEntry bytes, sorted by index; unused if dense is set
	dense  *densePage
	no     uint32 // page number
	gen    uint32 // the shard's generation when the page was last changed
	n      uint16 // mapped blocks

	unsaved bool // differs from what is in badger
	saving  bool // is being written to badger
}

type densePage struct {
	names [pageBlocks]segment.Name
	crcs  [pageBlocks]uint32
}

// size returns the bytes of memory that the page occupies.
func (p *page) size() int64 {
	if p.dense != nil {
		return pageOverhead + denseBytes
	}
	return pageOverhead + int64(cap(p.sparse))
}

func sparseIndex(b []byte, k int) int { return int(binary.LittleEndian.Uint16(b[k*sparseEntry:])) }

func sparseGet(b []byte, k int) segment.Entry {
	e := b[k*sparseEntry:][:sparseEntry]
	return segment.Entry{
		CRC:  binary.LittleEndian.Uint32(e[2:]),
		Name: segment.Name(binary.LittleEndian.Uint64(e[6:])),
	}
}

func sparsePut(b []byte, k, i int, name segment.Name, crc uint32) {
	e := b[k*sparseEntry:][:sparseEntry]
	binary.LittleEndian.PutUint16(e, uint16(i))
	binary.LittleEndian.PutUint32(e[2:], crc)
	binary.LittleEndian.PutUint64(e[6:], uint64(name))
}

// search returns the number of sparse entries with an index below i.
func (p *page) search(i int) int {
	lo, hi := 0, len(p.sparse)/sparseEntry
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if sparseIndex(p.sparse, mid) < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// fill copies the entries of blocks i, i+1 and so on to out.
func (p *page) fill(i int, out []segment.Entry) {
	if d := p.dense; d != nil {
		for k := range out {
			out[k] = segment.Entry{Name: d.names[i+k], CRC: d.crcs[i+k]}
		}
		return
	}
	at := p.search(i)
	for k := range out {
		if at < int(p.n) && sparseIndex(p.sparse, at) == i+k {
			out[k] = sparseGet(p.sparse, at)
			at++
		} else {
			out[k] = segment.Entry{}
		}
	}
}

// set maps blocks i, i+1 and so on to consecutive names.
func (p *page) set(i int, first segment.Name, crcs []uint32) {
	if p.dense == nil {
		lo, hi := p.search(i), p.search(i+len(crcs))
		if n := int(p.n) - (hi - lo) + len(crcs); n <= denseAbove {
			p.splice(lo, hi, len(crcs))
			for k, crc := range crcs {
				sparsePut(p.sparse, lo+k, i+k, first+segment.Name(k), crc)
			}
			return
		}
		p.makeDense()
	}
	d := p.dense
	for k, crc := range crcs {
		if d.names[i+k] == 0 {
			p.n++
		}
		d.names[i+k], d.crcs[i+k] = first+segment.Name(k), crc
	}
}

// clear unmaps blocks i to i+count-1.
func (p *page) clear(i, count int) {
	d := p.dense
	switch {
	case d == nil:
		p.splice(p.search(i), p.search(i+count), 0)
		return
	case count == pageBlocks:
		p.dense, p.n = nil, 0
		return
	}
	for k := i; k < i+count; k++ {
		if d.names[k] != 0 {
			d.names[k], d.crcs[k] = 0, 0
			p.n--
		}
	}
	if p.n < sparseBelow {
		p.makeSparse()
	}
}

// splice makes room for n entries in place of the entries lo to hi-1.
func (p *page) splice(lo, hi, n int) {
	old := p.sparse
	tail := old[hi*sparseEntry:]
	count := int(p.n) - (hi - lo) + n
	p.n = uint16(count)
	switch {
	case count == 0:
		p.sparse = nil
		return
	case count*sparseEntry > cap(old):
		p.sparse = makeSparse(count, count+count/8+1)
		copy(p.sparse, old[:lo*sparseEntry])
	default:
		p.sparse = old[:count*sparseEntry]
	}
	copy(p.sparse[(lo+n)*sparseEntry:], tail)
}

// makeSparse returns room for n entries, with a capacity of room or somewhat more: the
// allocator's size classes are used to the full.
func makeSparse(n, room int) []byte {
	return append([]byte(nil), make([]byte, room*sparseEntry)...)[:n*sparseEntry]
}

func (p *page) makeDense() {
	d := new(densePage)
	for i, e := range p.all() {
		d.names[i], d.crcs[i] = e.Name, e.CRC
	}
	p.dense, p.sparse = d, nil
}

func (p *page) makeSparse() {
	b := makeSparse(int(p.n), int(p.n))
	k := 0
	for i, e := range p.all() {
		sparsePut(b, k, i, e.Name, e.CRC)
		k++
	}
	p.dense, p.sparse = nil, b
}

// all yields the mapped blocks in order.
func (p *page) all() iter.Seq2[int, segment.Entry] {
	return func(yield func(int, segment.Entry) bool) {
		if d := p.dense; d != nil {
			for i, name := range d.names {
				if name != 0 && !yield(i, segment.Entry{Name: name, CRC: d.crcs[i]}) {
					return
				}
			}
			return
		}
		for k := range int(p.n) {
			if !yield(sparseIndex(p.sparse, k), sparseGet(p.sparse, k)) {
				return
			}
		}
	}
}

// extent tells whether block i is mapped, and up to which block of the page the same holds.
func (p *page) extent(i int) (mapped bool, end int) {
	if p.n == 0 {
		return false, pageBlocks
	}
	var e [1]segment.Entry
	p.fill(i, e[:])
	mapped = e[0].Name != 0
	for end = i + 1; end < pageBlocks; end++ {
		if p.fill(end, e[:]); (e[0].Name != 0) != mapped {
			break
		}
	}
	return mapped, end
}

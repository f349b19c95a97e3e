package blockmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"sluice/volume/segment"
)

// The first byte of everything that this package stores.
const (
	pageVersion  = 1
	indexVersion = 1
	metaVersion  = 1
	dirtyVersion = 1
)

// maxPageBytes bounds an encoded page: a header, and for each of 512 entries at most one
// byte of gap, ten of name and four of CRC.
const maxPageBytes = 3 + pageBlocks*(2+10+4)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// appendPage appends the encoded form of p to dst.
func appendPage(dst []byte, p *page) []byte {
	dst = append(dst, pageVersion)
	dst = binary.AppendUvarint(dst, uint64(p.n))
	var (
		start, count = 0, 0 // the run at hand
		first        segment.Name
		end          = 0          // where the run before ended
		next         segment.Name // the name that would have continued it
	)
	flush := func() {
		if count == 0 {
			return
		}
		gap := uint64(start-end) << 1
		if count == 1 {
			dst = binary.AppendUvarint(dst, gap)
		} else {
			dst = binary.AppendUvarint(dst, gap|1)
			dst = binary.AppendUvarint(dst, uint64(count-2))
		}
		dst = binary.AppendVarint(dst, int64(first-next))
		end, next = start+count, first+segment.Name(count)
	}
	for i, e := range p.all() {
		if count > 0 && i == start+count && e.Name == first+segment.Name(count) {
			count++
			continue
		}
		flush()
		start, count, first = i, 1, e.Name
	}
	flush()
	for _, e := range p.all() {
		dst = binary.LittleEndian.AppendUint32(dst, e.CRC)
	}
	return dst
}

// decodePage is the inverse of appendPage. It accepts nothing that appendPage would not
// write, so that a page has one encoding.
func decodePage(no uint64, b []byte) (*page, error) {
	r := reader{b: b}
	r.version(pageVersion)
	n := r.uvarint(pageBlocks)
	if r.err != nil {
		return nil, fmt.Errorf("decoding map page %d: %w", no, r.err)
	}
	if len(r.b) < int(n)*4 {
		return nil, fmt.Errorf("decoding map page %d: %w", no, errShort)
	}
	crcs := r.b[len(r.b)-int(n)*4:]
	r.b = r.b[:len(r.b)-len(crcs)]
	p := &page{no: uint32(no), n: uint16(n)}
	if n > denseAbove {
		p.dense = new(densePage)
	} else if n > 0 {
		p.sparse = makeSparse(int(n), int(n))
	}
	end, next := 0, segment.Name(0)
	for k := 0; k < int(n) && r.err == nil; {
		i, count, first := r.run(end, next, int(n)-k)
		for j := range count {
			crc := binary.LittleEndian.Uint32(crcs[k*4:])
			if p.dense != nil {
				p.dense.names[i+j], p.dense.crcs[i+j] = first+segment.Name(j), crc
			} else {
				sparsePut(p.sparse, k, i+j, first+segment.Name(j), crc)
			}
			k++
		}
		end, next = i+count, first+segment.Name(count)
	}
	if r.done(); r.err != nil {
		return nil, fmt.Errorf("decoding map page %d: %w", no, r.err)
	}
	return p, nil
}

// run reads one run of a page. After an error it returns an empty one.
func (r *reader) run(end int, next segment.Name, left int) (start, count int, first segment.Name) {
	head := r.uvarint(pageBlocks<<1 | 1)
	count = 1
	if head&1 == 1 {
		count = int(r.uvarint(pageBlocks-2)) + 2
	}
	start = end + int(head>>1)
	delta := r.varint()
	first = next + segment.Name(delta)
	switch {
	case r.err != nil:
	case count > left || start+count > pageBlocks:
		r.err = errors.New("a run is too long")
	case first == 0 || first+segment.Name(count-1) < first:
		r.err = errors.New("a run has no name")
	case start == end && delta == 0 && next != 0:
		r.err = errors.New("a run goes on in the next one")
	}
	if r.err != nil {
		return 0, 0, 0
	}
	return start, count, first
}

var errShort = errors.New("it is cut short")

// reader takes fields off a byte slice. Its first error sticks; from then on it returns
// zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) bytes(n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) version(want byte) {
	if v := r.byte(); r.err == nil && v != want {
		r.err = fmt.Errorf("it has format version %d; this program reads version %d: %w", v, want, segment.ErrVersion)
	}
}

// uvarint reads a number of at most limit, in its shortest encoding.
func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	switch {
	case r.err != nil:
	case n == 0:
		r.err = errShort
	case n < 0 || n > 1 && r.b[n-1] == 0:
		r.err = errors.New("a number is not in its shortest form")
	case v > limit:
		r.err = fmt.Errorf("the number %d is above %d", v, limit)
	}
	if r.err != nil {
		return 0
	}
	r.b = r.b[n:]
	return v
}

// varint reads a signed number.
func (r *reader) varint() int64 {
	u := r.uvarint(1<<64 - 1)
	return int64(u>>1) ^ -int64(u&1)
}

// done checks that nothing is left.
func (r *reader) done() {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.b))
	}
}

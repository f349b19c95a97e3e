package blockmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"sluice/object"
)

const (
	nodePages = 4096                   // pages that one index node covers: 8 GiB of the volume
	maxPages  = MaxBlocks / pageBlocks // 2^24
	maxNodes  = maxPages / nodePages   // 4096; no more than nodePages, so that one codec serves both
	nodeWords = nodePages / 64         // words of a bitmap of a node's pages
	maxIndex  = 16 << 20               // bytes of an encoded index, for the sake of a bound
)

// The two kinds of index.
const (
	kindNode = 'N' // refers to pages
	kindRoot = 'R' // refers to nodes
)

// index is a table of what is where in the bucket. A node's refers to the pages of its
// 8 GiB of the volume, a root's to nodes. It is not changed once others can see it.
type index struct {
	kind   byte
	number uint64 // of a node: its number; of a root: its position
	// keys are the objects referred to. The first is the one that holds this index,
	// which does not know its own name: it is made from its content.
	keys []string
	refs []ref // sorted by num
}

// ref is the place of one page or node.
type ref struct {
	off, length uint32 // bytes
	crc         uint32 // CRC32C of those bytes
	num         uint16 // page in its node, or node in the root
	key         uint16 // index into keys
}

// find returns the place of a page or node.
func (x *index) find(num int) (ref, bool) {
	i := x.search(num)
	if i < len(x.refs) && int(x.refs[i].num) == num {
		return x.refs[i], true
	}
	return ref{}, false
}

func (x *index) search(num int) int {
	return sort.Search(len(x.refs), func(i int) bool { return int(x.refs[i].num) >= num })
}

// merge returns a new index, for an object to be written, in which changes replace refs
// of x. A change of length 0 removes one. Changes are sorted and lie in the new object,
// unless their key says otherwise: it is then an index into keys, plus one.
func (x *index) merge(number uint64, changes []ref, keys []string) *index {
	out := &index{kind: x.kind, number: number, keys: append([]string{""}, keys...)}
	renamed := make([]int, len(x.keys)) // old key index -> new one; 0 is unknown yet
	add := func(r ref) {
		if renamed[r.key] == 0 {
			i := slices.Index(out.keys, x.keys[r.key])
			if i < 0 {
				i = len(out.keys)
				out.keys = append(out.keys, x.keys[r.key])
			}
			renamed[r.key] = i
		}
		r.key = uint16(renamed[r.key])
		out.refs = append(out.refs, r)
	}
	old := x.refs
	for _, c := range changes {
		for len(old) > 0 && old[0].num < c.num {
			add(old[0])
			old = old[1:]
		}
		if len(old) > 0 && old[0].num == c.num {
			old = old[1:]
		}
		if c.length > 0 {
			out.refs = append(out.refs, c)
		}
	}
	for _, r := range old {
		add(r)
	}
	return out
}

// appendIndex appends the encoded form of x to dst.
func appendIndex(dst []byte, x *index) []byte {
	dst = append(dst, indexVersion, x.kind)
	dst = binary.AppendUvarint(dst, x.number)
	dst = binary.AppendUvarint(dst, uint64(len(x.keys)-1))
	for _, k := range x.keys[1:] {
		dst = binary.AppendUvarint(dst, uint64(len(k)))
		dst = append(dst, k...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(x.refs)))
	next, end := 0, int64(0)
	for _, r := range x.refs {
		dst = binary.AppendUvarint(dst, uint64(int(r.num)-next))
		dst = binary.AppendUvarint(dst, uint64(r.key))
		dst = binary.AppendVarint(dst, int64(r.off)-end)
		dst = binary.AppendUvarint(dst, uint64(r.length))
		dst = binary.LittleEndian.AppendUint32(dst, r.crc)
		next, end = int(r.num)+1, int64(r.off)+int64(r.length)
	}
	return dst
}

// decodeIndex is the inverse of appendIndex. The index was read from the object self.
func decodeIndex(kind byte, self string, b []byte) (*index, error) {
	x := &index{kind: kind, keys: []string{self}}
	r := reader{b: b}
	r.version(indexVersion)
	if k := r.byte(); r.err == nil && k != kind {
		r.err = fmt.Errorf("it is of kind %q, not %q", k, kind)
	}
	limit := uint64(1<<64 - 1)
	if kind == kindNode {
		limit = maxNodes - 1
	}
	x.number = r.uvarint(limit)
	for n := r.uvarint(nodePages); n > 0 && r.err == nil; n-- {
		key := string(r.bytes(int(r.uvarint(object.MaxKey))))
		if r.err == nil {
			r.err = object.CheckKey(key)
		}
		x.keys = append(x.keys, key)
	}
	n := r.uvarint(nodePages)
	if len(r.b) < int(n)*8 && r.err == nil { // a ref takes 8 bytes at least
		r.err = errShort
	}
	if r.err == nil {
		x.refs = make([]ref, 0, n)
	}
	next, end := uint64(0), int64(0)
	for ; n > 0 && r.err == nil; n-- {
		f := r.ref(next, end, len(x.keys))
		x.refs = append(x.refs, f)
		next, end = uint64(f.num)+1, int64(f.off)+int64(f.length)
	}
	if r.done(); r.err != nil {
		return nil, fmt.Errorf("decoding map index %q: %w", kind, r.err)
	}
	return x, nil
}

// ref reads one ref of an index.
func (r *reader) ref(next uint64, end int64, keys int) ref {
	num := next + r.uvarint(nodePages-1)
	key := r.uvarint(uint64(keys) - 1)
	off := end + r.varint()
	length := r.uvarint(maxIndex)
	crc := r.uint32()
	switch {
	case r.err != nil:
	case num >= nodePages:
		r.err = fmt.Errorf("place %d is behind the last", num)
	case off < 0 || off > object.MaxBody || length == 0 || off+int64(length) > object.MaxBody:
		r.err = errors.New("a range is outside its object")
	}
	return ref{off: uint32(off), length: uint32(length), crc: crc, num: uint16(num), key: uint16(key)}
}

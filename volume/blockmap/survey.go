package blockmap

import (
	"context"
	"fmt"
	"math/bits"

	"sluice/object"
	"sluice/volume/segment"
)

// Survey collects what many roots need, each shared page and index node read once. It
// needs no Map and no local disk. It is not for concurrent use.
type Survey struct {
	store  object.Store
	detail func(segment.ID) bool

	segments map[segment.ID]*Slots // nil: named, without detail
	objects  map[string]struct{}
	seen     map[place]*visit
}

// Slots is a set of slots of a segment.
type Slots [segment.Slots / 64]uint64

// Has tells whether a slot is in the set.
func (s *Slots) Has(slot uint32) bool { return s[slot/64]>>(slot%64)&1 == 1 }

// Count returns the number of slots in the set.
func (s *Slots) Count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// place is where an index or a page is in the bucket. What is at one never changes.
type place struct {
	key string
	off int64
}

// visit is what is at a place, and how many refer to it.
type visit struct {
	children []*visit // of a root and a node
	blocks   uint32   // mapped in a page
	refs     uint32
}

// NewSurvey returns an empty survey. It notes which slots of a segment are named if detail says so for
// that segment, which takes 300 bytes for each; else only whether one is.
func NewSurvey(store object.Store, detail func(segment.ID) bool) *Survey {
	return &Survey{
		store: store, detail: detail,
		segments: map[segment.ID]*Slots{}, objects: map[string]struct{}{}, seen: map[place]*visit{},
	}
}

// Names tells whether a root named a block of the segment.
func (s *Survey) Names(id segment.ID) bool {
	_, ok := s.segments[id]
	return ok
}

// Named yields the segments of which a block was named, with the slots where there is detail.
func (s *Survey) Named() map[segment.ID]*Slots { return s.segments }

// Refers tells whether a root refers to pages, nodes or a root in the object.
func (s *Survey) Refers(key string) bool {
	_, ok := s.objects[key]
	return ok
}

// Mapped returns how many blocks are mapped by a root that was added, and how many of those are in
// pages that other added roots have, too.
func (s *Survey) Mapped(root Root) (blocks, shared int64) {
	return s.seen[place{root.Key, root.Offset}].tally(false)
}

func (v *visit) tally(common bool) (blocks, shared int64) {
	if v == nil {
		return 0, 0
	}
	common = common || v.refs > 1
	blocks = int64(v.blocks)
	if common {
		shared = blocks
	}
	for _, c := range v.children {
		b, s := c.tally(common)
		blocks, shared = blocks+b, shared+s
	}
	return blocks, shared
}

// Add adds what a root needs. After an error the survey is not complete; damage is ErrDamaged.
func (s *Survey) Add(ctx context.Context, root Root) error {
	v, again := s.visit(nil, root.Key, root.Offset)
	if again {
		return nil
	}
	x, err := getRoot(ctx, s.store, root)
	if err != nil {
		return fmt.Errorf("surveying a map root: %w", err)
	}
	for _, r := range x.refs {
		if err := s.addNode(ctx, v, x, r); err != nil {
			return fmt.Errorf("surveying a map root: %w", err)
		}
	}
	return nil
}

// visit notes a place, and tells whether it was noted before. Its object is needed in any case.
func (s *Survey) visit(parent *visit, key string, off int64) (v *visit, again bool) {
	s.objects[key] = struct{}{}
	at := place{key, off}
	if v, again = s.seen[at]; !again {
		v = &visit{}
		s.seen[at] = v
	}
	v.refs++
	if parent != nil {
		parent.children = append(parent.children, v)
	}
	return v, again
}

func (s *Survey) addNode(ctx context.Context, parent *visit, root *index, r ref) error {
	v, again := s.visit(parent, root.keys[r.key], int64(r.off))
	if again {
		return nil
	}
	node, err := getNode(ctx, s.store, root, r)
	if err != nil {
		return err
	}
	var fresh []ref // neighbours that were not seen before
	var pages []*visit
	flush := func() error {
		if len(fresh) == 0 {
			return nil
		}
		err := s.addPages(ctx, node, fresh, pages)
		fresh, pages = fresh[:0], pages[:0]
		return err
	}
	for _, r := range node.refs {
		page, again := s.visit(v, node.keys[r.key], int64(r.off))
		if n := len(fresh); again || n > 0 && (!adjacent(fresh[n-1], r) || r.off+r.length-fresh[0].off > fetchBytes) {
			if err := flush(); err != nil {
				return err
			}
		}
		if !again {
			fresh, pages = append(fresh, r), append(pages, page)
		}
	}
	return flush()
}

// adjacent tells whether one page comes right behind another in the same object.
func adjacent(a, b ref) bool { return a.key == b.key && a.off+a.length == b.off }

// addPages reads neighbouring pages with one request.
func (s *Survey) addPages(ctx context.Context, node *index, refs []ref, pages []*visit) error {
	first, last := refs[0], refs[len(refs)-1]
	key := node.keys[first.key]
	b, err := getPiece(ctx, s.store, key, int64(first.off), int64(last.off+last.length-first.off))
	if err != nil {
		return err
	}
	for i, r := range refs {
		no := node.number*nodePages + uint64(r.num)
		enc := b[r.off-first.off:][:r.length]
		if checksum(enc) != r.crc {
			return fmt.Errorf("%w: %s at %d: map page %d: checksum mismatch", ErrDamaged, key, r.off, no)
		}
		p, err := decodePage(no, enc)
		if err != nil {
			return fmt.Errorf("%w: %s at %d: %w", ErrDamaged, key, r.off, err)
		}
		pages[i].blocks = uint32(p.n)
		for _, e := range p.all() {
			s.note(e.Name)
		}
	}
	return nil
}

// note notes that a block is named.
func (s *Survey) note(name segment.Name) {
	id := name.Segment()
	slots, known := s.segments[id]
	if !known {
		if s.detail(id) {
			slots = new(Slots)
		}
		s.segments[id] = slots
	}
	if slots != nil {
		slot := name.Index()
		slots[slot/64] |= 1 << (slot % 64)
	}
}

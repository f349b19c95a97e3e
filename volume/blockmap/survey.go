package blockmap

import (
	"context"
	"fmt"

	"sluice/object"
	"sluice/volume/segment"
)

// Survey collects what many roots need, each shared page and index node read once. It
// needs no Map and no local disk. It is not for concurrent use.
type Survey struct {
	store object.Store

	segments map[segment.ID]struct{}
	objects  map[string]struct{}
	seen     map[place]struct{}
}

// place is where an index or a page is in the bucket. What is at one never changes.
type place struct {
	key string
	off int64
}

// NewSurvey returns an empty survey.
func NewSurvey(store object.Store) *Survey {
	return &Survey{store: store, segments: map[segment.ID]struct{}{}, objects: map[string]struct{}{}, seen: map[place]struct{}{}}
}

// Names tells whether a root named a block of the segment.
func (s *Survey) Names(id segment.ID) bool {
	_, ok := s.segments[id]
	return ok
}

// Refers tells whether a root refers to pages, nodes or a root in the object.
func (s *Survey) Refers(key string) bool {
	_, ok := s.objects[key]
	return ok
}

// Add adds what a root needs. After an error the survey is not complete; damage is ErrDamaged.
func (s *Survey) Add(ctx context.Context, root Root) error {
	if s.visited(root.Key, root.Offset) {
		return nil
	}
	if root.Length <= 0 || root.Length > maxIndex {
		return fmt.Errorf("surveying a map root: %w: %s: a root of %d bytes is impossible", ErrDamaged, root.Key, root.Length)
	}
	b, err := getChecked(ctx, s.store, root.Key, root.Offset, root.Length, root.CRC)
	if err != nil {
		return fmt.Errorf("surveying a map root: %w", err)
	}
	x, err := decodeIndex(kindRoot, root.Key, b)
	if err != nil {
		return fmt.Errorf("surveying a map root: %w: %s: %w", ErrDamaged, root.Key, err)
	}
	for _, r := range x.refs {
		if err := s.addNode(ctx, x.keys[r.key], r); err != nil {
			return fmt.Errorf("surveying a map root: %w", err)
		}
	}
	return nil
}

// visited notes a place, and tells whether it was noted before. Its object is needed in any case.
func (s *Survey) visited(key string, off int64) bool {
	s.objects[key] = struct{}{}
	at := place{key, off}
	_, again := s.seen[at]
	s.seen[at] = struct{}{}
	return again
}

func (s *Survey) addNode(ctx context.Context, key string, r ref) error {
	if s.visited(key, int64(r.off)) {
		return nil
	}
	b, err := getChecked(ctx, s.store, key, int64(r.off), int64(r.length), r.crc)
	if err != nil {
		return err
	}
	node, err := decodeNode(key, int(r.num), b)
	if err != nil {
		return fmt.Errorf("%w: %s at %d: %w", ErrDamaged, key, r.off, err)
	}
	for refs := node.refs; len(refs) > 0; {
		if s.visited(node.keys[refs[0].key], int64(refs[0].off)) {
			refs = refs[1:]
			continue
		}
		n := 1
		for n < len(refs) && adjacent(refs[n-1], refs[n]) && refs[n].off+refs[n].length-refs[0].off <= fetchBytes &&
			!s.visited(node.keys[refs[n].key], int64(refs[n].off)) {
			n++
		}
		if err := s.addPages(ctx, node, refs[:n]); err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// adjacent tells whether one page comes right behind another in the same object.
func adjacent(a, b ref) bool { return a.key == b.key && a.off+a.length == b.off }

// addPages reads neighbouring pages with one request.
func (s *Survey) addPages(ctx context.Context, node *index, refs []ref) error {
	first, last := refs[0], refs[len(refs)-1]
	key := node.keys[first.key]
	b, err := getPiece(ctx, s.store, key, int64(first.off), int64(last.off+last.length-first.off))
	if err != nil {
		return err
	}
	for _, r := range refs {
		no := node.number*nodePages + uint64(r.num)
		enc := b[r.off-first.off:][:r.length]
		if checksum(enc) != r.crc {
			return fmt.Errorf("%w: %s at %d: map page %d: checksum mismatch", ErrDamaged, key, r.off, no)
		}
		p, err := decodePage(no, enc)
		if err != nil {
			return fmt.Errorf("%w: %s at %d: %w", ErrDamaged, key, r.off, err)
		}
		for _, e := range p.all() {
			s.segments[e.Name.Segment()] = struct{}{}
		}
	}
	return nil
}

package blockmap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"sluice/volume/segment"
)

// Salvage writes a root of what can still be read: the map of view without the parts that are lost, and without the blocks for whose
// names drop says true. These read as zeros. Parts that are whole are referred to where they are. Keys are key, a dash and a hash, as
// those of Frozen.WriteRoot; the objects are garbage until somebody refers to the root. If nothing is to be left out it returns the
// view's own root.
func Salvage(ctx context.Context, view *View, key string, drop func(segment.Name) bool) (Root, error) {
	s := salvage{view: view, key: key, drop: drop}
	for _, r := range view.index.refs {
		if err := s.addNode(ctx, r); err != nil {
			return Root{}, fmt.Errorf("salvaging a map root: %w", err)
		}
	}
	root, err := s.finish(ctx)
	if err != nil {
		return Root{}, fmt.Errorf("salvaging a map root: %w", err)
	}
	return root, nil
}

// salvage is the writing of one root.
type salvage struct {
	view *View
	key  string
	drop func(segment.Name) bool

	buf   []byte   // the object that is being filled
	parts []string // objects written so far
	nodes []ref    // that changed; their key is the part, counted from 1, or 0: buf
}

// addNode adds an index node to buf, with its pages that change, if there are any.
func (s *salvage) addNode(ctx context.Context, r ref) error {
	node, err := getNode(ctx, s.view.store, s.view.index, r)
	if errors.Is(err, ErrDamaged) {
		s.nodes = append(s.nodes, ref{num: r.num})
		return nil
	}
	if err != nil {
		return err
	}
	if len(s.buf) >= maxPartBytes {
		if _, err := s.put(ctx); err != nil {
			return err
		}
	}
	var changes []ref
	for refs := node.refs; len(refs) > 0; {
		n := min(len(refs), jobPages)
		list, err := getPages(ctx, s.view.store, node, refs[:n])
		if err != nil {
			return err
		}
		for _, l := range list {
			if l.err != nil {
				changes = append(changes, ref{num: l.num})
			} else if s.clean(l.page) {
				changes = append(changes, s.addPage(l.num, l.page))
			}
		}
		refs = refs[n:]
	}
	if len(changes) == 0 {
		return nil
	}
	out := node.merge(node.number, changes, nil)
	at := ref{num: r.num, off: uint32(len(s.buf))}
	if len(out.refs) > 0 {
		s.buf = appendIndex(s.buf, out)
		s.close(&at)
	}
	s.nodes = append(s.nodes, at)
	return nil
}

// clean unmaps the blocks of a page that are to be dropped, and tells whether there were any.
func (s *salvage) clean(p *page) bool {
	var bad []int
	for i, e := range p.all() {
		if s.drop(e.Name) {
			bad = append(bad, i)
		}
	}
	for _, i := range bad {
		p.clear(i, 1)
	}
	return len(bad) > 0
}

// addPage adds a page to buf; its ref has length 0 if it is empty.
func (s *salvage) addPage(num uint16, p *page) ref {
	r := ref{num: num, off: uint32(len(s.buf))}
	if p.n > 0 {
		s.buf = appendPage(s.buf, p)
		s.close(&r)
	}
	return r
}

// close notes in r what was added to buf since its offset.
func (s *salvage) close(r *ref) {
	b := s.buf[r.off:]
	r.length, r.crc = uint32(len(b)), checksum(b)
}

// finish writes the root.
func (s *salvage) finish(ctx context.Context) (Root, error) {
	if len(s.nodes) == 0 {
		return s.view.root, nil
	}
	root := s.view.index.merge(s.view.index.number, s.nodes, s.parts)
	r := ref{off: uint32(len(s.buf))}
	s.buf = appendIndex(s.buf, root)
	s.close(&r)
	name, err := s.put(ctx)
	if err != nil {
		return Root{}, err
	}
	return Root{Key: name, Offset: int64(r.off), Length: int64(r.length), CRC: r.crc, Position: s.view.root.Position}, nil
}

// put writes buf as an object and begins a new one.
func (s *salvage) put(ctx context.Context) (name string, err error) {
	sum := sha256.Sum256(s.buf)
	name = s.key + "-" + hex.EncodeToString(sum[:8])
	if _, err := s.view.store.Put(ctx, name, s.buf); err != nil {
		return "", fmt.Errorf("writing %s: %w", name, err)
	}
	s.parts = append(s.parts, name)
	for i := range s.nodes {
		if s.nodes[i].key == 0 && s.nodes[i].length > 0 {
			s.nodes[i].key = uint16(len(s.parts))
		}
	}
	s.buf = nil
	return name, nil
}

package blockmap

import (
	"context"
	"errors"
	"fmt"

	"sluice/volume/segment"
)

// Salvage writes a root of what can still be read: the map of view without the parts that are lost, and without the blocks for whose
// names drop says true. These read as zeros. Parts that are whole are referred to where they are. Keys are key, a dash and a hash, as
// those of Frozen.WriteRoot; the objects are garbage until somebody refers to the root. If nothing is to be left out it returns the
// view's own root.
func Salvage(ctx context.Context, view *View, key string, drop func(segment.Name) bool) (Root, error) {
	s := salvage{rewrite: rewrite{store: view.store, base: view.index, key: key}, drop: drop}
	for _, r := range view.index.refs {
		if err := s.salvageNode(ctx, r); err != nil {
			return Root{}, fmt.Errorf("salvaging a map root: %w", err)
		}
	}
	if len(s.nodes) == 0 {
		return view.root, nil
	}
	root, err := s.finish(ctx, view.root.Position)
	if err != nil {
		return Root{}, fmt.Errorf("salvaging a map root: %w", err)
	}
	return root, nil
}

// salvage is the writing of one root.
type salvage struct {
	rewrite
	drop func(segment.Name) bool
}

// salvageNode adds an index node to buf, with its pages that change, if there are any.
func (s *salvage) salvageNode(ctx context.Context, r ref) error {
	node, err := getNode(ctx, s.store, s.base, r)
	if errors.Is(err, ErrDamaged) {
		s.nodes = append(s.nodes, ref{num: r.num})
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	var changes []ref
	for refs := node.refs; len(refs) > 0; {
		n := min(len(refs), jobPages)
		list, err := getPages(ctx, s.store, node, refs[:n])
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
	s.addNode(r.num, node, changes)
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

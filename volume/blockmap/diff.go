package blockmap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"sluice/volume/segment"
)

// Change is a range of blocks that are not the same in two maps.
type Change struct {
	Block, Count uint64
	Mapped       bool // in the later map; otherwise they read as zeros there
}

// Diff yields the blocks, from first on, that the map of to has otherwise than that of from, in order. Blocks are the same if they have the same
// name; one that was written again with the content that it had counts as changed. Two changes that touch differ in
// Mapped. The cost is that of the pages that changed: nodes and pages that both roots refer to at the same place are
// not read. An error is the last that comes; damage of what has to be read is ErrDamaged.
func Diff(ctx context.Context, from, to *View, first uint64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		d := differ{from: from, to: to, first: first}
		var last Change
		for list := range ahead(ctx, d.jobs(ctx), jobsAhead, d.compare) {
			if list.err != nil {
				yield(Change{}, fmt.Errorf("comparing block maps: %w", list.err))
				return
			}
			for _, c := range list.changes {
				if c.Block < first {
					cut := min(first-c.Block, c.Count)
					c.Block, c.Count = c.Block+cut, c.Count-cut
				}
				if c.Count == 0 {
					continue
				}
				if last.Count > 0 && last.Block+last.Count == c.Block && last.Mapped == c.Mapped {
					last.Count += c.Count
					continue
				}
				if last.Count > 0 && !yield(last, nil) {
					return
				}
				last = c
			}
		}
		if last.Count > 0 {
			yield(last, nil)
		}
	}
}

// differ compares two views.
type differ struct {
	from, to *View
	first    uint64
}

// pair is a node of both views; one of them is empty if a view does not have it.
type pair struct {
	from, to *index
	number   uint64 // of the node
	err      error
}

// pageDiff is pages of a pair of nodes that are to be compared: those with refs in one of the lists.
type pageDiff struct {
	pair
	fromRefs, toRefs []ref
}

// changes are those of some pages.
type changes struct {
	changes []Change
	err     error
}

// jobs yields the pages that are not at the same place in both views.
func (d *differ) jobs(ctx context.Context) iter.Seq[pageDiff] {
	return func(yield func(pageDiff) bool) {
		for p := range ahead(ctx, differing(d.from.index, d.to.index, d.first/nodeBlocks), nodesAhead, d.loadNodes) {
			if p.err != nil {
				yield(pageDiff{pair: p})
				return
			}
			job := pageDiff{pair: p}
			n := 0
			skip := (max(d.first, p.number*nodeBlocks) - p.number*nodeBlocks) / pageBlocks
			for two := range differing(p.from, p.to, skip) {
				if two[0].length > 0 {
					job.fromRefs = append(job.fromRefs, two[0])
				}
				if two[1].length > 0 {
					job.toRefs = append(job.toRefs, two[1])
				}
				if n++; n == jobPages {
					if !yield(job) {
						return
					}
					job, n = pageDiff{pair: p}, 0
				}
			}
			if n > 0 && !yield(job) {
				return
			}
		}
	}
}

// differing yields what two indexes do not have at the same place, from a number on: the refs of both, in order; a ref of length 0 is
// missing.
func differing(a, b *index, first uint64) iter.Seq[[2]ref] {
	return func(yield func([2]ref) bool) {
		x, y := a.refs[a.search(int(first)):], b.refs[b.search(int(first)):]
		for len(x) > 0 || len(y) > 0 {
			var two [2]ref
			if len(y) == 0 || len(x) > 0 && x[0].num <= y[0].num {
				two[0] = x[0]
			}
			if len(x) == 0 || len(y) > 0 && y[0].num <= x[0].num {
				two[1] = y[0]
			}
			if two[0].length > 0 {
				x = x[1:]
			}
			if two[1].length > 0 {
				y = y[1:]
			}
			if !samePlace(a, two[0], b, two[1]) && !yield(two) {
				return
			}
		}
	}
}

// samePlace tells whether two refs are to the same bytes, which never change.
func samePlace(a *index, r ref, b *index, s ref) bool {
	return r.length > 0 && r.length == s.length && r.off == s.off && r.crc == s.crc && a.keys[r.key] == b.keys[s.key]
}

func (d *differ) loadNodes(ctx context.Context, two [2]ref) pair {
	p := pair{from: emptyNode, to: emptyNode, number: uint64(max(two[0].num, two[1].num))} // the other is 0 or the same
	if two[0].length > 0 {
		p.from, p.err = getNode(ctx, d.from.store, d.from.index, two[0])
	}
	if two[1].length > 0 && p.err == nil {
		p.to, p.err = getNode(ctx, d.to.store, d.to.index, two[1])
	}
	return p
}

// compare reads and compares pages.
func (d *differ) compare(ctx context.Context, job pageDiff) changes {
	if job.err != nil {
		return changes{err: job.err}
	}
	from, err := getPages(ctx, d.from.store, job.from, job.fromRefs)
	if err != nil {
		return changes{err: err}
	}
	to, err := getPages(ctx, d.to.store, job.to, job.toRefs)
	if err != nil {
		return changes{err: err}
	}
	for _, l := range slices.Concat(from, to) {
		err = errors.Join(err, l.err)
	}
	if err != nil {
		return changes{err: err}
	}
	var out changes
	var empty page
	for len(from) > 0 || len(to) > 0 {
		a, b := &empty, &empty
		num := min(number16(from), number16(to))
		if number16(from) == num {
			a, from = from[0].page, from[1:]
		}
		if number16(to) == num {
			b, to = to[0].page, to[1:]
		}
		out.changes = appendChanges(out.changes, (job.number*nodePages+uint64(num))*pageBlocks, a, b)
	}
	return out
}

// number16 is the number of the next page of a list; one behind all others if there is none.
func number16(list []loaded) int {
	if len(list) == 0 {
		return nodePages
	}
	return int(list[0].num)
}

// appendChanges appends the changes of one page, whose first block is base.
func appendChanges(list []Change, base uint64, a, b *page) []Change {
	var x, y [pageBlocks]segment.Entry
	a.fill(0, x[:])
	b.fill(0, y[:])
	for i := 0; i < pageBlocks; {
		if x[i] == y[i] {
			i++
			continue
		}
		mapped := y[i].Name != 0
		start := i
		for i < pageBlocks && x[i] != y[i] && (y[i].Name != 0) == mapped {
			i++
		}
		list = append(list, Change{Block: base + uint64(start), Count: uint64(i - start), Mapped: mapped})
	}
	return list
}

package blockmap

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"sluice/object"
	"sluice/volume/segment"
)

// View reads a map as one of its roots has it, from the bucket alone: it needs no Map and no local
// disk, and keeps nothing but the root. What it reads at once is bounded, whatever the size of the map: about
// 10 MiB. It is not changed once it is open and may be used concurrently.
type View struct {
	store object.Store
	root  Root
	index *index
}

// OpenView reads a root. One that is missing or not as it was written is ErrDamaged.
func OpenView(ctx context.Context, store object.Store, root Root) (*View, error) {
	x, err := getRoot(ctx, store, root)
	if err == nil && segment.ID(x.number) != root.Position {
		err = fmt.Errorf("%w: %s is the root of position %s, not %s", ErrDamaged, root.Key, segment.ID(x.number), root.Position)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a map root: %w", err)
	}
	return &View{store: store, root: root, index: x}, nil
}

// Run is mapped blocks that follow each other. It does not reach over a border between pages, 2 MiB, and says nothing of
// what is next to it.
type Run struct {
	Block   uint64          // the first
	Entries []segment.Entry // of each block; valid until the next run is asked for
}

// LostError says that a part of the map is missing or damaged in the bucket, so that nobody knows where the blocks of a
// range are. It is ErrDamaged.
type LostError struct {
	Block, Count uint64 // the range
	Object       string // the key of what is damaged
	Err          error
}

// Error says what is lost and why.
func (e *LostError) Error() string {
	return fmt.Sprintf("the map of blocks %d to %d is lost: %v", e.Block, e.Block+e.Count-1, e.Err)
}

// Unwrap returns the cause.
func (e *LostError) Unwrap() error { return e.Err }

// Runs yields the mapped blocks from first to end-1 in order. A range that is lost comes as a *LostError, in its
// place; the caller may go on. Any other error is the last that comes.
func (v *View) Runs(ctx context.Context, first, end uint64) iter.Seq2[Run, error] {
	return v.runs(ctx, nil, first, end)
}

func (v *View) runs(ctx context.Context, seen *Seen, first, end uint64) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		entries := make([]segment.Entry, pageBlocks)
		for l := range v.pages(ctx, seen, first, end) {
			if l.err != nil {
				lost, ok := errors.AsType[*LostError](l.err)
				if ok {
					lost.clip(first, end)
				}
				if !yield(Run{}, l.err) || !ok {
					return
				}
				continue
			}
			base := uint64(l.page.no) * pageBlocks
			for i, e := range l.page.runs(entries) {
				r := Run{Block: base + uint64(i), Entries: e}
				if r.clip(first, end); len(r.Entries) > 0 && !yield(r, nil) {
					return
				}
			}
		}
	}
}

// clip cuts off what is not from first to end-1.
func (r *Run) clip(first, end uint64) {
	if r.Block < first {
		n := min(first-r.Block, uint64(len(r.Entries)))
		r.Block, r.Entries = r.Block+n, r.Entries[n:]
	}
	if r.Block >= end {
		r.Entries = nil
	}
	r.Entries = r.Entries[:min(uint64(len(r.Entries)), end-min(end, r.Block))]
}

func (e *LostError) clip(first, end uint64) {
	from, to := max(e.Block, first), min(e.Block+e.Count, end)
	e.Block, e.Count = from, to-from
}

// runs yields the runs of a page and the entries of each, which it copies to buf.
func (p *page) runs(buf []segment.Entry) iter.Seq2[int, []segment.Entry] {
	return func(yield func(int, []segment.Entry) bool) {
		p.fill(0, buf[:pageBlocks])
		for i := 0; i < pageBlocks; i++ {
			start := i
			for i < pageBlocks && buf[i].Name != 0 {
				i++
			}
			if i > start && !yield(start, buf[start:i]) {
				return
			}
		}
	}
}

const (
	jobPages   = 256 // pages that are asked for together
	jobsAhead  = 4   // such jobs under way at once
	nodesAhead = 4   // index nodes under way at once
)

// pages yields the pages that have blocks from first to end-1, in order, but for those that were seen. Lost pages and nodes
// are *LostError.
func (v *View) pages(ctx context.Context, seen *Seen, first, end uint64) iter.Seq[loaded] {
	jobs := func(yield func(pageJob) bool) {
		for n := range ahead(ctx, seen.fresh(v.index, v.nodeRefs(first, end)), nodesAhead, v.loadNode) {
			if n.err != nil {
				if !yield(pageJob{err: n.err}) {
					return
				}
				continue
			}
			refs := n.node.within(first, end)
			if seen != nil {
				refs = slices.Collect(seen.fresh(n.node, slices.Values(refs)))
			}
			for len(refs) > 0 {
				k := min(len(refs), jobPages)
				if !yield(pageJob{node: n.node, refs: refs[:k]}) {
					return
				}
				refs = refs[k:]
			}
		}
	}
	return func(yield func(loaded) bool) {
		for list := range ahead(ctx, jobs, jobsAhead, v.loadPages) {
			for _, l := range list {
				if !yield(l) {
					return
				}
			}
		}
	}
}

const nodeBlocks = nodePages * pageBlocks

// nodeRefs yields the nodes that have blocks from first to end-1.
func (v *View) nodeRefs(first, end uint64) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		for _, r := range v.index.refs {
			if start := uint64(r.num) * nodeBlocks; start+nodeBlocks > first && start < end && !yield(r) {
				return
			}
		}
	}
}

// within returns the refs of pages that have blocks from first to end-1.
func (x *index) within(first, end uint64) []ref {
	from, base := 0, x.number*nodeBlocks
	if first > base {
		from = x.search(int(min(first-base, nodeBlocks-1) / pageBlocks))
	}
	to := len(x.refs)
	if end < base+nodeBlocks {
		to = x.search(int((end - base + pageBlocks - 1) / pageBlocks))
	}
	return x.refs[from:max(from, to)]
}

// nodeAnswer is a node, or why there is none.
type nodeAnswer struct {
	node *index
	err  error
}

func (v *View) loadNode(ctx context.Context, r ref) nodeAnswer {
	node, err := getNode(ctx, v.store, v.index, r)
	if errors.Is(err, ErrDamaged) {
		err = &LostError{Block: uint64(r.num) * nodeBlocks, Count: nodeBlocks, Object: v.index.keys[r.key], Err: err}
	}
	return nodeAnswer{node, err}
}

// pageJob is pages of a node to be read, or why the node is not there.
type pageJob struct {
	node *index
	refs []ref
	err  error
}

func (v *View) loadPages(ctx context.Context, job pageJob) []loaded {
	if job.err != nil {
		return []loaded{{err: job.err}}
	}
	list, err := getPages(ctx, v.store, job.node, job.refs)
	if err != nil {
		return []loaded{{err: err}}
	}
	for i, l := range list {
		if l.err != nil {
			block := (job.node.number*nodePages + uint64(l.num)) * pageBlocks
			list[i].err = &LostError{Block: block, Count: pageBlocks, Object: job.node.keys[job.refs[i].key], Err: l.err}
		}
	}
	return list
}

// ahead yields do(job) of each job, in the order of the jobs, with up to n of them under way at once. None is when it
// returns.
func ahead[J, R any](ctx context.Context, jobs iter.Seq[J], n int, do func(context.Context, J) R) iter.Seq[R] {
	return func(yield func(R) bool) {
		var running sync.WaitGroup
		defer running.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var queue []chan R
		for job := range jobs {
			answer := make(chan R, 1)
			running.Go(func() { answer <- do(ctx, job) })
			if queue = append(queue, answer); len(queue) < n {
				continue
			}
			if !yield(<-queue[0]) {
				return
			}
			queue = queue[1:]
		}
		for _, answer := range queue {
			if !yield(<-answer) {
				return
			}
		}
	}
}

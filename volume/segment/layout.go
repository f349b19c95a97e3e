package segment

import (
	"cmp"
	"slices"
	"time"
)

// Extent is a run of logical blocks and what a segment did to it last.
type Extent struct {
	Op Op
	Run
	Slot uint32   // OpWrite: the slot of the first block; the others follow it
	From Name     // OpCopy: the name of the first block; the others follow it
	CRCs []uint32 // OpWrite, OpCopy: the CRC32C of each block; not to be changed
}

// First returns the name of the extent's first block, in segment id; 0 if it has none.
func (e *Extent) First(id ID) Name {
	switch e.Op {
	case OpWrite:
		return NewName(id, e.Slot)
	case OpCopy:
		return e.From
	case OpZero, OpUnmap:
	}
	return 0
}

// Layout is the final state inside a segment: what remains to be told of it when its
// records are forgotten. Each logical block is in it at most once.
type Layout struct {
	Live   []Extent // OpWrite, in slot order
	Holes  []Extent // OpZero and OpUnmap, in block order
	Copies []Extent // OpCopy, in block order

	Sealed  time.Time // see ObjectHeader
	Thinned bool      // see ObjectHeader
}

// Blocks returns the number of live blocks.
func (l *Layout) Blocks() int {
	n := 0
	for _, e := range l.Live {
		n += int(e.Count)
	}
	return n
}

// Collapse applies the records of a segment in their order and returns what is left.
// Neighbours are merged. Its time is n log n in the number of runs, whatever their length.
//
// The ends of all runs cut the volume into intervals that no run cuts again. The runs
// claim intervals, the last run first; what is claimed is not claimed again.
func Collapse(records []Record) Layout {
	var events []Extent // all runs, oldest first
	var cuts []uint64
	for i := range records {
		for e := range records[i].Extents() {
			events = append(events, e)
			cuts = append(cuts, e.Start, e.End())
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)

	owner := make([]int32, len(cuts)) // of the interval that begins at each cut: event + 1
	free := newSkipper(len(cuts))
	for i, e := range slices.Backward(events) {
		first, _ := slices.BinarySearch(cuts, e.Start)
		for c := free.from(first); c < len(cuts) && cuts[c] < e.End(); c = free.from(c) {
			owner[c] = int32(i + 1)
			free.take(c)
		}
	}

	var l Layout
	for c, o := range owner {
		if o == 0 {
			continue
		}
		piece := events[o-1].piece(cuts[c], cuts[c+1])
		switch piece.Op {
		case OpWrite:
			l.Live = append(l.Live, piece)
		case OpCopy:
			l.Copies = append(l.Copies, piece)
		case OpZero, OpUnmap:
			l.Holes = appendHole(l.Holes, piece)
		}
	}
	slices.SortFunc(l.Live, func(a, b Extent) int { return cmp.Compare(a.Slot, b.Slot) })
	l.Live = mergeLive(l.Live)
	return l
}

// piece returns the part of an extent from one block to another.
func (e Extent) piece(from, to uint64) Extent {
	skip, n := uint32(from-e.Start), uint32(to-from)
	e.Run = Run{Start: from, Count: n}
	switch e.Op {
	case OpWrite:
		e.Slot += skip
	case OpCopy:
		e.From += Name(skip)
	case OpZero, OpUnmap:
		return e
	}
	e.CRCs = e.CRCs[skip : skip+n : skip+n]
	return e
}

// appendHole appends a hole that begins at or behind the last one's end.
func appendHole(holes []Extent, e Extent) []Extent {
	if n := len(holes); n > 0 {
		last := &holes[n-1]
		if last.Op == e.Op && last.End() == e.Start && uint64(last.Count)+uint64(e.Count) <= maxHole {
			last.Count += e.Count
			return holes
		}
	}
	return append(holes, e)
}

// maxHole keeps the count of merged holes within 32 bits.
const maxHole = 1<<32 - 1

// mergeLive joins extents, sorted by slot, that continue each other.
func mergeLive(live []Extent) []Extent {
	out := live[:0]
	for _, e := range live {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if last.End() == e.Start && last.Slot+last.Count == e.Slot {
				last.Count += e.Count
				last.CRCs = append(last.CRCs, e.CRCs...) // copies: capacities are exact
				continue
			}
		}
		out = append(out, e)
	}
	return out
}

// skipper finds the next interval that nobody took, in almost constant time.
type skipper []int32

func newSkipper(n int) skipper {
	s := make(skipper, n+1)
	for i := range s {
		s[i] = int32(i)
	}
	return s
}

// from returns the first free index that is not below i, or the number of all.
func (s skipper) from(i int) int {
	root := int32(i)
	for s[root] != root {
		root = s[root]
	}
	for s[i] != root { // the way becomes short for those who come next
		s[i], i = root, int(s[i])
	}
	return int(root)
}

func (s skipper) take(i int) { s[i] = int32(i + 1) }

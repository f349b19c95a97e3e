package blockmap

import (
	"context"
	"iter"
)

// Seen is the parts of maps that were read, for those who read many roots and want to read once what these share. It takes about
// 50 bytes for a page, which is 2 MiB of a volume. It is not for concurrent use.
type Seen struct{ places map[place]struct{} }

// NewSeen returns a memory of nothing.
func NewSeen() *Seen { return &Seen{places: map[place]struct{}{}} }

// Fresh is Runs without the parts of the map that were yielded, or found to be lost, by an earlier call with the same seen. For one range
// of blocks and several views it yields each part that any of them has, once.
func (v *View) Fresh(ctx context.Context, seen *Seen, first, end uint64) iter.Seq2[Run, error] {
	return v.runs(ctx, seen, first, end)
}

// fresh yields the refs of an index to what was not seen before, and notes it. For nil, all is fresh.
func (s *Seen) fresh(x *index, refs iter.Seq[ref]) iter.Seq[ref] {
	if s == nil {
		return refs
	}
	return func(yield func(ref) bool) {
		for r := range refs {
			at := place{x.keys[r.key], int64(r.off)}
			if _, ok := s.places[at]; ok {
				continue
			}
			s.places[at] = struct{}{}
			if !yield(r) {
				return
			}
		}
	}
}

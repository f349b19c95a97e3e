package snapshot

import (
	"context"
	"fmt"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// Frees returns how many bytes of data, before compression, nothing would name any more if the root of a snapshot were gone, of
// all that others, roots of the same volume or of its clones, have at the same place. A copy that was made inside of a volume counts
// as data of its own, so it may be less. It costs a Diff with each of the others, until nothing is left.
func Frees(ctx context.Context, store object.Store, root blockmap.Root, others []blockmap.Root) (int64, error) {
	v, err := blockmap.OpenView(ctx, store, root)
	if err != nil {
		return 0, fmt.Errorf("measuring a snapshot: %w", err)
	}
	alone := []span{{0, blockmap.MaxBlocks}}
	for _, o := range others {
		if len(alone) == 0 {
			return 0, nil
		}
		w, err := blockmap.OpenView(ctx, store, o)
		if err != nil {
			return 0, fmt.Errorf("measuring a snapshot: %w", err)
		}
		var differ []span
		for c, err := range blockmap.Diff(ctx, w, v, alone[0].from) {
			if err != nil {
				return 0, fmt.Errorf("measuring a snapshot: %w", err)
			}
			differ = append(differ, span{c.Block, c.Block + c.Count})
		}
		alone = intersect(alone, differ)
	}
	blocks := int64(0)
	for _, s := range alone {
		for run, err := range v.Runs(ctx, s.from, s.to) {
			if err != nil {
				return 0, fmt.Errorf("measuring a snapshot: %w", err)
			}
			blocks += int64(len(run.Entries))
		}
	}
	return blocks * segment.BlockSize, nil
}

// span is the blocks from from to to-1.
type span struct{ from, to uint64 }

// intersect returns what two lists of spans, each in order, have in common.
func intersect(a, b []span) (both []span) {
	for len(a) > 0 && len(b) > 0 {
		if s := (span{max(a[0].from, b[0].from), min(a[0].to, b[0].to)}); s.from < s.to {
			both = append(both, s)
		}
		if a[0].to < b[0].to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}

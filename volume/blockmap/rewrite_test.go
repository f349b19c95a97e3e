package blockmap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/object/memory"
	"sluice/volume/segment"
)

// TestRootWriter writes roots page by page, each on top of the one before, and reads all of them in the end.
func TestRootWriter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx, store := context.Background(), memory.New()
		pages := []uint64{0, 1, 63, 64, nodePages - 1, nodePages, 5*nodePages + 7, maxPages - 1}
		now := map[uint64][]segment.Entry{}
		var roots []Root
		var want []map[uint64][]segment.Entry
		var base *View
		for i := range rapid.IntRange(1, 5).Draw(rt, "roots") {
			w := NewRootWriter(store, base, fmt.Sprint("root-", i))
			changed := rapid.SliceOfNDistinct(rapid.SampledFrom(pages), 0, -1, rapid.ID).Draw(rt, "pages")
			slices.Sort(changed)
			for _, no := range changed {
				entries := make([]segment.Entry, PageBlocks)
				for k := range rapid.IntRange(0, PageBlocks).Draw(rt, "blocks") {
					if k%7 != i {
						entries[k] = segment.Entry{Name: segment.NewName(segment.NewID(uint32(i+1), uint32(no%1000)+1), uint32(k)), CRC: uint32(k)}
					}
				}
				must(rt, w.SetPage(ctx, no, entries))
				now[no] = entries
			}
			root, err := w.Finish(ctx, segment.NewID(uint32(i+1), 5000))
			must(rt, err)
			roots, want = append(roots, root), append(want, maps.Clone(now))
			base, err = OpenView(ctx, store, root)
			must(rt, err)
		}
		for i, root := range roots {
			v, err := OpenView(ctx, store, root)
			must(rt, err)
			got := map[uint64]segment.Entry{}
			for run, err := range v.Runs(ctx, 0, MaxBlocks) {
				must(rt, err)
				for k, e := range run.Entries {
					got[run.Block+uint64(k)] = e
				}
			}
			for no, entries := range want[i] {
				for k, e := range entries {
					block := no*PageBlocks + uint64(k)
					if got[block] != e {
						rt.Fatalf("root %d, block %d: %+v instead of %+v", i, block, got[block], e)
					}
					delete(got, block)
				}
			}
			if len(got) > 0 {
				rt.Fatalf("root %d has %d blocks that nobody set", i, len(got))
			}
		}
	})
}

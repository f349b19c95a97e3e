package snapshot_test

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"sluice/object/memory"
	"sluice/snapshot"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// TestFrees compares with a count of the names that one root alone has.
func TestFrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx, store := context.Background(), memory.New()
		const pages = 3
		now := make([]segment.Entry, pages*blockmap.PageBlocks)
		var base *blockmap.View
		var roots []blockmap.Root
		var maps [][]segment.Entry
		for i := range rapid.IntRange(1, 5).Draw(rt, "roots") {
			w := blockmap.NewRootWriter(store, base, fmt.Sprint("root-", i))
			for page := range uint64(pages) {
				if !rapid.Bool().Draw(rt, "changed") {
					continue
				}
				part := now[page*blockmap.PageBlocks:][:blockmap.PageBlocks]
				from := rapid.IntRange(0, blockmap.PageBlocks-1).Draw(rt, "from")
				for k := from; k < rapid.IntRange(from, blockmap.PageBlocks).Draw(rt, "to"); k++ {
					part[k] = segment.Entry{Name: segment.NewName(segment.NewID(uint32(i+1), uint32(page+1)), uint32(k)), CRC: uint32(k)}
				}
				if rapid.Bool().Draw(rt, "unmap") {
					clear(part[:from])
				}
				if err := w.SetPage(ctx, page, part); err != nil {
					rt.Fatal(err)
				}
			}
			root, err := w.Finish(ctx, segment.NewID(uint32(i+1), 100))
			if err != nil {
				rt.Fatal(err)
			}
			if base, err = blockmap.OpenView(ctx, store, root); err != nil {
				rt.Fatal(err)
			}
			roots, maps = append(roots, root), append(maps, append([]segment.Entry(nil), now...))
		}
		of := rapid.IntRange(0, len(roots)-1).Draw(rt, "of")
		others := append(append([]blockmap.Root(nil), roots[:of]...), roots[of+1:]...)
		elsewhere := map[segment.Name]bool{}
		for i, m := range maps {
			for _, e := range m {
				elsewhere[e.Name] = elsewhere[e.Name] || i != of
			}
		}
		want := int64(0)
		for _, e := range maps[of] {
			if e.Name != 0 && !elsewhere[e.Name] {
				want += segment.BlockSize
			}
		}
		got, err := snapshot.Frees(ctx, store, roots[of], others)
		if err != nil || got != want {
			rt.Fatalf("frees %d bytes, %v; want %d", got, err, want)
		}
	})
}

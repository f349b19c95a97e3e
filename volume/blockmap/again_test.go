package blockmap

import (
	"context"
	"fmt"
	"testing"

	"sluice/object/memory"
	"sluice/volume/segment"
)

// TestWrittenAgain writes the same pages into two roots, as after a crash that left pages marked as new. Later roots build on
// the second one: the first can be deleted, although its index node has the same bytes.
func TestWrittenAgain(t *testing.T) {
	ctx, store, db := context.Background(), memory.New(), testDB(t)
	m := open(t, db, 1, Options{Store: store})
	model := blocks{}
	set := func(block uint64, seq uint32) {
		first := segment.NewName(segment.NewID(1, seq), 0)
		must(t, m.Set(ctx, block, first, crcsFor(int(seq), 8)))
		model.set(block, first, crcsFor(int(seq), 8))
	}
	set(0, 1)
	set(pageBlocks, 1)
	pos := uint32(1)
	write := func() Root {
		pos++
		f := m.Freeze(segment.NewID(1, pos))
		root, err := f.WriteRoot(ctx, store, fmt.Sprintf("root-%d", pos))
		must(t, err)
		f.Done()
		return root
	}
	must(t, m.Checkpoint(ctx, segment.NewID(1, 1))) // here both pages are new
	first := write()
	must(t, m.Close())
	m = open(t, db, 1, Options{Store: store}) // as after a crash
	must(t, m.Lookup(ctx, 9*pageBlocks, make([]segment.Entry, 1), true))
	second := write()
	if first.Key == second.Key {
		t.Fatal("the two roots are in one object")
	}
	must(t, store.Delete(ctx, first.Key))
	set(0, 9)
	third := write()
	must(t, m.Close())

	m = open(t, testDB(t), 1, Options{Store: store})
	must(t, m.LoadRoot(ctx, third))
	model.check(t, m, [][2]uint64{{0, 8}, {pageBlocks, 8}})
	must(t, m.Close())
}

// TestRebase opens a map whose process published a root and died before it noted that.
func TestRebase(t *testing.T) {
	ctx, store, db := context.Background(), memory.New(), testDB(t)
	m := open(t, db, 1, Options{Store: store})
	model := blocks{}
	var roots []Root
	for i := range uint32(3) {
		pos := segment.NewID(1, i+1)
		first := segment.NewName(pos, 0)
		must(t, m.Set(ctx, uint64(i)*pageBlocks, first, crcsFor(int(i), 8)))
		model.set(uint64(i)*pageBlocks, first, crcsFor(int(i), 8))
		f := m.Freeze(pos)
		root, err := f.WriteRoot(ctx, store, fmt.Sprintf("root-%d", i))
		must(t, err)
		roots = append(roots, root)
		must(t, m.Checkpoint(ctx, pos))
		if i < 1 {
			f.Done()
		} // else superseded by the next one
	}
	must(t, m.Close())
	m = open(t, db, 1, Options{Store: store})
	must(t, m.Rebase(ctx, roots[2]), m.Rebase(ctx, roots[0])) // it never goes back
	if got := m.root.Load().Root; got != roots[2] {
		t.Fatalf("builds on %+v", got)
	}
	must(t, store.Delete(ctx, roots[1].Key))
	must(t, m.Set(ctx, 7*pageBlocks, segment.NewName(segment.NewID(1, 9), 0), crcsFor(9, 8)))
	model.set(7*pageBlocks, segment.NewName(segment.NewID(1, 9), 0), crcsFor(9, 8))
	f := m.Freeze(segment.NewID(1, 9))
	last, err := f.WriteRoot(ctx, store, "root-last")
	must(t, err)
	f.Done()
	must(t, m.Close())

	m = open(t, testDB(t), 1, Options{Store: store})
	must(t, m.LoadRoot(ctx, last))
	model.check(t, m, [][2]uint64{{0, 8}, {pageBlocks, 8}, {2 * pageBlocks, 8}, {7 * pageBlocks, 8}})
	must(t, m.Close())
}

// TestSmallerAgain clears pages that are marked as new although the root has them, as after a crash: the size of what is new was never counted, and
// taking from it what was cleared must not make it negative, now or in the next process.
func TestSmallerAgain(t *testing.T) {
	ctx, store, db := context.Background(), memory.New(), testDB(t)
	m := open(t, db, 1, Options{Store: store})
	pos := uint32(0)
	write := func() {
		pos++
		f := m.Freeze(segment.NewID(1, pos))
		_, err := f.WriteRoot(ctx, store, fmt.Sprintf("root-%d", pos))
		must(t, err)
		f.Done()
	}
	for i := range uint64(8) {
		must(t, m.Set(ctx, i*pageBlocks, segment.NewName(segment.NewID(1, 1), uint32(i*pageBlocks)), crcsFor(1, pageBlocks)))
	}
	must(t, m.Checkpoint(ctx, segment.NewID(1, 1))) // here all pages are new
	write()
	for range 2 {
		must(t, m.Close())
		m = open(t, db, 1, Options{Store: store})
		must(t, m.Clear(ctx, 0, 4*pageBlocks-1))
		if got := m.DirtyRootBytes(); got < 0 {
			t.Errorf("a root of what is new is estimated at %d bytes", got)
		}
	}
	write()
	blocks{}.check(t, m, [][2]uint64{{0, 4*pageBlocks - 1}})
	must(t, m.Close())
}

package snapshot

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

func diffOf(t fataler, w *world, a, b *Snapshot) []Change {
	t.Helper()
	var list []Change
	for c, err := range Diff(context.Background(), w.store, a, b, 0) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// TestDiff tells a story of a volume that is written, written over, trimmed, grown, and gone back to.
func TestDiff(t *testing.T) {
	const k = segment.BlockSize
	w := newWorld(t, openDB(t), 2000)
	zero := w.snapshot(t)
	w.write(t, 10, 5, 700, 300)
	first := w.snapshot(t)
	w.write(t, 12, 10)
	w.unmap(t, 800, 100)
	second := w.snapshot(t)
	w.size = 2100*k - 512
	w.write(t, 1990, 110)
	grown := w.snapshot(t)
	for _, test := range []struct {
		name     string
		from, to *Snapshot
		want     []Change
	}{
		{"same", first, first, nil},
		{"from nothing", zero, first, []Change{{10 * k, 5 * k, false}, {700 * k, 300 * k, false}}},
		{"changed", first, second, []Change{{12 * k, 10 * k, false}, {800 * k, 100 * k, true}}},
		{"and back", second, first, []Change{{12 * k, 3 * k, false}, {15 * k, 7 * k, true}, {800 * k, 100 * k, false}}},
		{"grown", second, grown, []Change{{1990 * k, 110*k - 512, false}}},
		{"shrunk", grown, second, []Change{{1990 * k, 10 * k, true}}},
	} {
		if diff := cmp.Diff(test.want, diffOf(t, w, test.from, test.to)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

// TestDiffApplied shows what changes are for: written to a copy of one snapshot they make it a copy of the other. A block's content is the
// number of the write that it came from.
func TestDiffApplied(t *testing.T) {
	db := openDB(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, db, 1200)
		type moment struct {
			s    *Snapshot
			data []uint32 // of each block
		}
		var moments []moment
		data := make([]uint32, 1200)
		for range rapid.IntRange(2, 4).Draw(t, "snapshots") {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				b := rapid.IntRange(0, len(data)-1).Draw(t, "block")
				n := rapid.IntRange(1, min(300, len(data)-b)).Draw(t, "count")
				if rapid.Bool().Draw(t, "unmap") {
					w.unmap(t, uint64(b), uint64(n))
					clear(data[b : b+n])
					continue
				}
				w.name(t, uint64(b), n)
				for i := range n {
					data[b+i] = w.seq
				}
			}
			moments = append(moments, moment{w.snapshot(t), slices.Clone(data)})
			more := rapid.IntRange(0, 100).Draw(t, "grow")
			data, w.size = append(data, make([]uint32, more)...), w.size+int64(more)*segment.BlockSize
		}
		from, to := rapid.SampledFrom(moments).Draw(t, "from"), rapid.SampledFrom(moments).Draw(t, "to")
		disk := make([]uint32, len(to.data))
		copy(disk, from.data)
		end := int64(0)
		for _, c := range diffOf(t, w, from.s, to.s) {
			if c.Offset < end || c.Length <= 0 || c.Offset%segment.BlockSize != 0 {
				t.Fatalf("%+v behind byte %d", c, end)
			}
			end = c.Offset + c.Length
			first, last := c.Offset/segment.BlockSize, end/segment.BlockSize
			part := disk[first:last]
			if copy(part, to.data[first:last]); c.Zeros {
				clear(part)
			}
		}
		if !slices.Equal(disk, to.data) {
			t.Fatal("the changes do not make the one the other")
		}
	})
}

// TestDiffOfDamage shows that damage is an error: a changed range is never left out.
func TestDiffOfDamage(t *testing.T) {
	w := newWorld(t, openDB(t), 2000)
	a := w.snapshot(t)
	w.write(t, 10, 5)
	b := w.snapshot(t)
	if err := w.store.Delete(t.Context(), b.Root.Key); err != nil {
		t.Fatal(err)
	}
	for _, err := range Diff(t.Context(), w.store, a, b, 0) {
		if !errors.Is(err, blockmap.ErrDamaged) {
			t.Error(err)
		}
		return
	}
	t.Error("no error")
}

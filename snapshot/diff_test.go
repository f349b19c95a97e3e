package snapshot

import (
	"bytes"
	"context"
	"errors"
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

// TestDiffApplied shows what changes are for: written to a copy of one snapshot they make it a copy of the other.
func TestDiffApplied(t *testing.T) {
	db := openDB(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, db, 1200)
		type moment struct {
			s    *Snapshot
			data []byte
		}
		var moments []moment
		data := make([]byte, w.size)
		for range rapid.IntRange(2, 4).Draw(t, "snapshots") {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				b := rapid.Uint64Range(0, uint64(len(data))/segment.BlockSize-1).Draw(t, "block")
				n := rapid.Uint64Range(1, min(300, uint64(len(data))/segment.BlockSize-b)).Draw(t, "count")
				if rapid.Bool().Draw(t, "unmap") {
					w.unmap(t, b, n)
					clear(data[b*segment.BlockSize:][:n*segment.BlockSize])
					continue
				}
				w.write(t, b, n)
				for i := range n {
					copy(data[(b+i)*segment.BlockSize:], content(b+i, w.seq))
				}
			}
			moments = append(moments, moment{w.snapshot(t), bytes.Clone(data)})
			more := rapid.IntRange(0, 100).Draw(t, "grow") * segment.BlockSize
			data, w.size = append(data, make([]byte, more)...), w.size+int64(more)
		}
		from, to := rapid.SampledFrom(moments).Draw(t, "from"), rapid.SampledFrom(moments).Draw(t, "to")
		disk := make([]byte, len(to.data))
		copy(disk, from.data)
		end := int64(0)
		for _, c := range diffOf(t, w, from.s, to.s) {
			if c.Offset < end || c.Length <= 0 {
				t.Fatalf("%+v behind byte %d", c, end)
			}
			end = c.Offset + c.Length
			part := disk[c.Offset:end]
			if copy(part, to.data[c.Offset:end]); c.Zeros {
				clear(part)
			}
		}
		if !bytes.Equal(disk, to.data) {
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

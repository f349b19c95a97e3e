package blockmap

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/object"
	"sluice/volume/segment"
)

// TestSalvage damages one byte after the other (in steps) of what a root needs, and writes a root of the rest: it holds what a view
// of the damaged one could read, less a segment that is dropped, and nothing else; and a map can go on from it.
func TestSalvage(t *testing.T) {
	h := newHistory(t)
	h.set(t, 0, 3*pageBlocks)
	h.set(t, nodeBlocks, 2*pageBlocks)
	h.set(t, pageBlocks+7, 20)
	bad := segment.NewID(1, h.seq)
	h.set(t, 2*nodeBlocks, 1)
	h.keep(t)
	drop := func(n segment.Name) bool { return n.Segment() == bad }
	key := h.roots[0].Key
	body, _, err := h.store.GetRange(t.Context(), key, 0, -1)
	must(t, err)
	for at := 0; at < int(h.roots[0].Offset); at += 61 {
		damaged := slices.Clone(body)
		damaged[at] ^= 8
		_, err := h.store.Put(t.Context(), key, damaged)
		must(t, err)
		v := h.view(t, 0)
		want, lost, err := read(t, v, 0, MaxBlocks)
		must(t, err)
		maps.DeleteFunc(want, func(_ uint64, e segment.Entry) bool { return drop(e.Name) })
		root, err := Salvage(t.Context(), v, "volumes/x/roots/1-1", drop)
		must(t, err)
		saved, err := OpenView(t.Context(), h.store, root)
		must(t, err)
		got, again, err := read(t, saved, 0, MaxBlocks)
		must(t, err)
		if len(lost) == 0 || len(again) > 0 || !maps.Equal(want, got) {
			t.Fatalf("byte %d, %v was lost: %v is lost again; %s", at, lost, again, cmp.Diff(want, got))
		}
		if at%(61*8) != 0 {
			continue
		}
		m := open(t, testDB(t), 2, Options{Store: h.store})
		must(t, m.LoadRoot(t.Context(), root))
		want.check(t, m, [][2]uint64{{0, 4 * pageBlocks}, {nodeBlocks, 3 * pageBlocks}, {2 * nodeBlocks, pageBlocks}})
		must(t, m.Close())
	}
}

// TestSalvageOfNothing shows that a root without damage is its own salvage, and that an outage is an error.
func TestSalvageOfNothing(t *testing.T) {
	h := newHistory(t)
	h.set(t, 0, 3*pageBlocks)
	v := h.keep(t)
	none := func(segment.Name) bool { return false }
	root, err := Salvage(t.Context(), v, "volumes/x/roots/1-1", none)
	must(t, err)
	if root != h.roots[0] {
		t.Errorf("%+v", root)
	}
	all := func(segment.Name) bool { return true }
	for _, op := range []object.Op{object.OpGetRange, object.OpPut} {
		for n := range 2 {
			v.store = object.Fault(h.store, object.FailNth(op, n, &object.Error{Op: op, Err: object.ErrInjected, Transient: true}))
			if _, err := Salvage(t.Context(), v, "volumes/x/roots/1-1", all); (err == nil) != (op == object.OpPut && n == 1) || err != nil && !errors.Is(err, object.ErrInjected) {
				t.Errorf("%s %d: %v", op, n, err)
			}
		}
	}
}

package blockmap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume/segment"
)

// history is a map that changes, and the roots of some of its moments with what each should hold.
type history struct {
	m     *Map
	store *memory.Store
	now   blocks
	seq   uint32
	roots []Root
	want  []blocks
}

func newHistory(t testing.TB) *history {
	store := memory.New()
	return &history{m: open(t, testDB(t), 1, Options{Store: store, CacheBytes: 1 << 20}), store: store, now: blocks{}}
}

func (h *history) set(t fataler, block uint64, n int) {
	t.Helper()
	h.seq++
	first, crcs := segment.NewName(segment.NewID(1, h.seq), 0), crcsFor(int(h.seq), n)
	must(t, h.m.Set(context.Background(), block, first, crcs))
	h.now.set(block, first, crcs)
}

func (h *history) clear(t fataler, block, n uint64) {
	t.Helper()
	must(t, h.m.Clear(context.Background(), block, n))
	h.now.clear(block, n)
}

// keep writes a root.
func (h *history) keep(t fataler) *View {
	t.Helper()
	h.seq++
	f := h.m.Freeze(segment.NewID(1, h.seq))
	root, err := f.WriteRoot(context.Background(), h.store, fmt.Sprintf("volumes/v/roots/%d", len(h.roots)))
	must(t, err)
	f.Done()
	h.roots, h.want = append(h.roots, root), append(h.want, maps.Clone(h.now))
	return h.view(t, len(h.roots)-1)
}

func (h *history) view(t fataler, i int) *View {
	t.Helper()
	v, err := OpenView(context.Background(), h.store, h.roots[i])
	must(t, err)
	return v
}

// read collects what a view says about a range, and checks the order.
func read(t fataler, v *View, first, end uint64) (blocks, []*LostError, error) {
	t.Helper()
	got, lost, next := blocks{}, []*LostError(nil), first
	for r, err := range v.Runs(context.Background(), first, end) {
		if l, ok := errors.AsType[*LostError](err); ok {
			r.Block = l.Block
			lost = append(lost, l)
		} else if err != nil {
			return got, lost, err
		}
		if r.Block < next {
			t.Fatalf("block %d after block %d", r.Block, next)
		}
		next = r.Block + 1
		for i, e := range r.Entries {
			next = r.Block + uint64(i) + 1
			got[next-1] = e
		}
		if next > end {
			t.Fatalf("block %d is behind the end %d", next-1, end)
		}
	}
	return got, lost, nil
}

// within returns the part of a model from first to end-1.
func (b blocks) within(first, end uint64) blocks {
	out := blocks{}
	for k, e := range b {
		if k >= first && k < end {
			out[k] = e
		}
	}
	return out
}

// TestViewAndDiff changes a map at random, keeps roots, and has views and differences compared with a plain Go map.
func TestViewAndDiff(t *testing.T) {
	db := testDB(t)
	rapid.Check(t, func(t *rapid.T) {
		h, vol := &history{store: memory.New(), now: blocks{}}, newVol()
		var err error
		h.m, err = Open(db, vol, Options{Store: h.store, CacheBytes: shards * 1000})
		must(t, err)
		defer func() { must(t, h.m.Close(), Drop(db, vol)) }()
		at := func() (uint64, uint64) {
			p := rapid.SampledFrom(places).Draw(t, "place")
			off := rapid.Uint64Range(0, p[1]-1).Draw(t, "offset")
			return p[0] + off, rapid.Uint64Range(1, p[1]-off).Draw(t, "count")
		}
		for range rapid.IntRange(2, 4).Draw(t, "roots") {
			for range rapid.IntRange(0, 5).Draw(t, "changes") {
				block, n := at()
				if rapid.Bool().Draw(t, "clear") {
					h.clear(t, block, n)
				} else {
					h.set(t, block, int(min(n, 700)))
				}
			}
			h.keep(t)
		}
		i := rapid.IntRange(0, len(h.roots)-1).Draw(t, "from")
		k := rapid.IntRange(0, len(h.roots)-1).Draw(t, "to")
		first, n := at()
		for _, r := range [][2]uint64{{0, MaxBlocks}, {first, first + n}} {
			got, lost, err := read(t, h.view(t, i), r[0], r[1])
			must(t, err)
			if want := h.want[i].within(r[0], r[1]); len(lost) > 0 || !maps.Equal(got, want) {
				t.Fatalf("blocks %d to %d: %s, lost %v", r[0], r[1], cmp.Diff(want, got), lost)
			}
		}
		for _, first := range []uint64{0, first} {
			var got []Change
			for c, err := range Diff(context.Background(), h.view(t, i), h.view(t, k), first) {
				must(t, err)
				got = append(got, c)
			}
			if diff := cmp.Diff(difference(h.want[i].within(first, MaxBlocks), h.want[k].within(first, MaxBlocks)), got); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// difference is Diff, for two plain Go maps.
func difference(a, b blocks) []Change {
	all := maps.Clone(a)
	maps.Copy(all, b)
	var list []Change
	for _, block := range slices.Sorted(maps.Keys(all)) {
		e, mapped := b[block]
		if a[block] == e {
			continue
		}
		if n := len(list); n > 0 && list[n-1].Block+list[n-1].Count == block && list[n-1].Mapped == mapped {
			list[n-1].Count++
			continue
		}
		list = append(list, Change{Block: block, Count: 1, Mapped: mapped})
	}
	return list
}

// TestDiffReadsOnlyWhatChanged counts the requests: of a map of many nodes, one page changes.
func TestDiffReadsOnlyWhatChanged(t *testing.T) {
	h := newHistory(t)
	for i := range uint64(20) {
		h.set(t, i*nodeBlocks, 3*pageBlocks)
	}
	from := h.keep(t)
	h.set(t, 7*nodeBlocks+5, 1)
	to := h.keep(t)
	var calls atomic.Int64
	counted := object.Fault(h.store, func(object.Call) object.Outcome { calls.Add(1); return object.Outcome{} })
	from.store, to.store = counted, counted
	n := 0
	for c, err := range Diff(t.Context(), from, to, 0) {
		must(t, err)
		if n++; c != (Change{Block: 7*nodeBlocks + 5, Count: 1, Mapped: true}) {
			t.Errorf("%+v", c)
		}
	}
	if n != 1 || calls.Load() != 4 { // a node and a page of each
		t.Errorf("%d changes, %d requests", n, calls.Load())
	}
}

// TestViewNeighbours shows that a page written with its neighbours is read with them.
func TestViewNeighbours(t *testing.T) {
	h := newHistory(t)
	h.set(t, 0, 100*pageBlocks)
	v := h.keep(t)
	var calls atomic.Int64
	v.store = object.Fault(h.store, func(object.Call) object.Outcome { calls.Add(1); return object.Outcome{} })
	got, _, err := read(t, v, 0, MaxBlocks)
	must(t, err)
	if len(got) != 100*pageBlocks || calls.Load() != 2 {
		t.Errorf("%d blocks with %d requests; expected a node and all pages at once", len(got), calls.Load())
	}
}

// TestViewOfDamage damages one byte of the bucket after the other (in steps): whatever a view of it says, what it does not call lost is right.
func TestViewOfDamage(t *testing.T) {
	h := newHistory(t)
	h.set(t, 0, 3*pageBlocks)
	h.set(t, nodeBlocks, 2*pageBlocks)
	h.keep(t)
	h.clear(t, 10, 40)
	h.set(t, nodeBlocks+pageBlocks, 7)
	h.keep(t)
	want := h.want[1]
	for _, root := range h.roots {
		body, _, err := h.store.GetRange(t.Context(), root.Key, 0, -1)
		must(t, err)
		for at := 0; at < len(body); at += 11 {
			bad := slices.Clone(body)
			bad[at] ^= 0x40
			if at%3 == 0 {
				bad = bad[:at]
			}
			_, err := h.store.Put(t.Context(), root.Key, bad)
			must(t, err)
			checkDamaged(t, h, want, at)
		}
		must(t, h.store.Delete(t.Context(), root.Key))
		checkDamaged(t, h, want, -1)
		_, err = h.store.Put(t.Context(), root.Key, body)
		must(t, err)
	}
}

// checkDamaged reads the second root of a history, whose objects may be damaged.
func checkDamaged(t *testing.T, h *history, want blocks, at int) {
	t.Helper()
	v, err := OpenView(t.Context(), h.store, h.roots[1])
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", at, err)
		}
		return
	}
	got, lost, err := read(t, v, 3, MaxBlocks-3)
	must(t, err)
	rest := want.within(3, MaxBlocks-3)
	for _, l := range lost {
		if !errors.Is(l, ErrDamaged) || l.Object == "" {
			t.Errorf("byte %d: %v of %q", at, l, l.Object)
		}
		rest.clear(l.Block, l.Count)
	}
	if !maps.Equal(rest, got) {
		t.Fatalf("byte %d: with %v: %s", at, lost, cmp.Diff(rest, got))
	}
	for _, err := range Diff(t.Context(), h.viewOr(t, 0, v), v, 0) {
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

// viewOr is view, or other if the root is damaged.
func (h *history) viewOr(t *testing.T, i int, other *View) *View {
	v, err := OpenView(t.Context(), h.store, h.roots[i])
	if err != nil {
		return other
	}
	return v
}

// TestViewOutage fails one request after the other: an outage is never taken for damage, nor for an empty map.
func TestViewOutage(t *testing.T) {
	h := newHistory(t)
	for i := range uint64(3) {
		h.set(t, i*nodeBlocks, 3*pageBlocks)
		h.keep(t)
	}
	for n := 0; ; n++ {
		outage := &object.Error{Op: object.OpGetRange, Err: object.ErrInjected, Transient: true}
		var met atomic.Bool
		store := object.Fault(h.store, func(c object.Call) object.Outcome {
			if c.N != n {
				return object.Outcome{}
			}
			met.Store(true)
			return object.Outcome{Err: outage}
		})
		v, err := OpenView(t.Context(), store, h.roots[2])
		if err == nil {
			var lost []*LostError
			_, lost, err = read(t, v, 0, MaxBlocks)
			if len(lost) > 0 {
				t.Fatalf("request %d: %v", n, lost[0])
			}
		}
		if !met.Load() {
			must(t, err)
			if n < 4 {
				t.Fatalf("only %d requests", n)
			}
			return
		}
		if !errors.Is(err, object.ErrInjected) || errors.Is(err, ErrDamaged) {
			t.Fatalf("request %d: %v", n, err)
		}
	}
}

// TestViewIsEndedByItsUser leaves a view and a difference in their middles: no request is under way afterwards.
func TestViewIsEndedByItsUser(t *testing.T) {
	h := newHistory(t)
	for i := range uint64(30) {
		h.set(t, i*nodeBlocks, 1)
	}
	v := h.keep(t)
	var under atomic.Int64
	v.store = slow{h.store, &under}
	for _, err := range v.Runs(t.Context(), 0, MaxBlocks) {
		must(t, err)
		break
	}
	if n := under.Load(); n != 0 {
		t.Errorf("%d requests are still under way", n)
	}
}

// slow counts the requests under way.
type slow struct {
	object.Store
	under *atomic.Int64
}

func (s slow) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	s.under.Add(1)
	defer s.under.Add(-1)
	return s.Store.GetRange(ctx, key, off, n)
}

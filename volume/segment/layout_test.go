package segment

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// state is what a segment says of one logical block.
type state struct {
	Op   Op
	Slot uint32
	From Name
	CRC  uint32
}

// replay applies records to a map, one block at a time: the model of all that follows.
func replay(records []Record) map[uint64]state {
	m := map[uint64]state{}
	for _, r := range records {
		at := 0
		for i, run := range r.Runs {
			for b := run.Start; b < run.End(); b++ {
				m[b] = state{Op: r.Op}
				switch r.Op {
				case OpWrite:
					m[b] = state{Op: OpWrite, Slot: r.Slot + uint32(at), CRC: r.CRCs[at]}
				case OpCopy:
					m[b] = state{Op: OpCopy, From: r.From[i] + Name(b-run.Start), CRC: r.CRCs[at]}
				case OpZero, OpUnmap:
				}
				at++
			}
		}
	}
	return m
}

// expand applies extents to a map, and fails if a block occurs twice.
func expand(tb rapid.TB, extents []Extent) map[uint64]state {
	m := map[uint64]state{}
	for _, e := range extents {
		for i := range e.Count {
			b := e.Start + uint64(i)
			if _, twice := m[b]; twice {
				tb.Fatalf("block %d occurs twice", b)
			}
			m[b] = state{Op: e.Op}
			switch e.Op {
			case OpWrite:
				m[b] = state{Op: OpWrite, Slot: e.Slot + i, CRC: e.CRCs[i]}
			case OpCopy:
				m[b] = state{Op: OpCopy, From: e.From + Name(i), CRC: e.CRCs[i]}
			case OpZero, OpUnmap:
			}
		}
	}
	return m
}

func TestCollapseIsTheLastStateOfEachBlock(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := &memFile{}
		w := newTestWriter(t, f)
		for range rapid.IntRange(0, 12).Draw(rt, "records") {
			drawAppend(rt, t, w)
		}
		r, err := RecoverSynced(f, testHeader.ID)
		if err != nil {
			rt.Fatal(err)
		}
		l := Collapse(r.Records)
		if again, _ := RecoverSynced(f, testHeader.ID); !cmp.Equal(again.Records, r.Records) {
			rt.Fatal("Collapse changed the records")
		}
		if diff := cmp.Diff(replay(r.Records), expand(rt, slices.Concat(l.Live, l.Holes, l.Copies))); diff != "" {
			rt.Fatal(diff)
		}
		checkOrder(rt, l)
	})
}

// checkOrder checks what Layout promises beyond the state itself.
func checkOrder(t *rapid.T, l Layout) {
	for i, e := range l.Live {
		if e.Op != OpWrite || len(e.CRCs) != int(e.Count) {
			t.Fatalf("live extent %+v", e)
		}
		if i == 0 {
			continue
		}
		last := l.Live[i-1]
		if e.Slot < last.Slot+last.Count {
			t.Fatalf("live extents are not in slot order: %+v, %+v", last, e)
		}
		if e.Slot == last.Slot+last.Count && e.Start == last.End() {
			t.Fatalf("not merged: %+v, %+v", last, e)
		}
	}
	for i, e := range l.Holes {
		if e.Op == OpWrite || i > 0 && e.Start < l.Holes[i-1].End() {
			t.Fatalf("hole %+v", e)
		}
		if i > 0 && e.Start == l.Holes[i-1].End() && e.Op == l.Holes[i-1].Op {
			t.Fatalf("not merged: %+v, %+v", l.Holes[i-1], e)
		}
	}
}

func TestCollapseOfLongHoles(t *testing.T) {
	const all = 1<<32 - 1
	records := []Record{
		{Op: OpZero, Runs: []Run{{0, all}, {all, all}}},
		{Op: OpWrite, Runs: []Run{{all - 1, 2}}, CRCs: []uint32{1, 2}},
		{Op: OpUnmap, Runs: []Run{{all, 1}}},
	}
	want := Layout{
		Live: []Extent{{Op: OpWrite, Run: Run{all - 1, 1}, CRCs: []uint32{1}}},
		Holes: []Extent{
			{Op: OpZero, Run: Run{0, all - 1}},
			{Op: OpUnmap, Run: Run{all, 1}},
			{Op: OpZero, Run: Run{all + 1, all - 1}},
		},
	}
	if diff := cmp.Diff(want, Collapse(records)); diff != "" {
		t.Error(diff)
	}
	// More than fits one hole stays two.
	got := Collapse(records[:1])
	if len(got.Holes) != 2 || got.Holes[1].End() != 2*all {
		t.Errorf("holes %+v", got.Holes)
	}
}

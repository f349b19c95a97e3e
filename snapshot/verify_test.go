package snapshot

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice/object"
	"sluice/volume/segment"
)

// scene is a volume of which segments are written over each other, copied and unmapped in part.
func scene(t *testing.T) (*world, *Snapshot, []segment.ID) {
	w := newWorld(t, openDB(t), 6000)
	ids := []segment.ID{w.write(t, 0, 1000, 3000, 100), w.write(t, 500, 40, 2000, 3, 3050, 70), w.write(t, 5000, 1000)}
	w.copy(t, 10, 4000, 30)
	w.unmap(t, 5100, 500)
	return w, w.snapshot(t), ids
}

// verified runs Verify and returns the blocks that are lost.
func verified(t *testing.T, store object.Store, s *Snapshot, opts VerifyOptions) (*Report, map[uint64]bool, []Lost) {
	t.Helper()
	lost, list := map[uint64]bool{}, []Lost(nil)
	opts.Lost = func(l Lost) {
		if n := len(list); n > 0 && list[n-1].Offset+list[n-1].Length > l.Offset {
			t.Errorf("%+v comes behind %+v", l, list[n-1])
		}
		list = append(list, l)
		for off := l.Offset; off < l.Offset+l.Length; off += segment.BlockSize {
			lost[uint64(off/segment.BlockSize)] = true
		}
	}
	rep, err := Verify(t.Context(), store, s, opts)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Lost != int64(len(lost))*segment.BlockSize || rep.OK() != (len(lost) == 0) {
		t.Errorf("%d bytes are said to be lost, %d blocks are listed, OK is %v", rep.Lost, len(lost), rep.OK())
	}
	return rep, lost, list
}

// TestVerify shows what a verification of an undamaged snapshot reads and reports, with much memory and with next to none.
func TestVerify(t *testing.T) {
	w, s, ids := scene(t)
	for _, memory := range []int64{0, 1} {
		var reads atomic.Int64
		store := object.Fault(w.store, func(c object.Call) object.Outcome {
			if strings.HasPrefix(c.Key, "segments/") {
				reads.Add(1)
			}
			return object.Outcome{}
		})
		progress := new(Progress)
		rep, _, _ := verified(t, store, s, VerifyOptions{Memory: memory, Progress: progress})
		if rep.Objects != int64(len(ids))+1 || rep.Blocks != int64(len(w.entries)) || rep.Bytes < rep.Blocks*segment.BlockSize/3 {
			t.Errorf("%+v", rep)
		}
		if done, total := progress.Bytes(); done != total || done != rep.Blocks*segment.BlockSize {
			t.Errorf("progress ended at %d of %d", done, total)
		}
		// A header and all frames of each, a MiB at a time.
		if n := reads.Load(); n > 4*int64(len(ids)) {
			t.Errorf("memory of %d: %d reads of %d segments", memory, n, len(ids))
		}
		quick, _, _ := verified(t, w.store, s, VerifyOptions{Memory: memory, Quick: true})
		if quick.Blocks != rep.Blocks || quick.Bytes > rep.Bytes/3 {
			t.Errorf("quick: %+v", quick)
		}
	}
}

// spoil changes the body of an object; nil: it is deleted.
type spoil func(body []byte) []byte

func gone([]byte) []byte  { return nil }
func empty([]byte) []byte { return []byte{} }

func flip(at int64) spoil {
	return func(b []byte) []byte { b[at] ^= 1; return b }
}

func cutOff(at int64) spoil {
	return func(b []byte) []byte { return b[:at] }
}

// blockSet returns the blocks of ranges: pairs of the first and the number.
func blockSet(ranges ...uint64) map[uint64]bool {
	out := map[uint64]bool{}
	for i := 0; i < len(ranges); i += 2 {
		for b := range ranges[i+1] {
			out[ranges[i]+b] = true
		}
	}
	return out
}

// TestVerifyFindsDamage damages one object of the bucket in each way, and compares what is lost with what the object held.
func TestVerifyFindsDamage(t *testing.T) {
	w, s, ids := scene(t)
	frame := func(i, frame int) int64 {
		h, err := segment.ParseHeader(w.body(t, ids[i].Key()))
		if err != nil {
			t.Fatal(err)
		}
		return h.Frame(frame).Offset
	}
	type lostBlocks = map[uint64]bool
	for _, test := range []struct {
		name   string
		key    string
		change spoil
		want   lostBlocks
		quick  lostBlocks // what a quick one finds
		reason string
	}{
		{"segment missing", ids[0].Key(), gone, w.blocksOf(ids[0]), w.blocksOf(ids[0]), "missing"},
		{"small segment missing", ids[1].Key(), gone, w.blocksOf(ids[1]), w.blocksOf(ids[1]), "missing"},
		{"segment empty", ids[2].Key(), empty, w.blocksOf(ids[2]), w.blocksOf(ids[2]), "ends after"},
		{"header flipped", ids[1].Key(), flip(30), w.blocksOf(ids[1]), w.blocksOf(ids[1]), "CRC32C"},
		{
			"another segment", ids[1].Key(), func([]byte) []byte { return w.body(t, ids[2].Key()) },
			w.blocksOf(ids[1]), w.blocksOf(ids[1]), "it holds segment",
		},
		{"frame flipped", ids[2].Key(), flip(frame(2, 0) + 9), blockSet(5000, 16), lostBlocks{}, "frame 0"},
		{"frame overwritten in part", ids[0].Key(), flip(frame(0, 65) + 9), blockSet(3040, 10), lostBlocks{}, "frame 65"},
		{"frame overwritten since", ids[0].Key(), flip(frame(0, 67) + 9), lostBlocks{}, lostBlocks{}, ""},
		{"frame copied", ids[0].Key(), flip(frame(0, 1) + 9), blockSet(16, 16, 4006, 16), lostBlocks{}, "frame 1"},
		{"cut off", ids[0].Key(), cutOff(frame(0, 40) + 3), blockSet(640, 360, 3000, 50), w.blocksOf(ids[0]), "bytes instead of"},
		{"root missing", s.Root.Key, gone, blockSet(0, 6000), blockSet(0, 6000), "missing"},
		{"root flipped", s.Root.Key, flip(s.Root.Offset + 3), blockSet(0, 6000), blockSet(0, 6000), "checksum"},
		{"page flipped", s.Root.Key, flip(100), blockSet(0, 512), blockSet(0, 512), "checksum"},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := w.body(t, test.key)
			defer w.put(t, test.key, body)
			if bad := test.change(slices.Clone(body)); bad != nil {
				w.put(t, test.key, bad)
			} else if err := w.store.Delete(t.Context(), test.key); err != nil {
				t.Fatal(err)
			}
			for quick, want := range map[bool]lostBlocks{false: test.want, true: test.quick} {
				rep, lost, list := verified(t, w.store, s, VerifyOptions{Quick: quick})
				if !maps.Equal(lost, want) {
					t.Errorf("quick %v: %v are lost: %s", quick, list, cmp.Diff(want, lost))
				}
				if len(want) > 0 && rep.Damaged != 1 {
					t.Errorf("quick %v: %d objects are damaged", quick, rep.Damaged)
				}
				for _, l := range list {
					if l.Object != test.key || !strings.Contains(l.Reason, test.reason) {
						t.Errorf("quick %v: %+v; expected %q of %s", quick, l, test.reason, test.key)
					}
				}
			}
		})
	}
}

// TestVerifyFindsAWrongBlock shows that a segment which is good in itself, but holds another content than the map says, is found.
func TestVerifyFindsAWrongBlock(t *testing.T) {
	w, s, ids := scene(t)
	other := newWorld(t, openDB(t), 6000)
	other.seq = ids[1].Sequence() - 1
	other.write(t, 500, 20, 1500, 20, 2000, 1) // the same ID: other content from the 20th slot on, and fewer slots
	w.put(t, ids[1].Key(), other.body(t, ids[1].Key()))
	for _, quick := range []bool{false, true} {
		_, lost, list := verified(t, w.store, s, VerifyOptions{Quick: quick})
		if want := blockSet(520, 20, 2001, 2, 3050, 70); !maps.Equal(lost, want) {
			t.Errorf("quick %v: %v: %s", quick, list, cmp.Diff(want, lost))
		}
	}
}

// TestVerifyReadsTwice damages what is read for a time only: on its way, or because the object is replaced. Nothing is lost then.
func TestVerifyReadsTwice(t *testing.T) {
	w, s, _ := scene(t)
	for n := range 8 {
		store := object.Fault(w.store, func(c object.Call) object.Outcome {
			if c.N == n && strings.HasPrefix(c.Key, "segments/") {
				return object.Outcome{Mutate: object.FlipBit(1000)}
			}
			return object.Outcome{}
		})
		verified(t, store, s, VerifyOptions{Parallel: 1})
	}
}

// TestVerifyOutage fails one request after the other: an outage is an error, and never taken for damage.
func TestVerifyOutage(t *testing.T) {
	w, s, _ := scene(t)
	for _, op := range []object.Op{object.OpGetRange, object.OpStat} {
		outage := &object.Error{Op: op, Err: object.ErrInjected, Transient: true}
		for n := 0; ; n++ {
			var met atomic.Bool
			store := object.Fault(w.store, func(c object.Call) object.Outcome {
				if c.Op != op || c.N != n {
					return object.Outcome{}
				}
				met.Store(true)
				return object.Outcome{Err: outage}
			})
			rep, err := Verify(t.Context(), store, s, VerifyOptions{Quick: op == object.OpStat, Lost: func(l Lost) { t.Errorf("%+v", l) }})
			if !met.Load() {
				if err != nil || !rep.OK() || n < 3 {
					t.Fatalf("%d requests of %s: %v", n, op, err)
				}
				break
			}
			if !errors.Is(err, object.ErrInjected) || rep != nil {
				t.Fatalf("request %d of %s: %v", n, op, err)
			}
		}
	}
}

// TestVerifyStops shows that the end of the context ends a verification that waits for the bucket.
func TestVerifyStops(t *testing.T) {
	w, s, _ := scene(t)
	ctx, cancel := context.WithCancel(t.Context())
	store := object.Fault(w.store, func(c object.Call) object.Outcome {
		if strings.HasPrefix(c.Key, "segments/") {
			cancel()
			return object.Outcome{Hang: true}
		}
		return object.Outcome{}
	})
	if _, err := Verify(ctx, store, s, VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestVerifyModel flips any bit of any object: whatever is not called lost can be read, and what is called lost cannot.
func TestVerifyModel(t *testing.T) {
	db := openDB(t)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, db, 700)
		for range rapid.IntRange(1, 4).Draw(t, "segments") {
			start := rapid.Uint64Range(0, 650).Draw(t, "block")
			w.write(t, start, rapid.Uint64Range(1, min(150, 700-start)).Draw(t, "count"))
		}
		from, to := rapid.Uint64Range(0, 300).Draw(t, "from"), rapid.Uint64Range(350, 650).Draw(t, "to")
		for b := range uint64(20) {
			if w.entries[from+b].Name != 0 {
				w.copy(t, from+b, to+b, 1)
			}
		}
		s := w.snapshot(t)
		var keys []string
		for info, err := range w.store.List(context.Background(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, info.Key)
		}
		key := rapid.SampledFrom(keys).Draw(t, "object")
		body := w.body(t, key)
		body[rapid.IntRange(0, len(body)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		w.put(t, key, body)
		lost := map[uint64]bool{}
		rep, err := Verify(context.Background(), w.store, s, VerifyOptions{Memory: rapid.Int64Range(0, 1<<14).Draw(t, "memory"), Lost: func(l Lost) {
			maps.Copy(lost, blockSet(uint64(l.Offset)/segment.BlockSize, uint64(l.Length)/segment.BlockSize))
		}})
		if err != nil {
			t.Fatal(err)
		}
		if want := w.unreadable(t, s); !maps.Equal(lost, want) {
			t.Fatalf("%s is damaged: %s", key, cmp.Diff(want, lost))
		}
		w.salvaged(t, s, rep, lost)
	})
}

// salvaged makes a snapshot of what is left, and checks that nothing of it is lost, and that nothing is missing but what was.
func (w *world) salvaged(t fataler, s *Snapshot, rep *Report, lost map[uint64]bool) {
	t.Helper()
	saved := *s
	var err error
	saved.Root, err = rep.Salvage(context.Background(), "volumes/x/roots/1-1")
	if errors.Is(err, ErrNothingLeft) && len(lost) == int(w.size/segment.BlockSize) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if rep.OK() != (saved.Root == s.Root) {
		t.Fatal("a root was written: ", saved.Root != s.Root, ", nothing is lost: ", rep.OK())
	}
	again, err := Verify(context.Background(), w.store, &saved, VerifyOptions{})
	if err != nil || !again.OK() {
		t.Fatal("of what was salvaged: ", again, err)
	}
	view, err := open(context.Background(), w.store, &saved)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint64]segment.Entry{}
	for run, err := range view.Runs(context.Background(), 0, saved.blocks()) {
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range run.Entries {
			got[run.Block+uint64(i)] = e
		}
	}
	want := maps.Clone(w.entries)
	maps.DeleteFunc(want, func(b uint64, _ segment.Entry) bool { return lost[b] })
	if !maps.Equal(want, got) {
		t.Fatal(cmp.Diff(want, got))
	}
}

// unreadable reads each block of a snapshot for itself, and returns those that cannot be read as they were written. A block that
// is not mapped can be, unless the part of the map that says so is lost.
func (w *world) unreadable(t fataler, s *Snapshot) map[uint64]bool {
	t.Helper()
	out := map[uint64]bool{}
	view, err := open(context.Background(), w.store, s)
	if err != nil {
		return blockSet(0, uint64(w.size/segment.BlockSize))
	}
	read := map[segment.ID]map[uint32]uint32{} // of each segment, the sums of the blocks that can be read
	for b := range uint64(w.size / segment.BlockSize) {
		for run, err := range view.Runs(context.Background(), b, b+1) {
			if err != nil {
				out[b] = true
				continue
			}
			e := run.Entries[0]
			id := e.Name.Segment()
			if read[id] == nil {
				read[id] = w.readable(id)
			}
			if sum, ok := read[id][e.Name.Index()]; !ok || sum != e.CRC {
				out[b] = true
			}
		}
	}
	return out
}

// readable reads all of a segment, frame by frame, and returns the sums of the blocks that it gets by their slots.
func (w *world) readable(id segment.ID) map[uint32]uint32 {
	sums := map[uint32]uint32{}
	ctx := context.Background()
	h, err := segment.FetchHeader(ctx, w.store, id)
	if err != nil {
		return sums
	}
	for i := range h.Frames() {
		f := h.Frame(i)
		data, _, err := w.store.GetRange(ctx, id.Key(), f.Offset, int64(f.Length))
		if err != nil {
			continue
		}
		blocks, err := h.DecodeFrame(i, data, nil)
		if err != nil {
			continue
		}
		for slot := range h.FrameSlots(i) {
			sums[slot], blocks = segment.Checksum(blocks[:segment.BlockSize]), blocks[segment.BlockSize:]
		}
	}
	return sums
}

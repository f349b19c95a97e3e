package gc_test

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/volume"
)

// TestOverwrittenSpace overwrites random blocks for a long time: what the bucket has is never much more than
// what is live, and all of it can be read, also through caches that knew the segments before.
func TestOverwrittenSpace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		defer func() { w.g.stop() }()
		w.begin(volume.New{Name: "v"}, make([]byte, size))
		s := w.volumes["v"]
		overwrite := func(n int) {
			for range n {
				off := w.rnd.Int64N(size/4096) * 4096
				p := make([]byte, 4096)
				for i := range p {
					p[i] = byte(w.rnd.Uint32())
				}
				if err := s.v.Write(context.Background(), [][]byte{p}, []int64{off}, true); err != nil {
					rt.Fatal(err)
				}
				copy(s.model[off:], p)
			}
		}
		overwrite(4 * size / 4096)
		thinned := 0
		for range 8 {
			w.reopen(rt) // a root
			rep, err := w.collector.Collect(context.Background())
			if err != nil {
				rt.Fatal(err)
			}
			thinned += rep.Thinned
			var stored int64
			for info, err := range w.store.List(context.Background(), "segments/", "") {
				if err != nil {
					rt.Fatal(err)
				}
				stored += info.Size
			}
			live := rep.Volumes[s.v.ID()].Live
			if float64(stored) > 1.34*float64(live) {
				rt.Fatalf("%d bytes are stored for %d", stored, live)
			}
			w.read(rt)
			overwrite(size / 4096 / 4)
		}
		if thinned == 0 {
			rt.Fatal("nothing was thinned")
		}
		w.check()
		w.deleteVolume(rt)
	})
}

// TestDamagedSegmentStays shows that a segment that is not what it says is neither thinned nor deleted, and keeps nobody from
// the others.
func TestDamagedSegmentStays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		w := newWorld(t, rt)
		defer func() { w.g.stop() }()
		w.begin(volume.New{Name: "v"}, make([]byte, size))
		s := w.volumes["v"]
		for i := range 4 { // two segments, of each of which a half is dead
			p := make([]byte, size/2)
			for k := range p {
				p[k] = byte(w.rnd.Uint32())
			}
			if i == 3 {
				p = p[:size/4]
			}
			off := int64(i%2) * size / 2
			if err := s.v.Write(ctx, [][]byte{p}, []int64{off}, true); err != nil {
				rt.Fatal(err)
			}
			copy(s.model[off:], p)
			if i%2 == 0 {
				if err := s.v.Upload(ctx); err != nil {
					rt.Fatal(err)
				}
			}
		}
		w.reopen(rt)
		var keys []string
		for info, err := range w.store.List(ctx, "segments/", "") {
			if err != nil {
				rt.Fatal(err)
			}
			keys = append(keys, info.Key)
		}
		victim := rapid.SampledFrom(keys).Draw(rt, "victim")
		body, _, err := w.store.GetRange(ctx, victim, 0, -1)
		if err != nil {
			rt.Fatal(err)
		}
		broken := append([]byte(nil), body...)
		broken[rapid.IntRange(100, len(body)-1).Draw(rt, "byte")] ^= 1
		if _, err := w.store.Put(ctx, victim, broken); err != nil {
			rt.Fatal(err)
		}
		_, err = w.collector.Collect(ctx)
		now, _, gerr := w.store.GetRange(ctx, victim, 0, -1)
		if gerr == nil && err == nil && string(now) != string(broken) {
			rt.Fatal("a damaged segment was written again")
		}
		if err != nil && !strings.Contains(err.Error(), victim) && !strings.Contains(err.Error(), "thinning segment") {
			rt.Fatalf("the error does not say what is damaged: %v", err)
		}
		if gerr == nil {
			if _, err := w.store.Put(ctx, victim, body); err != nil {
				rt.Fatal(err)
			}
		}
		w.check()
		w.deleteVolume(rt)
	})
}

package volume

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// TestPoints writes roots at random times and shows which of them are kept: never too many, always one at or before the
// beginning of the window, and none that is not needed for that.
func TestPoints(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const window = 24 * time.Hour
		now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		h := &Head{Created: now, Window: int64(window / time.Second), Spans: []Span{{Writer: 1}}}
		h.begin(nil)
		seq, largest := uint32(0), time.Duration(0)
		for range rapid.IntRange(1, 600).Draw(rt, "roots") {
			step := time.Duration(rapid.IntRange(1, 3600).Draw(rt, "seconds")) * time.Second
			largest = max(largest, step)
			now = now.Add(step)
			seq += uint32(rapid.IntRange(1, 3000).Draw(rt, "segments"))
			h.Root = &blockmap.Root{Key: "k", Position: segment.NewID(1, seq)}
			h.addPoint(Point{Time: now, Root: *h.Root})
			h.forget(now)
		}
		if n := len(h.Points); n == 0 || n > maxPoints {
			rt.Fatalf("%d points", n)
		}
		begin := now.Add(-window)
		if first := h.Points[0]; first.Time.After(begin) && first.Root.Key != "" {
			rt.Fatalf("the oldest point is of %s, the window begins at %s", first.Time, begin)
		}
		if len(h.Points) > 1 && !h.Points[1].Time.After(begin) {
			rt.Fatal("a point that nobody needs is kept")
		}
		for i, p := range h.Points[1:] {
			if gap := p.Time.Sub(h.Points[i].Time); gap < 0 || gap > 2*(largest+window/(maxPoints/2)) {
				rt.Fatalf("points %d and %d are %s apart", i, i+1, gap)
			}
		}
		if position, roots := h.Needs(); position != h.Points[0].Root.Position || len(roots) < len(h.Points)-1 {
			rt.Fatalf("needs what is behind %s and %d roots", position, len(roots))
		}
	})
}

// TestStretch shows the segments of a history between two positions.
func TestStretch(t *testing.T) {
	id := segment.NewID
	h := &Head{Spans: []Span{{Writer: 1, To: 3}, {Writer: 4, To: 2}, {Writer: 9}}}
	for _, c := range []struct {
		after, last segment.ID
		want        []segment.ID
	}{
		{0, 0, nil},
		{0, id(1, 2), []segment.ID{id(1, 1), id(1, 2)}},
		{id(1, 2), id(4, 1), []segment.ID{id(1, 3), id(4, 1)}},
		{id(1, 3), id(9, 2), []segment.ID{id(4, 1), id(4, 2), id(9, 1), id(9, 2)}},
		{id(9, 2), id(9, 2), nil},
		{id(9, 2), id(9, 3), []segment.ID{id(9, 3)}},
	} {
		got := h.segmentsBetween(c.after, c.last)
		if got.len() != len(c.want) {
			t.Errorf("behind %s up to %s: %v", c.after, c.last, got)
			continue
		}
		for i, want := range c.want {
			if got.at(i) != want {
				t.Errorf("behind %s up to %s: segment %d is %s instead of %s", c.after, c.last, i, got.at(i), want)
			}
		}
	}
}

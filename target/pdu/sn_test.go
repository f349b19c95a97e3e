package pdu

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSNExamples(t *testing.T) {
	for _, c := range []struct {
		a, b SN
		less bool
	}{
		{0, 0, false},
		{0, 1, true},
		{1, 0, false},
		{0xffffffff, 0, true},
		{0, 0xffffffff, false},
		{0, 1<<31 - 1, true},
		{0, 1 << 31, false},
		{1 << 31, 0, false},
	} {
		if c.a.Less(c.b) != c.less {
			t.Errorf("%#x < %#x: not %v", c.a, c.b, c.less)
		}
	}
}

// Within half the number space an SN behaves as the integer that it stands for.
func TestSNIsOrderedAsIntegers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Uint32().Draw(t, "base")
		a := rapid.Int64Range(0, 1<<31-1).Draw(t, "a")
		b := rapid.Int64Range(0, 1<<31-1).Draw(t, "b")
		x, y := SN(base).Add(uint32(a)), SN(base).Add(uint32(b))
		if x.Less(y) != (a < b) || x.LessEq(y) != (a <= b) || int64(x.Sub(y)) != a-b {
			t.Fatalf("%d and %d after %#x: less %v, lesseq %v, sub %d", a, b, base, x.Less(y), x.LessEq(y), x.Sub(y))
		}
	})
}

func TestSNWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := SN(rapid.Uint32().Draw(t, "first"))
		size := rapid.Uint32Range(0, 1<<16).Draw(t, "size")
		off := rapid.Int32Range(-1<<17, 1<<17).Draw(t, "offset")
		last := first.Add(size - 1) // size 0: the window is closed
		if got, want := (first+SN(off)).In(first, last), off >= 0 && off < int32(size); got != want {
			t.Fatalf("%#x%+d in a window of %d: %v", first, off, size, got)
		}
	})
}

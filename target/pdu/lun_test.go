package pdu

import "testing"

func TestLUNRoundTrip(t *testing.T) {
	for n := range MaxLUN + 1 {
		lun, ok := EncodeLUN(n)
		if !ok {
			t.Fatalf("%d cannot be encoded", n)
		}
		if back, ok := DecodeLUN(lun); !ok || back != n {
			t.Fatalf("%d became %#x became %d, %v", n, lun, back, ok)
		}
	}
	for _, n := range []int{-1, MaxLUN + 1} {
		if lun, ok := EncodeLUN(n); ok {
			t.Errorf("%d was encoded as %#x", n, lun)
		}
	}
}

func TestDecodeLUN(t *testing.T) {
	for _, c := range []struct {
		lun uint64
		n   int
		ok  bool
	}{
		{0, 0, true},
		{0x0001000000000000, 1, true},
		{0x00ff000000000000, 255, true},
		{0x4000000000000000, 0, true}, // flat addressing may be used below 256 too
		{0x4100000000000000, 256, true},
		{0x7fff000000000000, MaxLUN, true},
		{0x0101000000000000, 0, false}, // bus 1
		{0x8001000000000000, 0, false}, // logical unit addressing
		{0xc101000000000000, 0, false}, // a well-known logical unit
		{0x0001000100000000, 0, false}, // second level
		{0x0001000000000001, 0, false},
	} {
		n, ok := DecodeLUN(c.lun)
		if ok != c.ok || ok && n != c.n {
			t.Errorf("%#016x: got %d, %v", c.lun, n, ok)
		}
	}
}

package sbc

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestCopyLists sends lists that are wrong in one place.
func TestCopyLists(t *testing.T) {
	r, _, _ := newPair(t)
	r.n.Portal = 1
	valid := func() []byte { return xcopyList(1, []*Device{r.d}, piece{n: 8, place: 8}) }
	set := func(at int, values ...byte) func() []byte {
		return func() []byte {
			b := valid()
			copy(b[at:], values)
			return b
		}
	}
	many := func(targets, segments int) func() []byte {
		return func() []byte {
			disks := make([]*Device, targets)
			for i := range disks {
				disks[i] = r.d
			}
			return xcopyList(1, disks, make([]piece, segments)...)
		}
	}
	tests := []struct {
		name  string
		list  func() []byte
		want  string
		field int // of the parameter list, if the sense data is to name one
	}{
		{"well formed", valid, "good", 0},
		{"nothing at all", func() []byte { return nil }, "good", 0},
		{"empty", many(0, 0), "good", 0},
		{"as many as can be", many(maxTargets, maxSegments), "good", 0},
		{"half a header", func() []byte { return valid()[:15] }, "5/1a00", 0},
		{"cut", func() []byte { b := valid(); return b[:len(b)-1] }, "5/1a00", 0},
		{"too long", func() []byte { return make([]byte, maxCopyList+1) }, "5/1a00", 0},
		{"list identifier that is not used", set(0, 1, 0x18), "5/2600", 0},
		{"results that may be discarded", set(0, 1, 0x10), "good", 0},
		{"a use of the identifier that is reserved", set(0, 1, 0x08), "5/2600", 1},
		{"inline data", set(12, 0, 0, 0, 1), "5/260b", 0},
		{"too many targets", many(maxTargets+1, 1), "5/2606", 0},
		{"too many segments", many(1, maxSegments+1), "5/2608", 0},
		{"too many of both", many(maxTargets+1, maxSegments+1), "5/1a00", 0},
		{"half a target", set(2, 0, 31), "5/1a00", 0},
		{"segments of 4 GiB", set(8, 255, 255, 255, 255), "5/1a00", 0},
		{"target by port name", set(16, 0xe0), "5/2607", 16},
		{"LU ID type", set(17, 0x80), "good", 0},
		{"null target", set(17, 0x20), "good", 0},
		{"a tape as target", set(17, 0x01), "5/2600", 17},
		{"designator too long", set(23, 21), "5/2600", 23},
		{"sectors of 4096", set(46, 0x10, 0), "5/2600", 45},
		{"target by T10 name", set(21, 0x01), "a/0d02", 0},
		{"stream to stream", set(48, 0x03), "5/2609", 48},
		{"segment of another length", set(51, 25), "5/2600", 50},
		{"no such source", set(53, 1), "a/0804", 0},
		{"no such destination", set(55, 1), "a/0804", 0},
	}
	for _, tt := range tests {
		x := r.xcopy(tt.list())
		if got := x.verdict(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			continue
		}
		if tt.field != 0 && (x.Sense[15]&0xc0 != 0x80 || int(binary.BigEndian.Uint16(x.Sense[16:])) != tt.field) {
			t.Errorf("%s: sense % x points elsewhere", tt.name, x.Sense)
		}
	}
}

// FuzzCopyList: whatever comes, what is taken for a list is inside of it and within the limits.
func FuzzCopyList(f *testing.F) {
	d := newRig(f).d
	for _, list := range [][]byte{
		nil,
		xcopyList(1, nil),
		xcopyList(1, []*Device{d, d}, piece{0, 1, 2, 3, 4}, piece{1, 0, 5, 6, 7}),
		bytes.Repeat([]byte{0xff}, 100),
	} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		l, failure := parseCopyList(p)
		if failure != nil {
			if failure.Code == 0 {
				t.Error("refused without a reason")
			}
			return
		}
		if len(l.targets) > maxTargets || len(l.segments) > maxSegments || copyHeader+cscdLength*len(l.targets)+segmentLength*len(l.segments) > len(p) {
			t.Errorf("%d targets and %d segments in %d bytes", len(l.targets), len(l.segments), len(p))
		}
		for _, s := range l.segments {
			if s.from.n != s.to.n || s.from.n > maxSegment {
				t.Errorf("segment %+v", s)
			}
		}
	})
}

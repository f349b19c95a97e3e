package scsi

import (
	"bytes"
	"testing"
)

func caching(first byte) []byte { return append([]byte{0x08, 18, first}, make([]byte, 17)...) }

func control(first, third byte) []byte {
	return []byte{0x0a, 10, first, 0x10, third, 0, 0, 0, 0, 0, 0, 0}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestModeSense reads current, changeable and default values in both forms.
func TestModeSense(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	short := []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0} // 2^33 blocks do not fit
	long := []byte{0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0}
	mask := append([]byte{0x0a, 10, 0x04, 0, 0x08}, make([]byte, 7)...)
	for _, tt := range []struct {
		name string
		cdb  []byte
		want []byte
	}{
		{"(6) caching", []byte{0x1a, 0, 0x08, 0, 255, 0}, join([]byte{31, 0, 0x10, 8}, short, caching(4))},
		{"(6) DBD", []byte{0x1a, 8, 0x08, 0, 255, 0}, join([]byte{23, 0, 0x10, 0}, caching(4))},
		{"(6) changeable", []byte{0x1a, 8, 0x4a, 0, 255, 0}, join([]byte{15, 0, 0x10, 0}, mask)},
		{"(6) default", []byte{0x1a, 8, 0x8a, 0, 255, 0}, join([]byte{15, 0, 0x10, 0}, control(2, 0))},
		{"(6) all", []byte{0x1a, 8, 0x3f, 0, 255, 0}, join([]byte{35, 0, 0x10, 0}, caching(4), control(2, 0))},
		{"(6) all, with subpages", []byte{0x1a, 8, 0x3f, 0xff, 255, 0}, join([]byte{35, 0, 0x10, 0}, caching(4), control(2, 0))},
		{"(6) cut", []byte{0x1a, 8, 0x3f, 0, 5, 0}, []byte{35, 0, 0x10, 0, 8}},
		{"(10) caching", []byte{0x5a, 0, 0x08, 0, 0, 0, 0, 0, 255, 0}, join([]byte{0, 34, 0, 0x10, 0, 0, 0, 8}, short, caching(4))},
		{"(10) long addresses", []byte{0x5a, 0x10, 0x08, 0, 0, 0, 0, 0, 255, 0}, join([]byte{0, 42, 0, 0x10, 1, 0, 0, 16}, long, caching(4))},
	} {
		if got := r.expect(n, tt.cdb, nil, "good").In; !bytes.Equal(got, tt.want) {
			t.Errorf("%s: % x, want % x", tt.name, got, tt.want)
		}
	}
	r.expect(n, []byte{0x1a, 0, 0xc8, 0, 255, 0}, nil, "5/3900") // saved values
	r.expect(n, []byte{0x1a, 0, 0x02, 0, 255, 0}, nil, "5/2400")
	r.expect(n, []byte{0x1a, 0, 0x08, 1, 255, 0}, nil, "5/2400")
}

// TestModeSelect changes pages, and looks at who is told.
func TestModeSelect(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.nexus("a"), r.nexus("b")
	sel := func(list []byte) string {
		return r.do(a, []byte{0x15, 0x10, 0, 0, byte(len(list)), 0}, list).verdict()
	}
	head := []byte{0, 0, 0, 0}
	block := func(size byte) []byte { return []byte{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, size, 0} }
	for _, tt := range []struct {
		name string
		list []byte
		want string
	}{
		{"nothing", nil, "good"},
		{"no pages", head, "good"},
		{"as it is", join(head, caching(4)), "good"},
		{"as it is, with a descriptor", join(block(2), caching(4)), "good"},
		{"other blocks", join(block(16), caching(4)), "5/2600"},
		{"a descriptor of 7 bytes", join([]byte{0, 0, 0, 7}, make([]byte, 7)), "5/2600"},
		{"a descriptor that is not there", []byte{0, 0, 0, 8}, "5/1a00"},
		{"what cannot change", join(head, caching(5)), "5/2600"},
		{"a page that is not there", join(head, []byte{0x02, 2, 0, 0}), "5/2600"},
		{"a page of another length", join(head, []byte{0x08, 2, 4, 0}), "5/2600"},
		{"a page that is cut", join(head, caching(0)[:10]), "5/1a00"},
		{"half a header", join(head, []byte{0x08}), "5/1a00"},
		{"a good one and a bad one", join(head, caching(0), control(2, 1)), "5/2600"},
	} {
		if got := sel(tt.list); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if r.u.Mode(0x08, 0) != 4 {
			t.Fatalf("%s: changed the cache", tt.name)
		}
		r.expect(b, turCDB, nil, "good") // and nobody was told
	}
	r.expect(a, []byte{0x15, 0x11, 0, 0, 4, 0}, head, "5/2400") // SP
	r.expect(a, []byte{0x15, 0x00, 0, 0, 4, 0}, head, "5/2400") // PF

	x := r.expect(a, []byte{0x15, 0x10, 0, 0, 24, 0}, join(head, caching(5)), "5/2600")
	if !bytes.Equal(x.Sense[15:18], []byte{0x88, 0, 6}) {
		t.Errorf("the field pointer is % x", x.Sense[15:18])
	}
	list := join([]byte{0, 0, 0, 0, 0, 0, 0, 0}, caching(0), control(6, 0))
	r.expect(a, []byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, byte(len(list)), 0}, list, "good")
	if r.u.Mode(0x08, 0) != 0 {
		t.Error("the cache is still on")
	}
	if x := r.expect(a, []byte{0xff, 0, 0, 0, 0, 0}, nil, "5/2000"); x.Sense[0] != 0x72 {
		t.Error("D_SENSE has no effect")
	}
	r.expect(a, turCDB, nil, "good")
	r.expect(b, turCDB, nil, "6/2a01")
	r.expect(b, turCDB, nil, "good")
	r.u.Reset(a)
	if r.u.Mode(0x08, 0) != 4 {
		t.Error("a reset did not bring the defaults back")
	}
}

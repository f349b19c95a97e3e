package sbc

import (
	"encoding/binary"
	"slices"
	"testing"
)

// TestCopyPage walks through VPD page 8F: its descriptors fill it, each once, in ascending order, and
// what it says of commands and limits is so.
func TestCopyPage(t *testing.T) {
	be := binary.BigEndian
	r := newRig(t)
	if std := r.good([]byte{0x12, 0, 0, 0, 255, 0}, nil, 255).In; std[5]&0x08 == 0 {
		t.Error("standard INQUIRY data without 3PC")
	}
	page := r.good([]byte{0x12, 1, 0x8f, 4, 0, 0}, nil, 1024).In
	if int(be.Uint16(page[2:])) != len(page)-4 || len(page)%4 != 0 {
		t.Fatalf("%d bytes, of which it says % x", len(page), page[:4])
	}
	var kinds []uint16
	found := map[uint16][]byte{}
	for b := page[4:]; len(b) > 0; {
		kind, n := be.Uint16(b), int(be.Uint16(b[2:]))
		kinds, found[kind] = append(kinds, kind), b[4:4+n]
		b = b[4+n:]
	}
	if want := []uint16{0, 1, 4, 8, 0x0c, 0x106, 0x108, 0x8001}; !slices.Equal(kinds, want) {
		t.Errorf("descriptors %x, want %x", kinds, want)
	}
	for at, commands := 1, found[1][:1+found[1][0]]; at < len(commands); {
		code, n := commands[at], int(commands[at+1])
		for _, action := range commands[at+2:][:n] {
			one := r.good([]byte{0xa3, 0x0c, 2, code, 0, action, 0, 0, 0, 0xff, 0, 0}, nil, 255).In
			if one[1]&7 != 3 {
				t.Errorf("operation %x/%x is not supported", code, action)
			}
		}
		at += 2 + n
	}
	limits := found[0]
	if got := r.populate(1, populateList(be.Uint32(limits[8:]), 0, 8)).verdict(); got != "good" {
		t.Errorf("a token with the longest timeout: %s", got)
	}
	if ranges := be.Uint16(limits[6:]); ranges != maxTokenRanges {
		t.Errorf("%d ranges", ranges)
	}
	if n := be.Uint16(found[0x108][2:]); int(n) != len(found[0x108])-4 || n%64 != 0 {
		t.Errorf("%d bytes of token types in %d", n, len(found[0x108]))
	}
	if n := be.Uint16(found[0x106][42:]); int(n) != len(found[0x106])-44 {
		t.Errorf("%d bytes of device features in %d", n, len(found[0x106]))
	}
}

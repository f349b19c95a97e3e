package sbc

import (
	"bytes"
	"testing"
)

// TestCDBs sends each command well and badly formed. Most of the bad ones have killed a target
// somewhere.
func TestCDBs(t *testing.T) {
	const last = testSectors - 1
	one, two := make([]byte, sector), make([]byte, 2*sector)
	tests := []struct {
		name string
		cdb  []byte
		out  []byte
		in   int
		want string
	}{
		{"READ(6)", []byte{0x08, 0, 0, 1, 1, 0}, nil, sector, "good"},
		{"READ(6) length 0 means 256", []byte{0x08, 0, 0, 1, 0, 0}, nil, 256 * sector, "good"},
		{"READ(6) beyond", []byte{0x08, 0x1f, 0xff, 0xff, 1, 0}, nil, sector, "5/2100"},
		{"READ(10)", cdb10(0x28, 0, 1, 1), nil, sector, "good"},
		{"READ(10) last", cdb10(0x28, 0, last, 1), nil, sector, "good"},
		{"READ(10) one beyond", cdb10(0x28, 0, last, 2), nil, 2 * sector, "5/2100"},
		{"READ(10) nothing at the end", cdb10(0x28, 0, testSectors, 0), nil, 0, "good"},
		{"READ(10) nothing beyond the end", cdb10(0x28, 0, testSectors+1, 0), nil, 0, "5/2100"},
		{"READ(10) RDPROTECT", cdb10(0x28, 0x20, 1, 1), nil, sector, "5/2400"},
		{"READ(10) DPO and FUA", cdb10(0x28, 0x18, 1, 1), nil, sector, "good"},
		{"READ(10) nothing expected", cdb10(0x28, 0, 1, 1), nil, 0, "good"},
		{"READ(10) too long", cdb10(0x28, 0, 0, maxTransfer+1), nil, sector, "5/2400"},
		{"READ(12)", cdb12(0xa8, 0, 1, 1), nil, sector, "good"},
		{"READ(12) 2 TiB", cdb12(0xa8, 0, 0, 1<<32-1), nil, sector, "5/2100"},
		{"READ(16)", cdb16(0x88, 0, 1, 1), nil, sector, "good"},
		{"READ(16) address that overflows", cdb16(0x88, 0, 1<<64-1, 2), nil, sector, "5/2100"},
		{"READ NACA", append(cdb10(0x28, 0, 1, 1)[:9], 0x04), nil, sector, "5/2400"},
		{"WRITE(6)", []byte{0x0a, 0, 0, 1, 1, 0}, one, 0, "good"},
		{"WRITE(10)", cdb10(0x2a, 0, 1, 1), one, 0, "good"},
		{"WRITE(10) one beyond", cdb10(0x2a, 0, last, 2), two, 0, "5/2100"},
		{"WRITE(10) WRPROTECT", cdb10(0x2a, 0x20, 1, 1), one, 0, "5/2400"},
		{"WRITE(10) without data", cdb10(0x2a, 0, 1, 1), nil, 0, "good"},
		{"WRITE(10) FUA without data", cdb10(0x2a, 0x08, 1, 1), nil, 0, "good"},
		{"WRITE(10) too long", cdb10(0x2a, 0, 0, maxTransfer+1), one, 0, "5/2400"},
		{"WRITE(12)", cdb12(0xaa, 0, 1, 1), one, 0, "good"},
		{"WRITE(16)", cdb16(0x8a, 0, 1, 1), one, 0, "good"},
		{"WRITE AND VERIFY(10)", cdb10(0x2e, 0, 1, 1), one, 0, "good"},
		{"WRITE AND VERIFY(10) without data", cdb10(0x2e, 0, 1, 1), nil, 0, "good"},
		{"WRITE AND VERIFY(12)", cdb12(0xae, 0x02, 1, 1), one, 0, "good"},
		{"WRITE AND VERIFY(16) BYTCHK 3", cdb16(0x8e, 0x06, 1, 1), one, 0, "5/2400"},
		{"VERIFY(10) of the medium", cdb10(0x2f, 0, 1, 1), nil, 0, "good"},
		{"VERIFY(10) same", cdb10(0x2f, 0x02, 100, 1), one, 0, "good"},
		{"VERIFY(10) without its data", cdb10(0x2f, 0x02, 100, 1), nil, 0, "5/2400"},
		{"VERIFY(12) one sector for all", cdb12(0xaf, 0x06, 100, 3), one, 0, "good"},
		{"VERIFY(16) BYTCHK 2", cdb16(0x8f, 0x04, 100, 3), one, 0, "5/2400"},
		{"VERIFY(16) beyond", cdb16(0x8f, 0, last, 2), nil, 0, "5/2100"},
		{"SYNCHRONIZE CACHE(10)", cdb10(0x35, 0, 0, 0), nil, 0, "good"},
		{"SYNCHRONIZE CACHE(16) IMMED", cdb16(0x91, 0x02, 0, 0), nil, 0, "good"},
		{"SYNCHRONIZE CACHE(16) beyond", cdb16(0x91, 0, last, 2), nil, 0, "5/2100"},
		{"PRE-FETCH(10)", cdb10(0x34, 0, 0, 1), nil, 0, "good"},
		{"PRE-FETCH(16) beyond", cdb16(0x90, 0, last, 2), nil, 0, "5/2100"},
		{"WRITE SAME(10)", cdb10(0x41, 0, 1, 5), one, 0, "good"},
		{"WRITE SAME(10) UNMAP", cdb10(0x41, 0x08, 1, 5), one, 0, "good"},
		{"WRITE SAME(10) ANCHOR", cdb10(0x41, 0x18, 1, 5), one, 0, "5/2400"},
		{"WRITE SAME(10) NDOB is for (16)", cdb10(0x41, 0x01, 1, 5), nil, 0, "5/2400"},
		{"WRITE SAME(10) without data", cdb10(0x41, 0, 1, 5), nil, 0, "5/2400"},
		{"WRITE SAME(10) with two sectors", cdb10(0x41, 0, 1, 5), two, 0, "5/2400"},
		{"WRITE SAME(16) NDOB", cdb16(0x93, 0x01, 1, 5), nil, 0, "good"},
		{"WRITE SAME(16) NDOB with data", cdb16(0x93, 0x01, 1, 5), one, 0, "5/2400"},
		{"WRITE SAME(16) all to the end, too much", cdb16(0x93, 0, 0, 0), one, 0, "5/2400"},
		{"WRITE SAME(16) to the end", cdb16(0x93, 0, last-9, 0), one, 0, "good"},
		{"WRITE SAME(16) beyond", cdb16(0x93, 0, last, 2), one, 0, "5/2100"},
		{"ORWRITE(16)", cdb16(0x8b, 0, 1, 1), one, 0, "good"},
		{"ORWRITE(16) without data", cdb16(0x8b, 0, 1, 1), nil, 0, "good"},
		{"ORWRITE(16) beyond", cdb16(0x8b, 0, last, 2), two, 0, "5/2100"},
		{"COMPARE AND WRITE", compareCDB(100, 1), two, 0, "good"},
		{"COMPARE AND WRITE nothing", compareCDB(100, 0), nil, 0, "good"},
		{"COMPARE AND WRITE half its data", compareCDB(100, 1), one, 0, "5/2400"},
		{"COMPARE AND WRITE without data", compareCDB(100, 1), nil, 0, "5/2400"},
		{"COMPARE AND WRITE too much", compareCDB(100, 255), make([]byte, 510*sector), 0, "5/2400"},
		{"COMPARE AND WRITE beyond", compareCDB(last, 2), make([]byte, 4*sector), 0, "5/2100"},
		{"UNMAP", cdb10(0x42, 0, 0, 24), unmapList(8, 8), 0, "good"},
		{"UNMAP no list", cdb10(0x42, 0, 0, 0), nil, 0, "good"},
		{"UNMAP list that does not come", cdb10(0x42, 0, 0, 24), nil, 0, "5/1a00"},
		{"UNMAP short list", cdb10(0x42, 0, 0, 7), make([]byte, 7), 0, "5/1a00"},
		{"UNMAP empty list", cdb10(0x42, 0, 0, 8), unmapList(), 0, "good"},
		{"UNMAP nothing", cdb10(0x42, 0, 0, 24), unmapList(8, 0), 0, "good"},
		{"UNMAP descriptors beyond the list", cdb10(0x42, 0, 0, 24), unmapList(8, 8, 16, 8)[:24], 0, "5/1a00"},
		{"UNMAP beyond", cdb10(0x42, 0, 0, 40), unmapList(8, 8, last, 2), 0, "5/2100"},
		{"UNMAP too many", cdb10(0x42, 0, 0, 8+16*257), unmapList(make([]uint64, 2*257)...), 0, "5/2600"},
		{"UNMAP ANCHOR", cdb10(0x42, 1, 0, 24), unmapList(8, 8), 0, "5/2400"},
		{"READ CAPACITY(10)", cdb10(0x25, 0, 0, 0), nil, 8, "good"},
		{"READ CAPACITY(10) with data-out", cdb10(0x25, 0, 0, 0), one, 0, "good"},
		{"READ CAPACITY(10) address without PMI", cdb10(0x25, 0, 1, 0), nil, 8, "5/2400"},
		{"READ CAPACITY(16)", cdb16(0x9e, 0x10, 0, 32), nil, 32, "good"},
		{"READ CAPACITY(16) 4 bytes", cdb16(0x9e, 0x10, 0, 4), nil, 4, "good"},
		{"READ CAPACITY(16) 4 GiB", cdb16(0x9e, 0x10, 0, 1<<32-1), nil, 32, "good"},
		{"SERVICE ACTION IN unknown", cdb16(0x9e, 0x11, 0, 32), nil, 32, "5/2400"},
		{"GET LBA STATUS", cdb16(0x9e, 0x12, 0, 24), nil, 24, "good"},
		{"GET LBA STATUS of nothing", cdb16(0x9e, 0x12, 0, 0), nil, 0, "good"},
		{"GET LBA STATUS beyond", cdb16(0x9e, 0x12, testSectors, 24), nil, 24, "5/2100"},
		{"READ DEFECT DATA(10)", cdb10(0x37, 0, 0, 8), nil, 8, "good"},
		{"READ DEFECT DATA(12)", cdb12(0xb7, 0, 0, 8), nil, 8, "good"},
		{"START STOP UNIT", []byte{0x1b, 0, 0, 0, 1, 0}, nil, 0, "good"},
		{"PREVENT ALLOW", []byte{0x1e, 0, 0, 0, 1, 0}, nil, 0, "good"},
		{"unknown", []byte{0xc0, 0, 0, 0, 0, 0}, nil, 0, "5/2000"},
	}
	r := newRig(t)
	for _, x := range []bool{false, true} { // both as if all were in memory, and as if nothing were
		if x {
			r.ram.hook = again
		}
		for _, tt := range tests {
			c := r.do(tt.cdb, tt.out, tt.in)
			if got := c.verdict(); got != tt.want {
				t.Errorf("%s (waits: %v): %s, want %s", tt.name, x, got, tt.want)
			}
			if lent := c.lent.Load(); lent > 2*maxTransfer*sector {
				t.Errorf("%s took %d bytes", tt.name, lent)
			}
		}
	}
}

func compareCDB(lba uint64, n byte) []byte {
	b := cdb16(0x89, 0, lba, 0)
	b[13] = n
	return b
}

// TestAdvertised reads the sizes that initiators plan with.
func TestAdvertised(t *testing.T) {
	r := newRig(t)
	if got, want := r.good(cdb10(0x25, 0, 0, 0), nil, 8).In, []byte{0, 0, 0x3f, 0xff, 0, 0, 2, 0}; !bytes.Equal(got, want) {
		t.Errorf("READ CAPACITY(10): %x, want %x", got, want)
	}
	want := append([]byte{0, 0, 0, 0, 0, 0, 0x3f, 0xff, 0, 0, 2, 0, 0, 3, 0xc0, 0}, make([]byte, 16)...)
	if got := r.good(cdb16(0x9e, 0x10, 0, 255), nil, 255).In; !bytes.Equal(got, want) {
		t.Errorf("READ CAPACITY(16): %x, want %x", got, want)
	}
	if got := r.good(cdb16(0x9e, 0x10, 0, 4), nil, 4); len(got.In) != 4 || got.Transfer != 4 {
		t.Errorf("READ CAPACITY(16) cut to 4: %d bytes, transfer %d", len(got.In), got.Transfer)
	}
	for page, length := range map[byte]int{0xb0: 64, 0xb1: 64, 0xb2: 8} {
		if got := r.good([]byte{0x12, 1, page, 1, 0, 0}, nil, 256).In; len(got) != length || got[1] != page {
			t.Errorf("VPD page %x: %d bytes % x", page, len(got), got)
		}
	}
}

// TestLBAStatus maps a range in the middle and asks from several places.
func TestLBAStatus(t *testing.T) {
	r := newRig(t)
	r.good(cdb10(0x2a, 0, 100, 8), bytes.Repeat([]byte{1}, 8*sector), 0)
	descriptor := func(lba, n uint16, status byte) []byte {
		return []byte{0, 0, 0, 0, 0, 0, byte(lba >> 8), byte(lba), 0, 0, byte(n >> 8), byte(n), status, 0, 0, 0}
	}
	all := bytes.Join([][]byte{{0, 0, 0, 52, 0, 0, 0, 0}, descriptor(0, 100, 1), descriptor(100, 8, 0), descriptor(108, testSectors-108, 1)}, nil)
	if got := r.good(cdb16(0x9e, 0x12, 0, 1000), nil, 1000).In; !bytes.Equal(got, all) {
		t.Errorf("all: %x, want %x", got, all)
	}
	middle := append([]byte{0, 0, 0, 20, 0, 0, 0, 0}, descriptor(103, 5, 0)...)
	if got := r.good(cdb16(0x9e, 0x12, 103, 24), nil, 24).In; !bytes.Equal(got, middle) {
		t.Errorf("one from the middle: %x, want %x", got, middle)
	}
}

// TestWriteProtected sets SWP and tries to change the medium.
func TestWriteProtected(t *testing.T) {
	r := newRig(t)
	page := append([]byte{0, 0, 0, 0}, 0x0a, 10, 0x02, 0x10, 0x08, 0, 0, 0, 0, 0, 0, 0)
	r.good([]byte{0x15, 0x10, 0, 0, byte(len(page)), 0}, page, 0)
	one := make([]byte, sector)
	for _, cdb := range [][]byte{
		cdb10(0x2a, 0, 1, 1), cdb16(0x8a, 0x08, 1, 1), cdb10(0x2e, 0, 1, 1), cdb16(0x8b, 0, 1, 1), cdb10(0x41, 0, 1, 1), cdb10(0x42, 0, 0, 24), compareCDB(1, 1),
	} {
		out := one
		switch cdb[0] {
		case 0x42:
			out = unmapList(1, 1)
		case 0x89:
			out = make([]byte, 2*sector)
		}
		if got := r.do(cdb, out, 0).verdict(); got != "7/2700" {
			t.Errorf("CDB %x on a write-protected disk: %s", cdb, got)
		}
	}
	r.good(cdb10(0x28, 0, 1, 1), nil, sector)
	if calls := r.ram.history(); len(calls) != 1 {
		t.Errorf("the disk saw %q", calls)
	}
}

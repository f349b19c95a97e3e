package sbc

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"

	"sluice/target/scsi"
)

func atomicCDB(flags byte, lba uint64, n uint16) []byte {
	b := cdb16(0x9c, flags, lba, 0)
	binary.BigEndian.PutUint16(b[12:], n)
	return b
}

// TestWriteAtomic: what is advertised can be written, and nothing else.
func TestWriteAtomic(t *testing.T) {
	a, _, _ := newPair(t)
	page := a.good([]byte{0x12, 1, 0xb0, 1, 0, 0}, nil, 256).In
	for at, want := range map[int]uint32{44: 512, 48: 8, 52: 8, 56: 0, 60: 0} {
		if got := binary.BigEndian.Uint32(page[at:]); got != want {
			t.Errorf("block limits, byte %d: %d, want %d", at, got, want)
		}
	}
	data := bytes.Repeat([]byte{7}, 1<<20)
	boundary := atomicCDB(0, 8, 8)
	boundary[11] = 8
	tests := []struct {
		name string
		cdb  []byte
		n    int
		want string
	}{
		{"one block", atomicCDB(0, 8, 8), 8, "good"},
		{"the longest", atomicCDB(0, 1024, 512), 512, "good"},
		{"nothing", atomicCDB(0, 8, 0), 0, "good"},
		{"with FUA", atomicCDB(8, 64, 8), 8, "good"},
		{"too long", atomicCDB(0, 0, 520), 520, "5/2400"},
		{"between blocks", atomicCDB(0, 1, 8), 8, "5/2400"},
		{"half a block", atomicCDB(0, 8, 4), 4, "5/2400"},
		{"with half its data", atomicCDB(0, 8, 16), 8, "5/2400"},
		{"in parts", boundary, 8, "5/2400"},
		{"protected", atomicCDB(0x20, 8, 8), 8, "5/2400"},
		{"beyond", atomicCDB(0, testSectors-8, 16), 16, "5/2100"},
	}
	for _, tt := range tests {
		a.ram.history()
		x := a.do(tt.cdb, data[:tt.n*sector], 0)
		if got := x.verdict(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if calls := len(a.ram.history()); (calls > 0) != (tt.want == "good" && tt.n > 0) {
			t.Errorf("%s: %d calls", tt.name, calls)
		}
	}
	if !bytes.Equal(a.bytes(1024, 512), data[:512*sector]) {
		t.Error("wrong data")
	}
	plain := newRig(t)
	if got := plain.do(atomicCDB(0, 8, 8), data[:4096], 0).verdict(); got != "5/2000" {
		t.Errorf("on a disk without atomic writes: %s", got)
	}
	if page := plain.good([]byte{0x12, 1, 0xb0, 1, 0, 0}, nil, 256).In; !bytes.Equal(page[44:], make([]byte, 20)) {
		t.Errorf("which advertises % x", page[44:])
	}
}

// tearing is a disk that calls halfway, once, in the middle of a read or a write.
type tearing struct {
	copyDisk
	reading, writing func()
}

func once(f *func()) {
	if g := *f; g != nil {
		*f = nil
		g()
	}
}

func (d *tearing) Write(_ context.Context, bufs [][]byte, offs []int64, _ bool) error {
	for i, p := range bufs {
		half := len(p) / 2
		copy(d.data[offs[i]:], p[:half])
		once(&d.writing)
		copy(d.data[offs[i]+int64(half):], p[half:])
	}
	return nil
}

func (d *tearing) Read(_ context.Context, p []byte, off int64, _ bool) error {
	half := copy(p[:len(p)/2], d.data[off:])
	once(&d.reading)
	copy(p[half:], d.data[off+int64(half):])
	return nil
}

// TestReadsSeeWritesWhole: a read that a write comes in the middle of sees all of it; and one that
// comes in the middle of a write waits for the rest.
func TestReadsSeeWritesWhole(t *testing.T) {
	ones := bytes.Repeat([]byte{1}, 8*sector)
	readCDB := cdb16(0x88, 0, 0, 8)
	for name, write := range map[string]struct{ cdb, out []byte }{
		"WRITE ATOMIC":      {atomicCDB(0, 0, 8), ones},
		"COMPARE AND WRITE": {compareCDB(0, 8), append(make([]byte, 8*sector), ones...)},
		"ORWRITE":           {cdb16(0x8b, 0, 0, 8), ones},
	} {
		t.Run(name+" in a read", func(t *testing.T) {
			disk := &tearing{copyDisk: copyDisk{newRAM()}}
			r := newRigOn(t, disk.ramDisk, disk)
			disk.reading = func() { r.good(write.cdb, write.out, 0) }
			if got := r.good(readCDB, nil, 8*sector).In; !bytes.Equal(got, ones) {
				t.Error("it saw a part")
			}
		})
		t.Run("a read in "+name, func(t *testing.T) {
			disk := &tearing{copyDisk: copyDisk{newRAM()}}
			r := newRigOn(t, disk.ramDisk, disk)
			x := command(r.d, r.n, readCDB, nil, 8*sector)
			disk.writing = func() { r.d.Submit(context.Background(), []*scsi.Command{&x.Command}) }
			r.good(write.cdb, write.out, 0)
			if got := x.wait(t).In; !bytes.Equal(got, ones) {
				t.Error("it saw a part")
			}
		})
	}
}

// TestReadsEndDespiteAtomicWrites: a read that whole writes get in the way of every time stops
// them in the end.
func TestReadsEndDespiteAtomicWrites(t *testing.T) {
	a, _, _ := newPair(t)
	p := make([]byte, 4096)
	var reads atomic.Int32
	a.ram.hook = func(ctx context.Context, op string, _ bool) error {
		if op == "read" && reads.Add(1) <= steadyTries+1 {
			return a.d.exclusive.alone(t.Context(), func() error { return a.d.whole(ctx, p, 0) })
		}
		return nil
	}
	x := command(a.d, a.n, cdb16(0x88, 0, 0, 8), nil, 4096)
	a.d.Submit(t.Context(), []*scsi.Command{&x.Command})
	if got := x.wait(t).verdict(); got != "good" {
		t.Error(got)
	}
	if n := reads.Load(); n != steadyTries+2 {
		t.Errorf("%d reads", n)
	}
}

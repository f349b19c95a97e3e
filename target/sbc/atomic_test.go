package sbc

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"sync"
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

// tearing is a disk whose writes and reads can be seen half done: sectors are copied one by one,
// and another goroutine gets its turn in between.
type tearing struct{ copyDisk }

func (d tearing) Write(_ context.Context, bufs [][]byte, offs []int64, _ bool) error {
	for i, p := range bufs {
		for at := 0; at < len(p); at += sector {
			d.mu.Lock()
			copy(d.data[offs[i]+int64(at):], p[at:at+sector])
			d.mu.Unlock()
			runtime.Gosched()
		}
	}
	return nil
}

func (d tearing) Read(_ context.Context, p []byte, off int64, _ bool) error {
	for at := 0; at < len(p); at += sector {
		d.mu.RLock()
		copy(p[at:at+sector], d.data[off+int64(at):])
		d.mu.RUnlock()
		runtime.Gosched()
	}
	return nil
}

// TestReadsSeeAtomicWritesWhole reads what WRITE ATOMIC and COMPARE AND WRITE write all the time.
func TestReadsSeeAtomicWritesWhole(t *testing.T) {
	ram := newRAM()
	r := newRigOn(t, ram, tearing{copyDisk{ram}})
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for i := byte(1); !stop.Load(); i++ {
			p := bytes.Repeat([]byte{i}, 8*sector)
			if i%2 == 0 {
				r.do(atomicCDB(0, 0, 8), p, 0)
			} else {
				r.do(compareCDB(0, 8), append(bytes.Clone(ram.data[:8*sector]), p...), 0)
			}
		}
	})
	for range 3000 {
		p := r.good(cdb16(0x88, 0, 0, 8), nil, 8*sector).In
		if !bytes.Equal(p, bytes.Repeat(p[:1], len(p))) {
			t.Error("a read saw a part of a write")
			break
		}
	}
	stop.Store(true)
	all.Wait()
}

// TestReadsEndDespiteAtomicWrites: a read that whole writes get in the way of every time stops
// them in the end.
func TestReadsEndDespiteAtomicWrites(t *testing.T) {
	a, _, _ := newPair(t)
	p := make([]byte, 4096)
	var reads atomic.Int32
	a.ram.hook = func(ctx context.Context, op string, _ bool) error {
		if op == "read" && reads.Add(1) <= steadyTries+1 {
			return a.d.alone(func() error { return a.d.whole(ctx, p, 0) })
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

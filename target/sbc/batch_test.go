package sbc

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sluice/target/scsi"
)

// submit sends commands as one batch and waits for all.
func (r *rig) submit(xs ...*exchange) {
	r.t.Helper()
	batch := make([]*scsi.Command, len(xs))
	for i, x := range xs {
		batch[i] = &x.Command
	}
	r.d.Submit(context.Background(), batch)
	for _, x := range xs {
		x.wait(r.t)
	}
}

func sectorOf(b byte) []byte { return bytes.Repeat([]byte{b}, sector) }

// TestBatch looks at what the disk sees of commands that arrive together.
func TestBatch(t *testing.T) {
	write := func(r *rig, lba uint32, b byte) *exchange {
		return command(r.d, r.n, cdb10(0x2a, 0, lba, 1), sectorOf(b), 0)
	}
	t.Run("plain writes are one call, in their order", func(t *testing.T) {
		r := newRig(t)
		r.submit(write(r, 5, 1), write(r, 9, 2), write(r, 5, 3))
		if got := r.ram.history(); !slices.Equal(got, []string{"write 5+1 9+1 5+1"}) {
			t.Errorf("the disk saw %q", got)
		}
		if r.ram.data[5*sector] != 3 {
			t.Error("of overlapping writes the last did not win")
		}
	})
	t.Run("a bad one does not hurt the others", func(t *testing.T) {
		r := newRig(t)
		bad := write(r, testSectors, 2)
		r.submit(write(r, 5, 1), bad, write(r, 6, 3))
		if got := r.ram.history(); bad.verdict() != "5/2100" || !slices.Equal(got, []string{"write 5+1 6+1"}) {
			t.Errorf("%s, and the disk saw %q", bad.verdict(), got)
		}
	})
	t.Run("a flush comes behind the writes before it", func(t *testing.T) {
		r := newRig(t)
		r.submit(write(r, 5, 1), command(r.d, r.n, cdb10(0x35, 0, 0, 0), nil, 0), write(r, 6, 1))
		got := r.ram.history()
		if first, flush := slices.Index(got, "write 5+1"), slices.Index(got, "flush"); first < 0 || flush < first {
			t.Errorf("the disk saw %q", got)
		}
	})
	t.Run("where the disk would wait, each write waits alone", func(t *testing.T) {
		r := newRig(t)
		r.ram.hook = again
		r.submit(write(r, 5, 1), write(r, 9, 2))
		got := r.ram.history()
		slices.Sort(got)
		if !slices.Equal(got, []string{"write 5+1", "write 5+1 9+1", "write 9+1"}) {
			t.Errorf("the disk saw %q", got)
		}
		if r.ram.data[5*sector] != 1 || r.ram.data[9*sector] != 2 {
			t.Error("writes are missing")
		}
	})
	t.Run("a batch that fails fails all of it", func(t *testing.T) {
		r := newRig(t)
		r.ram.hook = func(context.Context, string, bool) error { return syscall.ENOSPC }
		a, b := write(r, 5, 1), write(r, 6, 1)
		r.submit(a, b)
		if a.verdict() != "7/2707" || b.verdict() != "7/2707" {
			t.Errorf("%s, %s", a.verdict(), b.verdict())
		}
	})
}

// TestNoWaiting proves that Submit returns while the disk makes its commands wait.
func TestNoWaiting(t *testing.T) {
	r := newRig(t)
	open := make(chan struct{})
	r.ram.hook = func(_ context.Context, _ string, wait bool) error {
		if !wait {
			return syscall.EAGAIN
		}
		<-open
		return nil
	}
	var xs []*exchange
	for _, c := range []struct{ cdb, out []byte }{
		{cdb10(0x28, 0, 1, 1), nil},
		{cdb10(0x2a, 0, 1, 1), sectorOf(1)},
		{cdb10(0x2a, 8, 1, 1), sectorOf(1)},
		{cdb10(0x35, 0, 0, 0), nil},
		{cdb16(0x8b, 0, 1, 1), sectorOf(1)},
		{cdb10(0x28, 0, 2, 1), nil},
		{cdb10(0x2a, 0, 3, 1), sectorOf(1)},
		{cdb10(0x42, 0, 0, 24), unmapList(1, 1)},
		{cdb10(0x41, 0, 1, 1), sectorOf(2)},
	} {
		x := command(r.d, r.n, c.cdb, c.out, sector)
		xs = append(xs, x)
		r.d.Submit(t.Context(), []*scsi.Command{&x.Command})
	}
	for _, x := range xs {
		if x.count.Load() != 0 {
			t.Errorf("CDB %x completed while the disk was stuck", x.CDB)
		}
	}
	close(open)
	for _, x := range xs {
		if got := x.wait(t).verdict(); got != "good" {
			t.Errorf("CDB %x: %s", x.CDB, got)
		}
	}
}

// TestDurability lists when a flush must follow before the initiator is told.
func TestDurability(t *testing.T) {
	one := sectorOf(1)
	commands := []struct {
		name  string
		cdb   []byte
		out   []byte
		cache bool // whether it flushes even with the cache on
	}{
		{"WRITE(6)", []byte{0x0a, 0, 0, 1, 1, 0}, one, false},
		{"WRITE(10)", cdb10(0x2a, 0, 1, 1), one, false},
		{"WRITE(10) FUA", cdb10(0x2a, 0x08, 1, 1), one, true},
		{"WRITE(16) FUA", cdb16(0x8a, 0x08, 1, 1), one, true},
		{"WRITE AND VERIFY", cdb10(0x2e, 0, 1, 1), one, true},
		{"ORWRITE", cdb16(0x8b, 0, 1, 1), one, false},
		{"ORWRITE FUA", cdb16(0x8b, 0x08, 1, 1), one, true},
		{"COMPARE AND WRITE", compareCDB(100, 1), make([]byte, 2*sector), false},
		{"WRITE SAME", cdb10(0x41, 0, 1, 1), one, false},
		{"UNMAP", cdb10(0x42, 0, 0, 24), unmapList(1, 1), false},
		{"SYNCHRONIZE CACHE", cdb10(0x35, 0, 0, 0), nil, true},
	}
	for _, wce := range []byte{writeCache, 0} {
		for _, c := range commands {
			r := newRig(t)
			r.setCaching(wce)
			r.ram.history()
			r.good(c.cdb, c.out, 0)
			calls := r.ram.history()
			flushed := slices.Contains(calls, "flush")
			if want := c.cache || wce == 0; flushed != want {
				t.Errorf("%s with WCE %d: the disk saw %q", c.name, wce, calls)
			}
			if at := slices.Index(calls, "flush"); flushed && slices.ContainsFunc(calls[at:], func(s string) bool { return strings.HasPrefix(s, "write") }) {
				t.Errorf("%s with WCE %d wrote after its flush: %q", c.name, wce, calls)
			}
		}
	}
}

// TestNoWriteCache: a disk without one says so, cannot be given one, and flushes each write.
func TestNoWriteCache(t *testing.T) {
	r := newRig(t)
	var err error
	r.d, err = New(Options{
		Disk: r.ram, ID: [16]byte{1, 2, 3}, Target: "iqn.2026-01.test:disk", WriteThrough: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for control, want := range map[byte]byte{0: 0, 1: 0, 2: 0} { // current, changeable, default
		page := r.good([]byte{0x1a, 0x08, control<<6 | 0x08, 0, 255, 0}, nil, 255).In
		if got := page[4+2]; got != want {
			t.Errorf("page control %d: %#x", control, got)
		}
	}
	if v := r.do([]byte{0x15, 0x10, 0, 0, 24, 0}, append([]byte{0, 0, 0, 0, 0x08, 18, writeCache}, make([]byte, 17)...), 0).verdict(); v == "good" {
		t.Error("it was given a write cache")
	}
	r.ram.history()
	r.good(cdb10(0x2a, 0, 1, 1), sectorOf(1), 0)
	if calls := r.ram.history(); !slices.Equal(calls, []string{"write 1+1", "flush"}) {
		t.Errorf("the disk saw %q", calls)
	}
}

// TestWrite6HasNoFUA writes to a small disk's far end: bit 3 of byte 1 is part of the address.
func TestWrite6HasNoFUA(t *testing.T) {
	r := newRig(t)
	r.ram.data, r.ram.mapped = make([]byte, 0x80001*sector), make([]bool, 0x80001)
	r.good([]byte{0x0a, 0x08, 0, 0, 1, 0}, sectorOf(1), 0)
	if got := r.ram.history(); !slices.Equal(got, []string{"write 524288+1"}) {
		t.Errorf("the disk saw %q", got)
	}
}

// TestCompareAndWriteIsAtomic lets several initiators take a counter forward by COMPARE AND WRITE,
// while others write elsewhere.
func TestCompareAndWriteIsAtomic(t *testing.T) {
	r := newRig(t)
	const initiators, rounds = 4, 25
	var wg sync.WaitGroup
	for range initiators {
		wg.Go(func() {
			for done := 0; done < rounds; {
				now := r.good(cdb10(0x28, 0, 7, 1), nil, sector).In
				next := bytes.Clone(now)
				binary.BigEndian.PutUint64(next, binary.BigEndian.Uint64(now)+1)
				x := r.do(compareCDB(7, 1), append(bytes.Clone(now), next...), 0)
				switch v := x.verdict(); v {
				case "good":
					done++
				case "e/1d00":
				default:
					t.Error(v)
					return
				}
				r.good(cdb10(0x2a, 0, 9, 1), sectorOf(1), 0)
			}
		})
	}
	wg.Wait()
	if got := binary.BigEndian.Uint64(r.ram.data[7*sector:]); got != initiators*rounds {
		t.Errorf("the counter is at %d, want %d", got, initiators*rounds)
	}
}

// TestZeroingWaitsForCompareAndWrite sends an UNMAP between the reading and the writing of a
// COMPARE AND WRITE, which must not let it in.
func TestZeroingWaitsForCompareAndWrite(t *testing.T) {
	r := newRig(t)
	var unmap *exchange
	r.ram.hook = func(_ context.Context, op string, _ bool) error {
		if op == "read" {
			unmap = command(r.d, r.n, cdb10(0x42, 0, 0, 24), unmapList(7, 1), 0)
			r.d.Submit(context.Background(), []*scsi.Command{&unmap.Command})
			for range 1000 {
				runtime.Gosched()
			}
		}
		return nil
	}
	r.good(compareCDB(7, 1), append(sectorOf(0), sectorOf(1)...), 0)
	unmap.wait(t)
	if got := r.ram.history(); !slices.Equal(got, []string{"read 7+1", "write 7+1", "zero 7+1 true"}) {
		t.Errorf("the disk saw %q", got)
	}
}

// TestMiscompareOffset looks for the first byte that differs.
func TestMiscompareOffset(t *testing.T) {
	r := newRig(t)
	want := make([]byte, 4*sector)
	want[513] = 1
	x := r.do(compareCDB(0, 2), want, 0)
	if x.verdict() != "e/1d00" || x.Sense[0] != 0xf0 || binary.BigEndian.Uint32(x.Sense[3:]) != 513 {
		t.Errorf("%s, sense % x", x.verdict(), x.Sense)
	}
	if got := r.ram.history(); !slices.Equal(got, []string{"read 0+2"}) {
		t.Errorf("the disk saw %q", got)
	}
}

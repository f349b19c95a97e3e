package sbc

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/target/scsi"
)

// TestToken copies with a token inside a disk and to another, with the ranges cut differently.
func TestToken(t *testing.T) {
	for _, to := range []string{"same", "other"} {
		t.Run(to, func(t *testing.T) {
			a, b, _ := newPair(t)
			a.fill(0, 200, 3)
			want := append(bytes.Clone(a.bytes(16, 64)), a.bytes(100, 24)...)
			k := a.token(16, 64, 100, 24, 5000, 0)
			if kind, n := binary.BigEndian.Uint32(k), binary.BigEndian.Uint64(k[56:]); kind != rodVulnerable || n != 88*sector {
				t.Errorf("token of type %x for %d bytes", kind, n)
			}
			r := a
			if to == "other" {
				r = b
			}
			if got := r.use(9, useList(k, 0, 1000, 8, 2000, 80)).verdict(); got != "good" {
				t.Fatal(got)
			}
			if !bytes.Equal(append(bytes.Clone(r.bytes(1000, 8)), r.bytes(2000, 80)...), want) {
				t.Error("wrong data")
			}
			if got := r.use(10, useList(k, 60, 3000, 28)).verdict(); got != "good" {
				t.Fatal(got)
			}
			if !bytes.Equal(r.bytes(3000, 28), want[60*sector:]) {
				t.Error("wrong data from the middle")
			}
			info := r.info(10).In
			if len(info) != 36 || info[4] != scsi.WriteUsingToken || info[5] != 0x01 || info[15] != 0xf1 || binary.BigEndian.Uint64(info[16:]) != 28 {
				t.Errorf("what became of it: % x", info)
			}
		})
	}
}

// TestTokenEndsWithItsData: whatever changes a sector of it, the token is of no use afterwards.
// What changes its neighbours is nothing to it.
func TestTokenEndsWithItsData(t *testing.T) {
	one, two := make([]byte, sector), make([]byte, 2*sector)
	changes := []struct {
		name   string
		change func(a, b *rig, lba uint64) *exchange
	}{
		{"WRITE", func(a, _ *rig, lba uint64) *exchange { return a.do(cdb16(0x8a, 0, lba, 1), one, 0) }},
		{"WRITE FUA", func(a, _ *rig, lba uint64) *exchange { return a.do(cdb16(0x8a, 8, lba, 1), one, 0) }},
		{"WRITE AND VERIFY", func(a, _ *rig, lba uint64) *exchange { return a.do(cdb16(0x8e, 0, lba, 1), one, 0) }},
		{"WRITE SAME", func(a, _ *rig, lba uint64) *exchange {
			return a.do(cdb16(0x93, 0, lba, 1), bytes.Repeat([]byte{1}, sector), 0)
		}},
		{"WRITE SAME of zeros", func(a, _ *rig, lba uint64) *exchange { return a.do(cdb16(0x93, 8, lba, 1), one, 0) }},
		{"UNMAP", func(a, _ *rig, lba uint64) *exchange { return a.do(cdb10(0x42, 0, 0, 24), unmapList(lba, 1), 0) }},
		{"ORWRITE", func(a, _ *rig, lba uint64) *exchange { return a.do(cdb16(0x8b, 0, lba, 1), one, 0) }},
		{"COMPARE AND WRITE", func(a, _ *rig, lba uint64) *exchange { return a.do(compareCDB(lba, 1), two, 0) }},
		{"EXTENDED COPY", func(a, _ *rig, lba uint64) *exchange {
			return a.xcopy(xcopyList(0, []*Device{a.d}, piece{source: 4096, n: 1, place: lba}))
		}},
		{"EXTENDED COPY by another disk", func(a, b *rig, lba uint64) *exchange {
			return b.xcopy(xcopyList(0, []*Device{a.d, b.d}, piece{from: 1, n: 1, place: lba}))
		}},
		{"WRITE USING TOKEN", func(a, b *rig, lba uint64) *exchange { return a.use(5, useList(b.token(0, 1), 0, lba, 1)) }},
		{"WRITE USING TOKEN of zeros", func(a, _ *rig, lba uint64) *exchange { return a.use(5, useList(zeroToken(), 0, lba, 1)) }},
	}
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			a, b, _ := newPair(t)
			k := a.token(64, 8, 128, 8)
			use := func() string { return a.use(1, useList(k, 0, 1000, 8)).verdict() }
			for _, lba := range []uint64{63, 72, 127, 136} {
				if got := tt.change(a, b, lba).verdict(); got != "good" {
					t.Fatal(got)
				}
			}
			if got := use(); got != "good" {
				t.Fatalf("after a change of its neighbours: %s", got)
			}
			if got := tt.change(a, b, 135).verdict(); got != "good" {
				t.Fatal(got)
			}
			if got := use(); got != "5/2308" {
				t.Errorf("after a change of its data: %s", got)
			}
		})
	}
	t.Run("WRITE ATOMIC", func(t *testing.T) {
		a, _, _ := newPair(t)
		k := a.token(64, 8)
		a.good(atomicCDB(0, 64, 8), make([]byte, 4096), 0)
		if got := a.use(1, useList(k, 0, 1000, 8)).verdict(); got != "5/2308" {
			t.Error(got)
		}
	})
}

func zeroToken() []byte {
	b := make([]byte, tokenLength)
	binary.BigEndian.PutUint32(b, rodZero)
	binary.BigEndian.PutUint16(b[6:], tokenLength-8)
	return b
}

// TestTokenOfChangingData changes the data while it is being copied, after the first sector was
// read. The copy fails, and says how much of it is good.
func TestTokenOfChangingData(t *testing.T) {
	for _, offset := range []uint64{4096, 4097} { // copied by the disk, and in pieces
		a, _, _ := newPair(t)
		a.fill(0, 4096, 1)
		k := a.token(0, 4096)
		var once sync.Once
		a.ram.hook = func(_ context.Context, op string, _ bool) error {
			if op == "copy" || op == "read" {
				once.Do(func() {
					x := command(a.d, a.n, cdb16(0x8a, 0, 4000, 1), make([]byte, sector), 0)
					a.d.Submit(context.Background(), []*scsi.Command{&x.Command})
					x.wait(t)
				})
			}
			return nil
		}
		x := a.use(1, useList(k, 0, offset, 4096))
		if got := x.verdict(); got != "5/2308" {
			t.Errorf("to %d: %s", offset, got)
		}
		info := a.info(1).In
		if info[5] != 0x02 || info[12] != 2 || binary.BigEndian.Uint64(info[16:]) != 0 || !bytes.Equal(info[32:50], x.Sense) {
			t.Errorf("what became of it: % x", info)
		}
	}
}

// TestTokenWaitsForWrites: a token is not made while a write is under way, which would change
// its data unnoticed.
func TestTokenWaitsForWrites(t *testing.T) {
	a, _, _ := newPair(t)
	writing, goOn := make(chan struct{}), make(chan struct{})
	a.ram.hook = func(_ context.Context, op string, wait bool) error {
		if op == "write" && !wait {
			return again(context.Background(), op, wait)
		}
		if op == "write" {
			close(writing)
			<-goOn
		}
		return nil
	}
	w := command(a.d, a.n, cdb16(0x8a, 0, 0, 1), bytes.Repeat([]byte{7}, sector), 0)
	a.d.Submit(t.Context(), []*scsi.Command{&w.Command})
	<-writing
	list := populateList(0, 0, 8)
	p := command(a.d, a.n, tokenCDB(0x10, 1, len(list)), list, 0)
	a.d.Submit(t.Context(), []*scsi.Command{&p.Command})
	if p.count.Load() != 0 {
		t.Error("made during a write")
	}
	if info := a.info(1).In; info[5] != 0x11 {
		t.Errorf("not in progress: % x", info)
	}
	if got := a.populate(1, list).verdict(); got != "5/0016" {
		t.Errorf("the same list identifier again: %s", got)
	}
	close(goOn)
	w.wait(t)
	if got := p.wait(t).verdict(); got != "good" {
		t.Error(got)
	}
}

// TestTokenTimes: a token lasts as long as it was asked to, again after each use, and its end is
// told for a while.
func TestTokenTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newPair(t)
		if got := a.populate(77, populateList(10, 0, 8)).verdict(); got != "good" {
			t.Fatal(got)
		}
		k := bytes.Clone(a.info(77).In[38:])
		use := func() string { return a.use(1, useList(k, 0, 1000, 8)).verdict() }
		for range 3 {
			time.Sleep(9 * time.Second)
			if got := use(); got != "good" {
				t.Errorf("in time: %s", got)
			}
		}
		time.Sleep(11 * time.Second)
		if got := use(); got != "5/2307" {
			t.Errorf("too late: %s", got)
		}
		time.Sleep(2 * maxTimeout)
		if got := use(); got != "5/2304" {
			t.Errorf("when it is forgotten: %s", got)
		}
		if n := a.d.tokens.Load(); n != 0 {
			t.Errorf("%d tokens", n)
		}
		if got := a.populate(2, populateList(uint32(maxTimeout/time.Second)+1, 0, 8)).verdict(); got != "5/2600" {
			t.Errorf("for longer than is possible: %s", got)
		}
	})
}

// TestTokenLimit: of one disk only so many tokens are kept; those that have ended make room.
func TestTokenLimit(t *testing.T) {
	a, b, _ := newPair(t)
	for range maxTokens {
		a.token(0, 8)
	}
	if got := a.populate(1, populateList(0, 0, 8)).verdict(); got != "5/550d" {
		t.Errorf("one too many: %s", got)
	}
	b.token(0, 8) // of another disk
	a.good(cdb10(0x2a, 0, 0, 1), make([]byte, sector), 0)
	a.token(0, 8)
	if n := a.d.tokens.Load(); n != maxTokens {
		t.Errorf("%d tokens", n)
	}
	if err := a.d.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n, all := a.d.tokens.Load(), len(a.d.shared.list); n != 0 || all != 1 {
		t.Errorf("%d tokens of a disk that is gone, %d in all", n, all)
	}
}

// TestTokenRefusals sends lists that are wrong.
func TestTokenRefusals(t *testing.T) {
	a, b, p := newPair(t)
	k := a.token(0, 8)
	change := func(list []byte, at int, values ...byte) []byte {
		copy(list[at:], values)
		return list
	}
	wide := make([]uint64, 2*(maxTokenRanges+1))
	other := bytes.Clone(k)
	other[200] ^= 1
	tests := []struct {
		name   string
		action byte
		list   []byte
		want   string
	}{
		{"no list", 0x10, nil, "good"},
		{"half a list", 0x10, make([]byte, 15), "5/1a00"},
		{"no ranges", 0x10, populateList(0), "5/2600"},
		{"too many ranges", 0x10, populateList(0, wide...), "5/2608"},
		{"ranges beyond the list", 0x10, change(populateList(0, 0, 8), 14, 0, 32), "5/1a00"},
		{"length beyond the list", 0x10, change(populateList(0, 0, 8), 0, 1, 0), "5/1a00"},
		{"length short of the ranges", 0x10, change(populateList(0, 0, 8), 0, 0, 14), "5/2600"},
		{"beyond the disk", 0x10, populateList(0, testSectors-1, 2), "5/2100"},
		{"overlapping ranges", 0x10, populateList(0, 0, 8, 7, 2), "5/2600"},
		{"a type that we choose", 0x10, change(populateList(0, 0, 8), 2, 2), "good"},
		{"any type", 0x10, change(change(populateList(0, 0, 8), 2, 2), 8, 0x00, 0x80, 0xff, 0xff), "good"},
		{"a persistent token", 0x10, change(change(populateList(0, 0, 8), 2, 2), 8, 0x00, 0x80, 0x00, 0x02), "5/2600"},
		{"immediately", 0x10, change(populateList(0, 0, 8), 2, 1), "good"},
		{"half a list to write", 0x11, make([]byte, 535), "5/1a00"},
		{"more than the token has", 0x11, useList(k, 0, 100, 9), "5/2600"},
		{"behind the token", 0x11, useList(k, 9, 100, 0), "5/2600"},
		{"an offset that overflows", 0x11, useList(k, 1<<64-1, 100, 8), "5/2600"},
		{"a token of another type", 0x11, useList(change(bytes.Clone(k), 0, 0, 1), 0, 100, 8), "5/2301"},
		{"a corrupt token", 0x11, useList(change(bytes.Clone(k), 6, 0, 0), 0, 100, 8), "5/2305"},
		{"an unknown token", 0x11, useList(other, 0, 100, 8), "5/2304"},
		{"onto its own data, which is read first", 0x11, useList(k, 0, 4, 8), "good"},
		{"and is not what it was", 0x11, useList(k, 0, 100, 8), "5/2308"},
	}
	for _, tt := range tests {
		if got := a.do(tokenCDB(tt.action, 1, len(tt.list)), tt.list, 0).verdict(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	k = a.token(0, 8)
	p.barred = b.n.Initiator
	if got := b.use(1, useList(k, 0, 100, 8)).verdict(); got != "5/2304" {
		t.Errorf("by who may not use the disk: %s", got)
	}
	list := change(useList(k, 0, 100, 8), 2, 2) // DEL_TKN
	if got := a.use(1, list).verdict(); got != "good" {
		t.Error(got)
	}
	if got := a.use(1, list).verdict(); got != "5/2309" {
		t.Errorf("deleted: %s", got)
	}
}

// TestZeroToken writes zeros by a token that nobody made.
func TestZeroToken(t *testing.T) {
	a, _, _ := newPair(t)
	a.fill(0, 64, 5)
	want := append(make([]byte, 8*sector), a.bytes(8, 8)...)
	want = append(want, make([]byte, 8*sector)...)
	if got := a.use(1, useList(zeroToken(), 1<<40, 0, 8, 16, 8)).verdict(); got != "good" {
		t.Fatal(got)
	}
	if !bytes.Equal(a.bytes(0, 24), want) {
		t.Error("wrong data")
	}
	if info := a.info(1).In; binary.BigEndian.Uint64(info[16:]) != 16 {
		t.Errorf("what became of it: % x", info)
	}
}

// FuzzTokenLists: no list makes a token command touch what it may not, or panic.
func FuzzTokenLists(f *testing.F) {
	ram := newRAM()
	r := newRigOn(f, ram, bounded{ram})
	k := r.token(0, 8)
	f.Add(true, populateList(0, 0, 8, 16, 8))
	f.Add(false, useList(zeroToken(), 0, 100, 8))
	f.Add(false, useList(k, 3, 100, 2, 200, 3))
	f.Fuzz(func(t *testing.T, populate bool, list []byte) {
		action := byte(scsi.WriteUsingToken)
		if populate {
			action = scsi.PopulateToken
		}
		r := newRigOn(t, ram, copying{bounded{ram}})
		if !populate && len(list) >= 528 && list[3] == 1 { // a token that there is
			copy(list[16:], r.token(0, 8, 64, 64))
		}
		x := r.do(tokenCDB(action, 1, len(list)), list, 0)
		if got := x.verdict(); got == "4/4400" {
			t.Error("panic")
		}
		if x.Status == scsi.Good && len(list) > 0 {
			if got := r.info(1).verdict(); got != "good" {
				t.Errorf("information: %s", got)
			}
		}
	})
}

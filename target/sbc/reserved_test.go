package sbc

import (
	"context"
	"errors"
	"slices"
	"testing"

	"sluice/target/scsi"
)

// TestCacheTurnedOff: what was written while the write cache was on survives a loss of power
// once MODE SELECT that turns it off is answered.
func TestCacheTurnedOff(t *testing.T) {
	r := newRig(t)
	r.good(cdb10(0x2a, 0, 1, 1), sectorOf(1), 0)
	r.ram.history()
	r.setCaching(0)
	if got := r.ram.history(); !slices.Equal(got, []string{"flush"}) {
		t.Errorf("turned off: the disk saw %q", got)
	}
	r.setCaching(0)
	r.setCaching(writeCache)
	if got := r.ram.history(); len(got) != 0 {
		t.Errorf("turned on: the disk saw %q", got)
	}
	r.ram.hook = func(context.Context, string, bool) error { return errors.New("boom") }
	list := append([]byte{0, 0, 0, 0, 0x08, 18, 0}, make([]byte, 17)...)
	if got := r.do([]byte{0x15, 0x10, 0, 0, 24, 0}, list, 0).verdict(); got != "4/4400" {
		t.Errorf("a flush that fails: %s", got)
	}
}

// TestStartStop: stopping flushes, and all else does nothing.
func TestStartStop(t *testing.T) {
	for flags, want := range map[byte]string{
		0x00: "good flush", 0x01: "good", 0x04: "good", 0x02: "5/2400", 0x03: "5/2400", 0x10: "good flush", 0x11: "good",
	} {
		r := newRig(t)
		got := r.do([]byte{0x1b, 0, 0, 0, flags, 0}, nil, 0).verdict()
		for _, call := range r.ram.history() {
			got += " " + call
		}
		if got != want {
			t.Errorf("START STOP UNIT %#02x: %s, want %s", flags, got, want)
		}
	}
}

// TestReservedDisk sends commands of a disk while another initiator has it for itself (SBC-3
// table 13).
func TestReservedDisk(t *testing.T) {
	const no, yes = "status 18", "good"
	one := make([]byte, sector)
	for _, c := range []struct {
		name              string
		cdb, out          []byte
		exclusive, writes string
	}{
		{"READ", cdb10(0x28, 0, 0, 1), nil, no, yes},
		{"WRITE", cdb10(0x2a, 0, 0, 1), one, no, no},
		{"WRITE FUA", cdb10(0x2a, 8, 0, 1), one, no, no},
		{"WRITE AND VERIFY", cdb10(0x2e, 0, 0, 1), one, no, no},
		{"VERIFY", cdb10(0x2f, 0, 0, 1), nil, no, yes},
		{"SYNCHRONIZE CACHE", cdb10(0x35, 0, 0, 0), nil, no, no},
		{"PRE-FETCH", cdb10(0x34, 0, 0, 1), nil, no, yes},
		{"WRITE SAME", cdb10(0x41, 0, 0, 1), one, no, no},
		{"UNMAP", cdb10(0x42, 0, 0, 24), unmapList(0, 1), no, no},
		{"COMPARE AND WRITE", compareCDB(0, 1), make([]byte, 2*sector), no, no},
		{"ORWRITE", cdb16(0x8b, 0, 0, 1), one, no, no},
		{"GET LBA STATUS", cdb16(0x9e, 0x12, 0, 24), nil, no, yes},
		{"READ DEFECT DATA", cdb10(0x37, 0, 0, 8), nil, no, yes},
		{"READ CAPACITY(10)", cdb10(0x25, 0, 0, 0), nil, yes, yes},
		{"READ CAPACITY(16)", cdb16(0x9e, 0x10, 0, 32), nil, yes, yes},
		{"START", []byte{0x1b, 0, 0, 0, 1, 0}, nil, yes, yes},
		{"STOP", []byte{0x1b, 0, 0, 0, 0, 0}, nil, no, no},
		{"ALLOW MEDIUM REMOVAL", []byte{0x1e, 0, 0, 0, 0, 0}, nil, yes, yes},
		{"PREVENT MEDIUM REMOVAL", []byte{0x1e, 0, 0, 0, 1, 0}, nil, no, no},
	} {
		for typ, want := range map[byte]string{3: c.exclusive, 1: c.writes} {
			r := newRig(t)
			register := append(make([]byte, 15), 1, 0, 0, 0, 0, 0, 0, 0, 0)
			reserve := append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 16)...)
			r.good([]byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, register, 0)
			r.good([]byte{0x5f, 1, typ, 0, 0, 0, 0, 0, 24, 0}, reserve, 0)
			r.n = &scsi.Nexus{Initiator: "iqn.2026-01.test:b", Portal: 1}
			r.ram.history()
			if got := r.do(c.cdb, c.out, sector).verdict(); got != want {
				t.Errorf("%s under a reservation of type %d: %s, want %s", c.name, typ, got, want)
			}
			if got := r.ram.history(); want == no && len(got) != 0 {
				t.Errorf("%s under a reservation of type %d: the disk saw %q", c.name, typ, got)
			}
		}
	}
}

// TestFencedWrite lets a cluster fence an initiator off between the admission of its write and
// the end of its batch: the disk never sees the write.
func TestFencedWrite(t *testing.T) {
	keys := func(key, newKey byte) []byte {
		return append([]byte{0, 0, 0, 0, 0, 0, 0, key, 0, 0, 0, 0, 0, 0, 0, newKey}, make([]byte, 8)...)
	}
	register, reserve := []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, []byte{0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0}
	preemptAndAbort := []byte{0x5f, 5, 1, 0, 0, 0, 0, 0, 24, 0}
	for _, fence := range []bool{false, true} {
		r := newRig(t)
		peer := &scsi.Nexus{Initiator: "iqn.2026-01.test:peer", Portal: 1}
		r.good(register, keys(0, 1), 0)
		r.good(reserve, keys(1, 0), 0)
		mine := r.n
		r.n = peer
		r.good(register, keys(0, 2), 0)
		r.n = mine
		r.ram.history()
		r.ram.hook = func(_ context.Context, op string, _ bool) error {
			if op == "read" && fence {
				x := command(r.d, peer, preemptAndAbort, keys(2, 1), 0)
				r.d.Submit(t.Context(), []*scsi.Command{&x.Command})
				if got := x.wait(t).verdict(); got != "good" {
					t.Error(got)
				}
			}
			return nil
		}
		write := command(r.d, mine, cdb10(0x2a, 0, 5, 1), sectorOf(1), 0)
		read := command(r.d, mine, cdb10(0x28, 0, 0, 1), nil, sector) // in the course of which it is fenced off
		r.submit(write, read)
		want, calls := "good", []string{"read 0+1", "write 5+1"}
		if fence {
			want, calls = "status 18", calls[:1]
		}
		if got := r.ram.history(); write.verdict() != want || !slices.Equal(got, calls) {
			t.Errorf("fenced off: %v: %s, and the disk saw %q", fence, write.verdict(), got)
		}
	}
}

// vague is a disk that does not say how much of it is alike.
type vague struct{ *ramDisk }

func (vague) Mapped(context.Context, int64) (bool, int64, error) { return true, 0, nil }

// TestVagueDisk: GET LBA STATUS ends nevertheless.
func TestVagueDisk(t *testing.T) {
	r := newRig(t)
	r.d.disk = vague{r.ram}
	if got := len(r.good(cdb16(0x9e, 0x12, 0, 40), nil, 40).In); got != 40 {
		t.Errorf("%d bytes", got)
	}
}

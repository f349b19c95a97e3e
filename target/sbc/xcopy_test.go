package sbc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"sluice/target/scsi"
)

// TestCopyInside: whole blocks are copied by the disk, the rest is read and written.
func TestCopyInside(t *testing.T) {
	tests := []struct {
		name  string
		piece piece
		calls []string
	}{
		{"whole blocks", piece{source: 0, n: 64, place: 1024}, []string{"copy 1024<-0+64"}},
		{"neighbours", piece{source: 0, n: 64, place: 64}, []string{"copy 64<-0+64"}},
		{"ragged ends", piece{source: 3, n: 20, place: 1027}, []string{"copy 1032<-8+8", "read 3+5", "write 1027+5", "read 16+7", "write 1040+7"}},
		{"less than a block", piece{source: 3, n: 2, place: 1027}, []string{"read 3+2", "write 1027+2"}},
		{"over a boundary, no whole block", piece{source: 6, n: 4, place: 1030}, []string{"read 6+2", "write 1030+2", "read 8+2", "write 1032+2"}},
		{"another place in the block", piece{source: 0, n: 64, place: 1025}, []string{"read 0+64", "write 1025+64"}},
		{"many pieces", piece{source: 0, n: 5000, place: 6001}, []string{
			"read 0+2048", "write 6001+2048", "read 2048+2048", "write 8049+2048", "read 4096+904", "write 10097+904",
		}},
		{"onto itself, forwards", piece{source: 64, n: 64, place: 32}, []string{"read 64+64", "write 32+64"}},
		{"onto itself, backwards", piece{source: 0, n: 3000, place: 8}, []string{"read 952+2048", "write 960+2048", "read 0+952", "write 8+952"}},
		{"nothing", piece{source: 0, n: 0, place: 8}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _, _ := newPair(t)
			r.fill(0, testSectors, 0)
			want := bytes.Clone(r.bytes(tt.piece.source, tt.piece.n))
			if got := r.xcopy(xcopyList(1, []*Device{r.d}, tt.piece)).verdict(); got != "good" {
				t.Fatal(got)
			}
			if !bytes.Equal(r.bytes(tt.piece.place, tt.piece.n), want) {
				t.Error("wrong data")
			}
			if got := r.ram.history(); !slices.Equal(got, tt.calls) {
				t.Errorf("calls %q, want %q", got, tt.calls)
			}
		})
	}
}

// TestCopyModel copies between and inside two disks, and compares with what copies of arrays give.
func TestCopyModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const sectors, area = 6000, 4000
		a, b, _ := newPairOf(t, sectors)
		rigs, disks := []*rig{a, b}, []*Device{a.d, b.d}
		a.fill(0, sectors, 1)
		b.fill(0, sectors, 2)
		model := [][]byte{bytes.Clone(a.ram.data), bytes.Clone(b.ram.data)}
		var pieces []piece
		for range rapid.IntRange(0, 5).Draw(rt, "segments") {
			p := piece{
				from: rapid.IntRange(0, 1).Draw(rt, "from"), to: rapid.IntRange(0, 1).Draw(rt, "to"),
				source: rapid.Uint64Range(0, area).Draw(rt, "source"), place: rapid.Uint64Range(0, area).Draw(rt, "place"),
				n: rapid.Uint64Range(0, sectors-area).Draw(rt, "n"),
			}
			pieces = append(pieces, p)
			copy(model[p.to][p.place*sector:], bytes.Clone(model[p.from][p.source*sector:(p.source+p.n)*sector]))
		}
		if got := rigs[rapid.IntRange(0, 1).Draw(rt, "by")].xcopy(xcopyList(0, disks, pieces...)).verdict(); got != "good" {
			rt.Fatal(got)
		}
		for i, r := range rigs {
			if !bytes.Equal(r.ram.data, model[i]) {
				rt.Fatalf("disk %d differs", i)
			}
		}
	})
}

// TestCopyOfPlainDisk: a disk that cannot copy, or finds that it cannot, is read and written.
func TestCopyOfPlainDisk(t *testing.T) {
	plain := newRig(t)
	unable, _, _ := newPair(t)
	unable.ram.hook = func(_ context.Context, op string, _ bool) error {
		if op == "copy" {
			return errors.ErrUnsupported
		}
		return nil
	}
	for _, r := range []*rig{plain, unable} {
		r.fill(0, 64, 9)
		if got := r.xcopy(xcopyList(1, []*Device{r.d}, piece{n: 64, place: 1024})).verdict(); got != "good" {
			t.Error(got)
		}
		if !bytes.Equal(r.bytes(0, 64), r.bytes(1024, 64)) {
			t.Error("wrong data")
		}
	}
}

// failSecond is a hook that fails the second call of an operation.
func failSecond(op string) func(context.Context, string, bool) error {
	var calls atomic.Int32
	return func(_ context.Context, called string, _ bool) error {
		if called == op && calls.Add(1) == 2 {
			return errors.New("boom")
		}
		return nil
	}
}

// TestCopyFailures: what is wrong is said, and where, and nothing behind it is done.
func TestCopyFailures(t *testing.T) {
	good := piece{n: 8, place: 1024}
	stranger := [16]byte{0x60, 9, 9}
	tests := []struct {
		name    string
		arrange func(a, b *rig, p *peers)
		second  piece
		want    string
		missing uint64
	}{
		{"the source ends", nil, piece{source: testSectors - 1, n: 2}, "a/0000", 2},
		{"the destination ends", nil, piece{n: 2, place: testSectors - 1}, "a/0000", 2},
		{"an address that overflows", nil, piece{n: 2, place: 1<<64 - 1}, "a/0000", 2},
		{"a target that is not listed", nil, piece{to: 2, n: 3}, "a/0804", 3},
		{"no such disk", func(_, b *rig, _ *peers) { b.d.naa = stranger }, piece{to: 1, n: 3}, "a/0d02", 3},
		{"not allowed there", func(a, _ *rig, p *peers) { p.barred = a.n.Initiator }, piece{from: 1, n: 3}, "a/0d02", 3},
		{"reserved there", func(_, b *rig, _ *peers) { b.on("other").good([]byte{0x16, 0, 0, 0, 0, 0}, nil, 0) }, piece{from: 1, n: 3}, "a/0d01", 3},
		{"going away", func(_, b *rig, _ *peers) { _ = b.d.Close(context.Background()) }, piece{to: 1, n: 3}, "a/0d01", 3},
		{"write protected", func(_, b *rig, _ *peers) {
			page := append([]byte{0, 0, 0, 0}, 0x0a, 10, 0x02, 0x10, 0x08, 0, 0, 0, 0, 0, 0, 0)
			b.good([]byte{0x15, 0x10, 0, 0, byte(len(page)), 0}, page, 0)
		}, piece{to: 1, n: 3}, "a/2700", 3},
		{"cannot be read", func(_, b *rig, _ *peers) {
			b.ram.hook = failSecond("read")
		}, piece{from: 1, n: 3000, place: 4096}, "a/1100", 3000 - 2048},
		{"cannot be written", func(_, b *rig, _ *peers) {
			b.ram.hook = failSecond("write")
		}, piece{to: 1, n: 3000, place: 4096}, "a/0c00", 3000 - 2048},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b, p := newPair(t)
			list := xcopyList(5, []*Device{a.d, b.d}, good, tt.second, piece{n: 8, place: 2048})
			a.fill(0, 8, 1)
			if tt.arrange != nil {
				tt.arrange(a, b, p)
			}
			x := a.xcopy(list)
			if got := x.verdict(); got != tt.want {
				t.Fatalf("%s, want %s", got, tt.want)
			}
			if info, index := binary.BigEndian.Uint32(x.Sense[3:]), binary.BigEndian.Uint32(x.Sense[8:]); x.Sense[0] != 0xf0 || uint64(info) != tt.missing || index != 1 {
				t.Errorf("sense % x: %d sectors of segment %d", x.Sense, info, index)
			}
			if !bytes.Equal(a.bytes(1024, 8), a.bytes(0, 8)) || !bytes.Equal(a.bytes(2048, 8), make([]byte, 8*sector)) {
				t.Error("not exactly the first segment was copied")
			}
			status := a.received(scsi.CopyStatus, 5)
			moved := uint32(8*sector) + uint32(tt.second.n-tt.missing)*sector
			if want := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8, 2, 0, 1, 0}, moved); !bytes.Equal(status.In, want) {
				t.Errorf("status %x, want %x", status.In, want)
			}
			details := a.received(scsi.FailedSegmentDetails, 5).In
			if len(details) != 60+18 || details[56] != 2 || details[59] != 18 || !bytes.Equal(details[60:], x.Sense) {
				t.Errorf("details % x", details)
			}
		})
	}
}

// TestCopyToNowhere: segments that name a null device are processed, but nothing is copied.
func TestCopyToNowhere(t *testing.T) {
	r, _, _ := newPair(t)
	r.fill(0, 16, 1)
	list := xcopyList(1, []*Device{r.d, r.d}, piece{to: 1, n: 8, place: 1024}, piece{from: 1, n: 8, place: 1024}, piece{n: 8, place: 2048})
	list[16+32+1] = 0x20
	if got := r.xcopy(list).verdict(); got != "good" {
		t.Fatal(got)
	}
	if !bytes.Equal(r.bytes(1024, 8), make([]byte, 8*sector)) || !bytes.Equal(r.bytes(2048, 8), r.bytes(0, 8)) {
		t.Error("wrong data")
	}
	if got, want := r.received(scsi.CopyStatus, 1).In, []byte{0, 0, 0, 8, 1, 0, 3, 0, 0, 0, 0x10, 0}; !bytes.Equal(got, want) {
		t.Errorf("status %x, want %x", got, want)
	}
}

// TestCopyResults asks for copies that have ended well, and for those that nobody knows.
func TestCopyResults(t *testing.T) {
	r, _, _ := newPair(t)
	if got := r.received(scsi.CopyStatus, 1).verdict(); got != "5/2400" {
		t.Errorf("status of nothing: %s", got)
	}
	r.xcopy(xcopyList(1, []*Device{r.d}, piece{n: 8, place: 8}, piece{n: 8, place: 16}))
	if got, want := r.received(scsi.CopyStatus, 1).In, []byte{0, 0, 0, 8, 1, 0, 2, 0, 0, 0, 0x20, 0}; !bytes.Equal(got, want) {
		t.Errorf("status %x, want %x", got, want)
	}
	if got := r.received(scsi.FailedSegmentDetails, 1).In; !bytes.Equal(got, []byte{0, 0, 0, 0}) {
		t.Errorf("details of no failure: %x", got)
	}
	if got := r.on("other").received(scsi.CopyStatus, 1).verdict(); got != "5/2400" {
		t.Errorf("status of somebody else's copy: %s", got)
	}
	if got := r.info(1).verdict(); got != "5/2400" {
		t.Errorf("token of EXTENDED COPY: %s", got)
	}
	silent := xcopyList(0, []*Device{r.d}, piece{n: 8, place: 8})
	silent[1] = 0x18
	r.xcopy(silent)
	if got := r.received(scsi.CopyStatus, 0).verdict(); got != "5/2400" {
		t.Errorf("status of a copy that is not to be remembered: %s", got)
	}
	for id := range 200 { // more than are remembered
		r.xcopy(xcopyList(byte(id), []*Device{r.d}))
	}
	if n := len(r.d.jobs.list); n != maxJobs {
		t.Errorf("%d copies are remembered", n)
	}
	r.d.Detach(r.n)
	if got := r.received(scsi.CopyStatus, 199).verdict(); got != "5/2400" {
		t.Errorf("status after the session has ended: %s", got)
	}
	p := r.received(scsi.CopyOperatingParameters, 0).In
	be := binary.BigEndian
	if len(p) != 46 || be.Uint32(p) != 42 || be.Uint16(p[8:]) != maxTargets || be.Uint16(p[10:]) != maxSegments || be.Uint32(p[12:]) != 2048 || !bytes.Equal(p[43:], []byte{2, 2, 0xe4}) {
		t.Errorf("operating parameters % x", p)
	}
}

// TestCopyAbort aborts a copy that waits for the bucket, and one that another disk waits for.
func TestCopyAbort(t *testing.T) {
	for _, by := range []string{"abort", "reset of the other disk", "withdrawal of the other disk", "fence of the other disk"} {
		t.Run(by, func(t *testing.T) {
			a, b, _ := newPair(t)
			reading := make(chan struct{})
			b.ram.hook = func(ctx context.Context, op string, _ bool) error {
				if op != "read" {
					return nil
				}
				close(reading)
				<-ctx.Done()
				return ctx.Err()
			}
			list := xcopyList(1, []*Device{a.d, b.d}, piece{from: 1, n: 8})
			x := command(a.d, a.n, cdb16(0x83, 0, 0, uint32(len(list))), list, 0)
			if by == "fence of the other disk" {
				register(b, "other", 2)
				register(b, b.n.Initiator, 1)
			}
			a.d.Submit(t.Context(), []*scsi.Command{&x.Command})
			<-reading
			want := "a/0d01"
			switch by {
			case "abort":
				a.d.Abort(&x.Command)
				want = "status 40"
			case "reset of the other disk":
				b.d.Reset(nil)
			case "withdrawal of the other disk":
				if err := b.d.Close(t.Context()); err != nil {
					t.Error(err)
				}
			default:
				b.on("other").good([]byte{0x5f, 5, 3, 0, 0, 0, 0, 0, 24, 0}, reserveList(2, 1), 0)
			}
			if got := x.wait(t).verdict(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func reserveList(key, action uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, key)
	return append(binary.BigEndian.AppendUint64(b, action), make([]byte, 8)...)
}

func register(r *rig, initiator string, key uint64) {
	r.on(initiator).good([]byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, reserveList(0, key), 0)
}

// TestCopyUnderReservation: who has registered with the other disk may copy there, also
// though that was through another session.
func TestCopyUnderReservation(t *testing.T) {
	a, b, _ := newPair(t)
	register(b, "other", 2)
	b.on("other").good([]byte{0x5f, 1, 5, 0, 0, 0, 0, 0, 24, 0}, reserveList(2, 0), 0) // write exclusive, registrants only
	to := xcopyList(1, []*Device{a.d, b.d}, piece{to: 1, n: 8})
	from := xcopyList(2, []*Device{a.d, b.d}, piece{from: 1, n: 8})
	if got := a.xcopy(to).verdict(); got != "a/0d01" {
		t.Errorf("not registered, writing: %s", got)
	}
	if got := a.xcopy(from).verdict(); got != "good" {
		t.Errorf("not registered, reading: %s", got)
	}
	register(b, a.n.Initiator, 1)
	if got := a.xcopy(to).verdict(); got != "good" {
		t.Errorf("registered: %s", got)
	}
}

package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var testRecords = []Record{
	{Op: OpWrite, Segment: testHeader.ID, Number: 0, Slot: 0, Runs: []Run{{Start: 8, Count: 2}}, CRCs: []uint32{0x11111111, 0x22222222}},
	{Op: OpWrite, Segment: testHeader.ID, Number: 1, Slot: 2, Runs: []Run{{100, 1}, {9, 2}}, CRCs: []uint32{1, 2, 3}},
	{Op: OpZero, Segment: testHeader.ID, Number: 2, Runs: []Run{{0, 1 << 31}}},
	{Op: OpUnmap, Segment: testHeader.ID, Number: 3, Runs: []Run{{maxBlock - 1, 1}, {7, 7}, {7, 7}}},
	{
		Op: OpCopy, Segment: testHeader.ID, Number: 4, Runs: []Run{{40, 2}, {1 << 20, 1}},
		From: []Name{NewName(NewID(7, 2), Slots-2), NewName(NewID(1, 1), 0)}, CRCs: []uint32{4, 5, 6},
	},
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Record{
			Op:      rapid.SampledFrom([]Op{OpWrite, OpZero, OpUnmap, OpCopy}).Draw(t, "op"),
			Segment: ID(rapid.Uint64Range(2, uint64(NewID(MaxWriter, MaxSequence))).Draw(t, "id")),
			Number:  rapid.Uint32().Draw(t, "number"),
			Runs:    drawRuns(t, 8),
		}
		if want.Op == OpWrite {
			want.Slot = uint32(rapid.IntRange(0, Slots-40).Draw(t, "slot"))
			for _, r := range want.Runs {
				for range r.Count {
					want.CRCs = append(want.CRCs, rapid.Uint32().Draw(t, "crc"))
				}
			}
		}
		size := RecordSize(len(want.Runs), len(want.CRCs))
		if want.Op == OpCopy {
			want.Runs, want.From, want.CRCs = drawCopy(t, want.Segment)
			size = CopySize(len(want.Runs), len(want.CRCs))
		}
		b := AppendRecord([]byte("before"), &want)[6:]
		if len(b) != size || len(b)%8 != 0 {
			t.Fatalf("record has %d bytes and should have %d", len(b), size)
		}
		got, n, err := ParseRecord(append(b, "behind"...), want.Segment)
		if err != nil || n != len(b) {
			t.Fatalf("ParseRecord = %d, %v; want %d", n, err, len(b))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRecordDoesNotTouchItsInput(t *testing.T) {
	b := AppendRecord(nil, &testRecords[1])
	b = append(b, bytes.Repeat([]byte{0xee}, 64)...)
	before := bytes.Clone(b)
	if _, _, err := ParseRecord(b, testHeader.ID); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, b) {
		t.Error("ParseRecord changed the bytes that it was given")
	}
}

func TestRecordDetectsEveryFlip(t *testing.T) {
	for _, r := range testRecords {
		b := AppendRecord(nil, &r)
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if _, _, err := ParseRecord(b, testHeader.ID); !errors.Is(err, ErrRecord) {
					t.Errorf("%s: bit %d of byte %d flipped: error %v", r.Op, bit, i, err)
				}
				b[i] ^= 1 << bit
			}
		}
		for n := range b {
			if _, _, err := ParseRecord(b[:n], testHeader.ID); !errors.Is(err, ErrRecord) {
				t.Errorf("%s cut to %d bytes: error %v", r.Op, n, err)
			}
		}
	}
}

// What a sum cannot find: records whose parts do not agree.
func TestRecordRefusesNonsense(t *testing.T) {
	le := binary.LittleEndian
	for name, change := range map[string]func(b []byte){
		"unknown op":             func(b []byte) { b[12] = 4 },
		"op 0":                   func(b []byte) { b[12] = 0 },
		"zero with sums":         func(b []byte) { b[12] = byte(OpZero) },
		"flag":                   func(b []byte) { b[14] = 1 },
		"reserved":               func(b []byte) { b[recordFixed+12] = 1 },
		"padding":                func(b []byte) { b[len(b)-1] = 1 },
		"slot behind the end":    func(b []byte) { le.PutUint32(b[28:], Slots-1) },
		"slot that overflows":    func(b []byte) { le.PutUint32(b[28:], 1<<32-1) },
		"empty run":              func(b []byte) { le.PutUint32(b[recordFixed+8:], 0) },
		"too few sums":           func(b []byte) { le.PutUint32(b[recordFixed+8:], 3) },
		"block number too large": func(b []byte) { le.PutUint64(b[recordFixed:], maxBlock) },
		"block number overflows": func(b []byte) { le.PutUint64(b[recordFixed:], 1<<64-1) },
		"number of runs":         func(b []byte) { le.PutUint32(b[32:], 1<<28) },
		"number of sums":         func(b []byte) { le.PutUint32(b[36:], 1<<30) },
		"no runs":                func(b []byte) { le.PutUint32(b[32:], 0); le.PutUint32(b[36:], 7) },
		"length":                 func(b []byte) { le.PutUint32(b[8:], uint32(len(b)-8)) },
		"length beyond":          func(b []byte) { le.PutUint32(b[8:], 1<<32-8) },
	} {
		t.Run(name, func(t *testing.T) {
			b := AppendRecord(nil, &testRecords[1]) // has padding
			change(b)
			le.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
			if r, _, err := ParseRecord(b, testHeader.ID); !errors.Is(err, ErrRecord) {
				t.Errorf("parsed as %+v, error %v", r, err)
			}
		})
	}
	if _, _, err := ParseRecord(AppendRecord(nil, &testRecords[0]), testHeader.ID+1); !errors.Is(err, ErrRecord) {
		t.Errorf("record of another segment: error %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, r := range testRecords {
		f.Add(AppendRecord(nil, &r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// With its sum made right, the fuzzer comes behind it.
		if len(b) >= recordFixed {
			n := min(len(b), max(8, int(binary.LittleEndian.Uint32(b[8:]))))
			binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:n], castagnoli))
		}
		r, n, err := ParseRecord(b, testHeader.ID)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("error %v is no ErrRecord", err)
			}
			return
		}
		if again := AppendRecord(nil, &r); !bytes.Equal(again, b[:n]) {
			t.Errorf("encoded again, the record is\n%x, not\n%x", again, b[:n])
		}
	})
}

package segment

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// update writes the golden files of the current version. Those of a version that was
// released are never written again: this program must read them for ever.
var update = flag.Bool("update", false, "write the golden files")

// sealedAt is when the segments of the golden files, and of other tests, were sealed.
var sealedAt = time.Date(2026, 11, 23, 7, 30, 0, 123e6, time.UTC)

// goldenRecords is what testdata/golden/v1.* holds: two appends, of which the second
// overwrites a block of the first, then a zeroed and an unmapped run.
func goldenRecords(slots []byte) []Record {
	crcs := checksums(slots)
	id := testHeader.ID
	return []Record{
		{Op: OpWrite, Segment: id, Number: 0, Slot: 0, Runs: []Run{{1000, 2}, {1 << 33, 1}}, CRCs: crcs[:3]},
		{Op: OpWrite, Segment: id, Number: 1, Slot: 3, Runs: []Run{{1001, 1}, {7, 1}}, CRCs: crcs[3:5]},
		{Op: OpZero, Segment: id, Number: 2, Runs: []Run{{8, 100}}},
		{Op: OpUnmap, Segment: id, Number: 3, Runs: []Run{{50, 600}, {5000, 1}}},
	}
}

func goldenState(crcs []uint32) []Extent {
	return []Extent{
		{Op: OpWrite, Run: Run{1000, 1}, Slot: 0, CRCs: crcs[:1]},
		{Op: OpWrite, Run: Run{1 << 33, 1}, Slot: 2, CRCs: crcs[2:3]},
		{Op: OpWrite, Run: Run{1001, 1}, Slot: 3, CRCs: crcs[3:4]},
		{Op: OpWrite, Run: Run{7, 1}, Slot: 4, CRCs: crcs[4:5]},
		{Op: OpZero, Run: Run{8, 42}},
		{Op: OpUnmap, Run: Run{50, 600}},
		{Op: OpUnmap, Run: Run{5000, 1}},
	}
}

// golden reads a golden file. Of versions that are not written any more, current is nil.
func golden(t *testing.T, name string, current func() []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update && current != nil {
		if err := os.WriteFile(path, current(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// v1.seg is a local file up to the end of its records, v1.slots its slots.
func goldenFile(t *testing.T) (*memFile, []byte) {
	slots := golden(t, "v1.slots", func() []byte { return pattern(42, 5) })
	head := golden(t, "v1.seg", func() []byte { return writeGolden(t, slots) })
	f := &memFile{data: append(make([]byte, MetaSize), slots...)}
	copy(f.data, head)
	return f, head
}

func writeGolden(t *testing.T, slots []byte) []byte {
	f := &memFile{}
	w := newTestWriter(t, f)
	for _, r := range goldenRecords(slots) {
		var err error
		if r.Op == OpWrite {
			p := slots[int(r.Slot)*BlockSize:][:len(r.CRCs)*BlockSize]
			_, err = w.Append([][]byte{p}, r.Runs, r.CRCs)
		} else {
			err = w.AppendZero(r.Op, r.Runs)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return f.data[:w.off]
}

func TestGoldenFile(t *testing.T) {
	f, head := goldenFile(t)
	slots := f.data[MetaSize:]
	r, err := Recover(f, testHeader.ID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Header != testHeader || r.Torn || r.Slot != 5 {
		t.Errorf("recovered %+v", r)
	}
	if diff := cmp.Diff(goldenRecords(slots), r.Records); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(writeGolden(t, slots), head) {
		t.Error("written again, the file has other bytes: the format has changed, its version must, too")
	}
}

func TestGoldenObjects(t *testing.T) {
	f, _ := goldenFile(t)
	crcs := checksums(f.data[MetaSize:])
	for _, codec := range codecs {
		object := golden(t, "v2."+codec.String()+".object", func() []byte { return encode(t, f, codec, 4) })
		old := golden(t, "v1."+codec.String()+".object", nil)
		for _, object := range [][]byte{old, object} {
			h := parse(t, object)
			if h.Header != testHeader || h.Codec != codec || h.Size != int64(len(object)) {
				t.Errorf("%s: header %+v", codec, h)
			}
			if diff := cmp.Diff(goldenState(crcs), slices.Collect(h.Runs())); diff != "" {
				t.Errorf("%s: %s", codec, diff)
			}
			checkFrames(t, h, object, f, map[uint32]bool{0: true, 2: true, 3: true, 4: true})
		}
		if a, b := parse(t, old).Sealed, parse(t, object).Sealed; !a.IsZero() || !b.Equal(sealedAt) {
			t.Errorf("%s: sealed at %v in version 1, %v in version 2", codec, a, b)
		}
		// Other versions of the libraries may compress otherwise; the header is ours.
		again := encode(t, f, codec, 4)
		size := len(object)
		if codec != CodecRaw {
			size = objectFixed + 4*parse(t, object).Blocks()
		}
		if !bytes.Equal(again[:size], object[:size]) || codec == CodecRaw && len(again) != size {
			t.Errorf("%s: encoded again, the object has other bytes: the format has changed, its version must, too", codec)
		}
	}
}

// TestGoldenCopies holds the header of an object, and the record of a file, that have copies.
func TestGoldenCopies(t *testing.T) {
	record := Record{
		Op: OpCopy, Segment: testHeader.ID, Runs: []Run{{9, 2}, {5, 3}, {1 << 40, 1}},
		From: []Name{NewName(NewID(7, 2), 100), NewName(NewID(1, 1), 0), NewName(NewID(7, 1), Slots-1)},
		CRCs: []uint32{0xa, 0xb, 0xc, 0xd, 0xe, 0xf},
	}
	layout := Collapse([]Record{record})
	b := golden(t, "v1.copies.record", func() []byte { return AppendRecord(nil, &record) })
	if got, _, err := ParseRecord(b, testHeader.ID); err != nil || !cmp.Equal(got, record) {
		t.Errorf("%v: %s", err, cmp.Diff(record, got))
	}
	b = golden(t, "v2.copies.object", func() []byte {
		b, err := NewBuilder(BuilderOptions{}).Encode(nil, testHeader, &layout, nil)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	old := golden(t, "v1.copies.object", nil)
	for _, b := range [][]byte{old, b} {
		h, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Collect(h.Runs()); !cmp.Equal(got, layout.Copies) {
			t.Error(cmp.Diff(layout.Copies, got))
		}
	}
}

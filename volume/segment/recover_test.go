package segment

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func mustRecover(tb rapid.TB, f *memFile) *Recovered {
	r, err := Recover(f, testHeader.ID)
	if err != nil {
		tb.Fatalf("Recover: %v", err)
	}
	return r
}

// isPrefix fails unless got are the first records of all.
func isPrefix(tb rapid.TB, got, all []Record) {
	if len(got) > len(all) {
		tb.Fatalf("%d records were recovered, only %d were written", len(got), len(all))
	}
	if diff := cmp.Diff(all[:len(got)], got, cmpopts.EquateEmpty()); diff != "" {
		tb.Fatal(diff)
	}
}

func smallFile(t *testing.T) (*memFile, []Record) {
	f := &memFile{}
	w := newTestWriter(t, f)
	if err := w.AppendZero(OpZero, []Run{{1, 5}}); err != nil {
		t.Fatal(err)
	}
	write(t, w, 1, Run{1, 1})
	write(t, w, 2, Run{9, 2}, Run{3, 1})
	if err := w.AppendZero(OpUnmap, []Run{{3, 1}, {50, 50}}); err != nil {
		t.Fatal(err)
	}
	write(t, w, 3, Run{1, 1})
	r := mustRecover(t, f)
	if len(r.Records) != 5 || r.Torn {
		t.Fatalf("recovered %+v", r)
	}
	return f, r.Records
}

// The metadata region is cut, zeroed or overwritten from every byte on.
func TestRecoverKeepsWhatIsBeforeTheDamage(t *testing.T) {
	whole, all := smallFile(t)
	ends := []int{headerPage}
	for i := range all {
		ends = append(ends, ends[i]+RecordSize(len(all[i].Runs), len(all[i].CRCs)))
	}
	damage := map[string]func(b []byte, at int) []byte{
		"cut":     func(b []byte, at int) []byte { return b[:at] },
		"zeroed":  func(b []byte, at int) []byte { clear(b[at:MetaSize]); return b },
		"garbage": func(b []byte, at int) []byte { copy(b[at:MetaSize], bytes.Repeat([]byte{0xa5}, MetaSize)); return b },
		"flipped": func(b []byte, at int) []byte { b[at] ^= 0x10; return b },
	}
	for name, hurt := range damage {
		for at := headerPage; at < ends[len(all)]; at++ {
			f := &memFile{data: hurt(bytes.Clone(whole.data), at)}
			want := 0
			for want < len(all) && ends[want+1] <= at {
				want++
			}
			r, err := RecoverSynced(f, testHeader.ID)
			if err != nil {
				t.Fatalf("%s at byte %d: %v", name, at, err)
			}
			// A record may end in zeros, so that zeroing them hurts nothing.
			if n := len(r.Records); n < want || n > want && name != "zeroed" {
				t.Errorf("%s at byte %d: %d records are left, want %d", name, at, n, want)
			}
			isPrefix(t, r.Records, all)
			if r.Offset != int64(ends[len(r.Records)]) || r.Stopped == nil {
				t.Errorf("%s at byte %d: %+v", name, at, r)
			}
			if lost := name == "flipped" && want < len(all)-1; lost && !r.Torn {
				t.Errorf("%s at byte %d: records are lost, and Torn is false", name, at)
			}
		}
	}
	// A file that ends among its slots keeps the records whose blocks are there.
	f := &memFile{data: whole.data[:SlotOffset(4)+1]}
	if r := mustRecover(t, f); len(r.Records) != 4 || !r.Torn || r.Slot != 4 {
		t.Errorf("without the last slot: %+v", r)
	}
}

func TestRecoverChecksEveryBlock(t *testing.T) {
	whole, all := smallFile(t)
	for i, r := range all {
		for s := range r.CRCs {
			f := &memFile{data: bytes.Clone(whole.data)}
			f.data[SlotOffset(r.Slot+uint32(s))+1234] ^= 1
			if got := mustRecover(t, f); len(got.Records) != i || !got.Torn {
				t.Errorf("block %d of record %d is bad: %d records, torn %v", s, i, len(got.Records), got.Torn)
			}
			if got, err := RecoverSynced(f, testHeader.ID); err != nil || len(got.Records) != len(all) {
				t.Errorf("RecoverSynced does not look at data, but found %d records, %v", len(got.Records), err)
			}
		}
	}
}

// Good records of the segment that are not the next ones: remains of something.
func TestRecoverStopsAtARecordOutOfOrder(t *testing.T) {
	block := pattern(1, 1)
	next := Record{Op: OpWrite, Segment: testHeader.ID, Number: 1, Slot: 1, Runs: []Run{{5, 1}}, CRCs: checksums(block)}
	for name, c := range map[string]struct {
		change func(r *Record)
		want   int
	}{
		"the next one":    {func(*Record) {}, 2},
		"number too low":  {func(r *Record) { r.Number = 0 }, 1},
		"number too high": {func(r *Record) { r.Number = 2 }, 1},
		"slot used":       {func(r *Record) { r.Slot = 0 }, 1},
		"slot left out":   {func(r *Record) { r.Slot = 2 }, 1},
	} {
		f := &memFile{}
		w := newTestWriter(t, f)
		for range 3 {
			write(t, w, 1, Run{5, 1}) // the same block in three slots
		}
		r := next
		c.change(&r)
		at := headerPage + RecordSize(1, 1)
		clear(f.data[at:MetaSize])
		copy(f.data[at:], AppendRecord(nil, &r))
		if got := mustRecover(t, f); len(got.Records) != c.want || got.Torn != (c.want == 1) {
			t.Errorf("%s: %d records, torn %v, stopped by %v", name, len(got.Records), got.Torn, got.Stopped)
		}
	}
}

func TestRecoverRefusesABadHeader(t *testing.T) {
	whole, _ := smallFile(t)
	for at := range headerPage {
		whole.data[at] ^= 1
		if _, err := Recover(whole, testHeader.ID); !errors.Is(err, ErrHeader) {
			t.Fatalf("byte %d of the header flipped: %v", at, err)
		}
		whole.data[at] ^= 1
		if _, err := Recover(&memFile{data: whole.data[:at]}, testHeader.ID); !errors.Is(err, ErrHeader) {
			t.Fatalf("header cut to %d bytes: %v", at, err)
		}
	}
	if _, err := Recover(whole, testHeader.ID+1); !errors.Is(err, ErrHeader) {
		t.Errorf("another segment's file: %v", err)
	}
}

// A file that cannot be read is an error: it does not look like one that ends early.
func TestRecoverTellsUnreadableFromTorn(t *testing.T) {
	whole, _ := smallFile(t)
	for _, from := range []int64{0, headerPage, SlotOffset(0), SlotOffset(3)} {
		_, err := Recover(&unreadable{whole, from}, testHeader.ID)
		if !errors.Is(err, errInjected) || errors.Is(err, ErrHeader) {
			t.Errorf("unreadable from byte %d: %v", from, err)
		}
	}
}

type unreadable struct {
	*memFile
	from int64
}

func (u *unreadable) ReadAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > u.from {
		n, _ := u.memFile.ReadAt(p[:max(0, u.from-off)], off)
		return n, errInjected
	}
	return u.memFile.ReadAt(p, off)
}

// Random histories with syncs, then a loss of power that keeps any of the unsynced sectors, then
// more appends, then the end of the process.
func TestPowerLossKeepsWhatWasSynced(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := &memFile{}
		w := newTestWriter(t, f)
		synced := 0
		_ = f.Sync()
		for range rapid.IntRange(1, 10).Draw(rt, "appends") {
			drawAppend(rt, t, w)
			if rapid.IntRange(0, 3).Draw(rt, "sync") == 0 {
				synced = w.Records()
				if err := w.Sync(); err != nil {
					rt.Fatal(err)
				}
			}
		}
		all := mustRecover(rt, f).Records

		losePower(rt, f)
		r := mustRecover(rt, f)
		isPrefix(rt, r.Records, all)
		if len(r.Records) < synced {
			rt.Fatalf("%d records were synced, %d are left", synced, len(r.Records))
		}

		w, err := resume(f, r)
		if err != nil {
			rt.Fatal(err)
		}
		if again := mustRecover(rt, f); len(again.Records) != len(r.Records) || again.Torn {
			rt.Fatalf("after Resume there are %d records, not %d", len(again.Records), len(r.Records))
		}
		for range rapid.IntRange(1, 5).Draw(rt, "more") {
			drawAppend(rt, t, w)
		}
		end := mustRecover(rt, f)
		if len(end.Records) != w.Records() || end.Torn {
			rt.Fatalf("recovered %d of %d records", len(end.Records), w.Records())
		}
		isPrefix(rt, r.Records, end.Records)
	})
}

// losePower keeps of what was not synced any set of sectors.
func losePower(t *rapid.T, f *memFile) {
	const sector = 512
	keep := rapid.Float64Range(0, 1).Draw(t, "kept")
	seed := rapid.Uint64().Draw(t, "sectors")
	data := append(bytes.Clone(f.synced), make([]byte, len(f.data)-len(f.synced))...)
	for at := 0; at < len(data); at += sector {
		end := min(at+sector, len(data))
		if bytes.Equal(data[at:end], f.data[at:end]) {
			continue
		}
		seed ^= seed<<13 + 1
		seed ^= seed >> 7
		seed ^= seed << 17
		if float64(seed%1000) < keep*1000 {
			copy(data[at:end], f.data[at:end])
		}
	}
	f.data = data
}

func FuzzRecover(f *testing.F) {
	head := appendHeaderPage(nil, testHeader)
	var meta []byte
	for _, r := range testRecords {
		meta = AppendRecord(meta, &r)
	}
	f.Add(meta, []byte(nil))
	f.Add(meta[:RecordSize(1, 2)], pattern(1, 1))
	block := pattern(1, 1)
	good := Record{Op: OpWrite, Segment: testHeader.ID, Runs: []Run{{5, 1}}, CRCs: checksums(block)}
	f.Add(AppendRecord(nil, &good), block)
	f.Fuzz(func(t *testing.T, meta, slots []byte) {
		meta = meta[:min(len(meta), MetaSize-headerPage)]
		file := &memFile{data: append(bytes.Clone(head), meta...)}
		if len(slots) > 0 {
			file.data = append(file.data, make([]byte, MetaSize-len(file.data))...)
			file.data = append(file.data, slots...)
		}
		r, err := Recover(file, testHeader.ID)
		if err != nil {
			t.Fatalf("a file with a good header was refused: %v", err)
		}
		n := uint32(0)
		for i, rec := range r.Records {
			if rec.check() != nil || int(rec.Number) != i {
				t.Fatalf("record %d: %+v", i, rec)
			}
			n += uint32(len(rec.CRCs))
		}
		if n != r.Slot || r.Offset > MetaSize || r.Stopped == nil {
			t.Fatalf("recovered %+v", r)
		}
	})
}

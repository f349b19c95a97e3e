package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func createTemp(tb testing.TB) (*os.File, *Writer) {
	tb.Helper()
	f, err := os.Create(filepath.Join(tb.TempDir(), "1.seg"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	w, err := Create(f, testHeader)
	if err != nil {
		tb.Fatal(err)
	}
	return f, w
}

func TestWriteSyncRecoverRead(t *testing.T) {
	f, w := createTemp(t)
	st, err := f.Stat()
	if err != nil || st.Size() != FileSize {
		t.Fatalf("a new segment file has %d bytes, %v; want %d", st.Size(), err, FileSize)
	}

	p := pattern(1, 5)
	slot, err := w.Append([][]byte{p[:2*BlockSize], p[2*BlockSize:]}, []Run{{10, 2}, {20, 3}}, checksums(p))
	if err != nil || slot != 0 {
		t.Fatalf("first append: slot %d, %v", slot, err)
	}
	if err := w.AppendZero(OpUnmap, []Run{{11, 1000}}); err != nil {
		t.Fatal(err)
	}
	q := pattern(2, 1)
	if slot, err = w.Append([][]byte{q}, []Run{{10, 1}}, checksums(q)); err != nil || slot != 5 {
		t.Fatalf("second append: slot %d, %v", slot, err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}

	r, err := Recover(f, testHeader.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{Op: OpWrite, Segment: testHeader.ID, Number: 0, Slot: 0, Runs: []Run{{10, 2}, {20, 3}}, CRCs: checksums(p)},
		{Op: OpUnmap, Segment: testHeader.ID, Number: 1, Runs: []Run{{11, 1000}}},
		{Op: OpWrite, Segment: testHeader.ID, Number: 2, Slot: 5, Runs: []Run{{10, 1}}, CRCs: checksums(q)},
	}
	if diff := cmp.Diff(want, r.Records); diff != "" {
		t.Error(diff)
	}
	if r.Header != testHeader || r.Slot != 6 || r.Torn || r.Stopped == nil {
		t.Errorf("recovered %+v", r)
	}
	got := make([]byte, 6*BlockSize)
	if err := ReadBlocks(f, 0, got); err != nil || !bytes.Equal(got, append(p, q...)) {
		t.Errorf("ReadBlocks returned other data, %v", err)
	}
}

func TestReadBlocksStaysInside(t *testing.T) {
	f, _ := createTemp(t)
	for _, c := range []struct {
		slot uint32
		size int
	}{{0, BlockSize - 1}, {Slots, BlockSize}, {Slots - 1, 2 * BlockSize}, {1<<32 - 1, BlockSize}} {
		if err := ReadBlocks(f, c.slot, make([]byte, c.size)); err == nil {
			t.Errorf("%d bytes of slot %d: no error", c.size, c.slot)
		}
	}
	if err := ReadBlocks(f, Slots-1, make([]byte, BlockSize)); err != nil {
		t.Errorf("last slot: %v", err)
	}
	if err := f.Truncate(FileSize - 1); err != nil {
		t.Fatal(err)
	}
	if err := ReadBlocks(f, Slots-1, make([]byte, BlockSize)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("slot cut by the end of the file: %v", err)
	}
}

// A used file serves again: its old records and data are there and are not seen.
func TestRecycledFile(t *testing.T) {
	f, w := createTemp(t)
	for i := range uint64(20) {
		write(t, w, i, Run{i, 1})
	}
	next := Header{ID: testHeader.ID.Next(), Volume: testHeader.Volume, Epoch: 6}
	w, err := Create(f, next)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		r, err := Recover(f, next.ID)
		if err != nil || len(r.Records) != n || r.Torn {
			t.Fatalf("after %d appends: %+v, %v", n, r, err)
		}
		write(t, w, 99, Run{5, 1}) // its record takes exactly an old one's place
	}
	if _, err := Recover(f, testHeader.ID); !errors.Is(err, ErrHeader) {
		t.Errorf("recovering the former segment: %v", err)
	}
}

func TestCreateOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("needs a small file system: mounting tmpfs: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	f, err := os.Create(filepath.Join(dir, "1.seg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Create(f, testHeader); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Create on a disk of 4 MiB: %v; want ENOSPC", err)
	}
	if err := fill(f); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("fill on a disk of 4 MiB: %v; want ENOSPC", err)
	}
}

// File systems without fallocate get the same file, and what it had stays.
func TestFill(t *testing.T) {
	f := &memFile{data: []byte("old")}
	if err := fill(f); err != nil {
		t.Fatal(err)
	}
	if len(f.data) != FileSize || string(f.data[:4]) != "old\x00" {
		t.Errorf("%d bytes that begin with %q", len(f.data), f.data[:4])
	}
}

func TestFullSegmentWritesNothing(t *testing.T) {
	for name, fillUp := range map[string]func(w *Writer){
		"slots": func(w *Writer) {
			for w.Fits(1, 64) {
				write(t, w, 1, Run{0, 64})
			}
		},
		"records": func(w *Writer) {
			for w.Fits(1, 1) {
				write(t, w, 1, Run{0, 1})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &memFile{}
			w := newTestWriter(t, f)
			fillUp(w)
			before, records := f.writes, w.Records()
			slots, bytes := w.Room()
			p := pattern(1, slots+1)
			runs := []Run{{0, uint32(slots + 1)}}
			if name == "records" {
				p, runs = p[:BlockSize], []Run{{0, 1}}
				if bytes >= 64 || records != 1984 {
					t.Errorf("%d bytes of records are left after %d", bytes, records)
				}
			} else if slots != 0 {
				t.Errorf("%d slots are left", slots)
			}
			if _, err := w.Append([][]byte{p}, runs, checksums(p)); !errors.Is(err, ErrFull) {
				t.Errorf("append to a full segment: %v", err)
			}
			if err := w.AppendZero(OpZero, make([]Run, maxRecordLen/runSize)); !errors.Is(err, ErrFull) {
				t.Errorf("zero record to a full segment: %v", err)
			}
			if f.writes != before {
				t.Error("ErrFull, but something was written")
			}
			if r, err := Recover(f, testHeader.ID); err != nil || len(r.Records) != records {
				t.Errorf("recovered %d of %d records, %v", len(r.Records), records, err)
			}
		})
	}
}

// A caller's mistake is an error, writes nothing, and does not spoil the segment.
func TestAppendRefusesNonsense(t *testing.T) {
	f := &memFile{}
	w := newTestWriter(t, f)
	p := pattern(1, 2)
	for name, err := range map[string]error{
		"part of a block": second(w.Append([][]byte{p[:100], p[100:]}, []Run{{0, 2}}, checksums(p))),
		"too few sums":    second(w.Append([][]byte{p}, []Run{{0, 2}}, checksums(p[BlockSize:]))),
		"too little data": second(w.Append([][]byte{p[BlockSize:]}, []Run{{0, 2}}, checksums(p))),
		"no runs":         second(w.Append(nil, nil, nil)),
		"empty run":       second(w.Append([][]byte{p}, []Run{{0, 2}, {9, 0}}, checksums(p))),
		"behind the end":  second(w.Append([][]byte{p}, []Run{{maxBlock - 1, 2}}, checksums(p))),
		"zero: write":     w.AppendZero(OpWrite, []Run{{0, 1}}),
		"zero: no runs":   w.AppendZero(OpZero, nil),
		"zero: empty run": w.AppendZero(OpZero, []Run{{1, 0}}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if f.writes != 1 {
		t.Errorf("%d writes, want only the header's", f.writes)
	}
	write(t, w, 1, Run{0, 1})
}

func second(_ uint32, err error) error { return err }

// Every write of a small history fails once, in each way. What was acknowledged is there, a
// failed append is there or not, and the writer writes no more.
func TestEveryWriteFails(t *testing.T) {
	faults := map[string]func(n int) (int, error){
		"nothing written":   func(int) (int, error) { return 0, errInjected },
		"half written":      func(n int) (int, error) { return n / 2, errInjected },
		"short":             func(n int) (int, error) { return n - 8, nil },
		"written, but says": func(n int) (int, error) { return n, errInjected },
	}
	for name, fault := range faults {
		for nth := 0; ; nth++ {
			f := &memFile{}
			f.fault = func(write, n int) (int, error) {
				if write == nth {
					return fault(n)
				}
				return n, nil
			}
			acked, err := history(t, f)
			if err == nil {
				if nth != f.writes {
					t.Errorf("%s: write %d of %d failed, and nobody said so", name, nth, f.writes)
				}
				break
			}
			if nth == 0 {
				continue // the header's write: there is no segment
			}
			r, rerr := Recover(f, testHeader.ID)
			if rerr != nil {
				t.Fatal(rerr)
			}
			if n := len(r.Records); n < acked || n > acked+1 || n > acked && name != "written, but says" {
				t.Errorf("%s, write %d: %d acknowledged, %d recovered", name, nth, acked, n)
			}
		}
	}
}

// history makes a few appends and returns how many succeeded before the first error.
func history(t *testing.T, f *memFile) (acked int, err error) {
	w, err := newWriter(f, testHeader)
	if err != nil {
		return 0, err
	}
	appends := func(i uint64) error {
		if i%3 == 2 {
			return w.AppendZero(OpZero, []Run{{i, 100}})
		}
		p := pattern(i, 2)
		_, err := w.Append([][]byte{p[:BlockSize], p[BlockSize:]}, []Run{{i, 1}, {2 * i, 1}}, checksums(p))
		return err
	}
	for i := range uint64(6) {
		if err := appends(i); err != nil {
			writes := f.writes
			for range 3 {
				i++
				if again := appends(i); again != err { //nolint:errorlint // the very same error
					t.Errorf("the writer failed with %q, then with %v", err, again)
				}
			}
			if f.writes != writes {
				t.Error("a writer that failed wrote again")
			}
			return acked, err
		}
		acked++
	}
	return acked, nil
}

// The kernel may write less than asked for, or be interrupted, at any time.
func TestWritevAtFinishesWhatTheKernelDoesNot(t *testing.T) {
	const buffers = 2*maxIovecs + 100
	for _, limit := range []int{1, 4095, 4096, 5000, 1 << 30} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			n := buffers
			if limit < 4000 {
				n = 3
			}
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			of := newOSFile(f)
			calls := 0
			of.pwritev = func(fd uintptr, iov []unix.Iovec, off int64) (int, error) {
				if calls++; calls%3 == 0 {
					return 0, unix.EINTR
				}
				if len(iov) > maxIovecs {
					return 0, unix.EINVAL
				}
				part, left := []unix.Iovec(nil), limit
				for _, v := range iov {
					v.SetLen(min(left, int(v.Len)))
					part, left = append(part, v), left-int(v.Len)
					if left == 0 {
						break
					}
				}
				return pwritev(fd, part, off)
			}
			p := pattern(3, n)
			bufs := [][]byte{nil}
			for q := p; len(q) > 0; q = q[BlockSize:] {
				bufs = append(bufs, q[:BlockSize])
			}
			if m, err := of.WritevAt(bufs, 77); m != len(p) || err != nil {
				t.Fatalf("WritevAt = %d, %v; want %d", m, err, len(p))
			}
			got := make([]byte, len(p))
			if _, err := f.ReadAt(got, 77); err != nil || !bytes.Equal(got, p) {
				t.Errorf("the file holds other data, %v", err)
			}
			of.pwritev = func(uintptr, []unix.Iovec, int64) (int, error) { return 0, unix.EIO }
			if _, err := of.WritevAt(bufs, 0); !errors.Is(err, unix.EIO) {
				t.Errorf("a failing device: %v", err)
			}
			of.pwritev = func(uintptr, []unix.Iovec, int64) (int, error) { return 0, nil }
			if _, err := of.WritevAt(bufs, 0); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("a device that takes nothing: %v", err)
			}
		})
	}
}

func TestSteadyAppendDoesNotAllocate(t *testing.T) {
	_, w := createTemp(t)
	p := pattern(1, 32)
	var data [][]byte
	var runs []Run
	for i := range 32 {
		data = append(data, p[i*BlockSize:][:BlockSize])
		runs = append(runs, Run{uint64(i), 1})
	}
	crcs := checksums(p)
	appendAll := func() {
		if !w.Fits(len(runs), len(crcs)) {
			t.Fatal("the test's segment is full")
		}
		if _, err := w.Append(data, runs, crcs); err != nil {
			t.Fatal(err)
		}
	}
	appendAll() // makes the buffers
	if n := testing.AllocsPerRun(50, appendAll); n != 0 {
		t.Errorf("%v allocations an append", n)
	}
}

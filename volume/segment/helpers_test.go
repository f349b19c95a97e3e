package segment

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// memFile is a vectorFile in memory that can be made to fail.
type memFile struct {
	data   []byte
	synced []byte // data at the last Sync
	writes int    // so far

	// fault is asked before each write of n bytes, counted from 0: it says how many of them to
	// write, and the error. nil means that all is well.
	fault func(write, n int) (keep int, err error)
}

var errInjected = errors.New("injected fault")

func (m *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(p, m.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memFile) WriteAt(p []byte, off int64) (int, error) { return m.WritevAt([][]byte{p}, off) }

func (m *memFile) WritevAt(bufs [][]byte, off int64) (n int, err error) {
	for _, p := range bufs {
		n += len(p)
	}
	left := n
	if m.fault != nil {
		left, err = m.fault(m.writes, n)
	}
	m.writes++
	n = 0
	for _, p := range bufs {
		p = p[:min(len(p), left)]
		if end := off + int64(n+len(p)); end > int64(len(m.data)) {
			m.data = append(m.data, make([]byte, end-int64(len(m.data)))...)
		}
		copy(m.data[off+int64(n):], p)
		n, left = n+len(p), left-len(p)
	}
	return n, err
}

func (m *memFile) Sync() error {
	m.synced = append(m.synced[:0], m.data...)
	return nil
}

var testHeader = Header{
	ID:     NewID(7, 3),
	Volume: [16]byte{0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf},
	Epoch:  5,
}

func newTestWriter(tb testing.TB, f vectorFile) *Writer {
	tb.Helper()
	w, err := newWriter(f, testHeader)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// pattern returns blocks whose content follows from seed and compresses by about half.
func pattern(seed uint64, blocks int) []byte {
	p := make([]byte, blocks*BlockSize)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := 0; i < len(p); i += 16 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(p[i:], x)
	}
	return p
}

func checksums(p []byte) []uint32 {
	var crcs []uint32
	for ; len(p) > 0; p = p[BlockSize:] {
		crcs = append(crcs, Checksum(p[:BlockSize]))
	}
	return crcs
}

// write appends runs with data that follows from seed.
func write(tb testing.TB, w *Writer, seed uint64, runs ...Run) []byte {
	tb.Helper()
	n := 0
	for _, r := range runs {
		n += int(r.Count)
	}
	p := pattern(seed, n)
	if _, err := w.Append([][]byte{p}, runs, checksums(p)); err != nil {
		tb.Fatal(err)
	}
	return p
}

// drawRuns draws runs over so few blocks that they overlap often.
func drawRuns(t *rapid.T, maxCount int) []Run {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Run {
		return Run{
			Start: rapid.Uint64Range(0, 60).Draw(t, "start"),
			Count: uint32(rapid.IntRange(1, maxCount).Draw(t, "count")),
		}
	}), 1, 5).Draw(t, "runs")
}

// drawAppend appends a random record.
func drawAppend(t *rapid.T, tb testing.TB, w *Writer) {
	op := rapid.SampledFrom([]Op{OpWrite, OpWrite, OpWrite, OpZero, OpUnmap, OpCopy}).Draw(t, "op")
	if op == OpWrite {
		write(tb, w, rapid.Uint64().Draw(t, "seed"), drawRuns(t, 8)...)
		return
	}
	if op == OpCopy {
		if err := w.AppendCopy(drawCopy(t, testHeader.ID)); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := w.AppendZero(op, drawRuns(t, 30)); err != nil {
		t.Fatal(err)
	}
}

// drawCopy draws runs, the names of their first blocks in segments before id, and sums.
func drawCopy(t *rapid.T, id ID) (runs []Run, from []Name, crcs []uint32) {
	runs = drawRuns(t, 8)
	for _, r := range runs {
		source := ID(rapid.Uint64Range(1, uint64(id)-1).Draw(t, "source"))
		from = append(from, NewName(source, uint32(rapid.IntRange(0, Slots-8).Draw(t, "index"))))
		for range r.Count {
			crcs = append(crcs, rapid.Uint32().Draw(t, "crc"))
		}
	}
	return runs, from, crcs
}

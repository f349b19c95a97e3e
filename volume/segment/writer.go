package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Writer appends to a local segment file. It is not safe for concurrent use, but for Sync;
// its user has a lock. After an append failed the file's state is unknown, and every later
// append returns the same error.
type Writer struct {
	f      vectorFile
	id     ID
	slot   uint32 // the next free one
	number uint32 // of the next record
	off    int64  // of the next record
	err    error  // of the first append that failed

	buf []byte // the encoded record, reused
}

// Create makes f a segment file without records and returns its Writer. The file may be
// empty, or an old segment's: its content is then as good as gone, since records of other
// segments are never taken for new. All the file's space is allocated now, so that appends
// do not meet a full disk; ENOSPC is returned here. The caller syncs the file and its
// directory, and never passes the same ID twice for a file with records of that ID.
func Create(f *os.File, hdr Header) (*Writer, error) {
	if err := allocate(f); err != nil {
		return nil, fmt.Errorf("creating segment %s: %w", hdr.ID, err)
	}
	return newWriter(newOSFile(f), hdr)
}

func newWriter(f vectorFile, hdr Header) (*Writer, error) {
	if err := writeAll(f, appendHeaderPage(make([]byte, 0, headerPage), hdr), 0); err != nil {
		return nil, fmt.Errorf("creating segment %s: writing its header: %w", hdr.ID, err)
	}
	return &Writer{f: f, id: hdr.ID, off: headerPage}, nil
}

// Resume returns a Writer that goes on behind what Recover found. It overwrites the rest of
// the metadata region and syncs the file first: a record that came behind a lost one must not
// come back behind its successor.
func Resume(f *os.File, r *Recovered) (*Writer, error) { return resume(newOSFile(f), r) }

func resume(f vectorFile, r *Recovered) (*Writer, error) {
	rest := make([]byte, MetaSize-r.Offset)
	if err := writeAll(f, rest, r.Offset); err != nil {
		return nil, fmt.Errorf("continuing segment %s: %w", r.Header.ID, err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("continuing segment %s: %w", r.Header.ID, err)
	}
	return &Writer{f: f, id: r.Header.ID, slot: r.Slot, number: uint32(len(r.Records)), off: r.Offset}, nil
}

// Room returns how many blocks, and how many bytes of records (see RecordSize), still fit.
func (w *Writer) Room() (slots, recordBytes int) {
	return Slots - int(w.slot), int(MetaSize - w.off)
}

// Fits tells whether one append with so many runs and blocks fits.
func (w *Writer) Fits(runs, blocks int) bool {
	slots, bytes := w.Room()
	return blocks <= slots && RecordSize(runs, blocks) <= bytes
}

// End returns where the records end in the file, and where the blocks do: all before that never changes.
func (w *Writer) End() (records, blocks int64) { return w.off, SlotOffset(w.slot) }

// Records returns how many records the segment has.
func (w *Writer) Records() int { return int(w.number) }

// Append writes the blocks of data to consecutive slots, one gathered write, and then one
// record that says which logical blocks they are: the runs, in order, with a sum for each
// block. Each element of data is a multiple of BlockSize. It returns the first slot.
//
// When it returns nil, the append survives the end of the process; after Sync it survives a
// loss of power. Without room it returns ErrFull and writes nothing.
func (w *Writer) Append(data [][]byte, runs []Run, crcs []uint32) (firstSlot uint32, err error) {
	if w.err != nil {
		return 0, w.err
	}
	r := Record{Op: OpWrite, Segment: w.id, Number: w.number, Slot: w.slot, Runs: runs, CRCs: crcs}
	if !w.Fits(len(runs), len(crcs)) {
		return 0, ErrFull
	}
	if err := r.check(); err != nil {
		return 0, fmt.Errorf("append: %w", err)
	}
	size := 0
	for _, p := range data {
		if len(p)%BlockSize != 0 {
			return 0, fmt.Errorf("append: %d bytes are not whole blocks", len(p))
		}
		size += len(p)
	}
	if size != len(crcs)*BlockSize {
		return 0, fmt.Errorf("append: %d bytes of data for %d blocks", size, len(crcs))
	}
	n, err := w.f.WritevAt(data, SlotOffset(w.slot))
	if err == nil && n != size {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("segment %s can take no more: writing %d blocks at slot %d: %w", w.id, len(crcs), w.slot, err)
		return 0, w.err
	}
	if err := w.appendRecord(&r); err != nil {
		return 0, err
	}
	w.slot += uint32(len(crcs))
	return r.Slot, nil
}

// AppendZero writes a record that zeroes or unmaps runs of any length. It returns, and
// promises, what Append does.
func (w *Writer) AppendZero(op Op, runs []Run) error {
	if w.err != nil {
		return w.err
	}
	if op != OpZero && op != OpUnmap {
		return errors.New("append zero: " + op.String())
	}
	r := Record{Op: op, Segment: w.id, Number: w.number, Runs: runs}
	if !w.Fits(len(runs), 0) {
		return ErrFull
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("append zero: %w", err)
	}
	return w.appendRecord(&r)
}

// FitsCopy tells whether a record of a copy with so many runs and blocks fits.
func (w *Writer) FitsCopy(runs, blocks int) bool {
	_, bytes := w.Room()
	return CopySize(runs, blocks) <= bytes
}

// AppendCopy writes a record that gives runs of blocks the names, and the sums, of others: from
// has the name of each run's first block. All of them are in segments that were sealed before this one was begun. It
// returns, and promises, what Append does.
func (w *Writer) AppendCopy(runs []Run, from []Name, crcs []uint32) error {
	if w.err != nil {
		return w.err
	}
	r := Record{Op: OpCopy, Segment: w.id, Number: w.number, Runs: runs, From: from, CRCs: crcs}
	if !w.FitsCopy(len(runs), len(crcs)) {
		return ErrFull
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("append copy: %w", err)
	}
	return w.appendRecord(&r)
}

func (w *Writer) appendRecord(r *Record) error {
	w.buf = AppendRecord(w.buf[:0], r)
	if err := writeAll(w.f, w.buf, w.off); err != nil {
		w.err = fmt.Errorf("segment %s can take no more: writing record %d: %w", w.id, w.number, err)
		return w.err
	}
	w.off += int64(len(w.buf))
	w.number++
	return nil
}

// Sync makes all completed appends survive a loss of power. It may be called concurrently
// with appends. After it failed the kernel may have dropped data, and a second Sync would
// not tell: the caller must stop using the segment.
func (w *Writer) Sync() error {
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("syncing segment %s: %w", w.id, err)
	}
	return nil
}

func writeAll(f File, p []byte, off int64) error {
	n, err := f.WriteAt(p, off)
	if err == nil && n != len(p) {
		err = io.ErrShortWrite
	}
	return err
}

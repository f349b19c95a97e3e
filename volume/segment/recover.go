package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Recovered is what a local segment file holds.
type Recovered struct {
	Header  Header
	Records []Record // all good ones, in order
	Slot    uint32   // the next free slot
	Offset  int64    // of the next record, in bytes

	// Stopped says why the byte at Offset does not begin a good record: in a file that ends
	// there as in one that lost its tail. It is never nil.
	Stopped error
	// Torn means that a record was surely lost: behind the good ones there is a trace of another
	// of this segment. If it is false, whole pages may still have been lost.
	Torn bool
}

// Recover reads the records of a local segment file, in order, up to the first bad one, and
// checks the sum of every block that they wrote: after a loss of power, records may be on
// disk without their data. It keeps all before the first bad record or block and never
// refuses a file for its tail. It refuses a file without the valid header of segment id (ErrHeader)
// and one that cannot be read.
func Recover(f io.ReaderAt, id ID) (*Recovered, error) { return recoverFile(f, id, true) }

// RecoverSynced is Recover without reading the data, for a file that is known to have been
// synced behind its last record.
func RecoverSynced(f io.ReaderAt, id ID) (*Recovered, error) { return recoverFile(f, id, false) }

func recoverFile(f io.ReaderAt, id ID, checkData bool) (*Recovered, error) {
	hdr, err := ReadHeader(f)
	if err != nil {
		return nil, fmt.Errorf("recovering segment %s: %w", id, err)
	}
	if hdr.ID != id {
		return nil, fmt.Errorf("recovering segment %s: %w: it is of segment %s", id, ErrHeader, hdr.ID)
	}
	meta := make([]byte, MetaSize-headerPage)
	n, err := f.ReadAt(meta, headerPage)
	if n < len(meta) && err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("recovering segment %s: reading its records: %w", id, err)
	}
	r := &Recovered{Header: hdr, Offset: headerPage}
	meta = meta[:n]
	blocks := blockReader{f: f}
	tables := arena{chunk: 512}
	for r.Stopped == nil {
		rec, n, err := r.next(meta, &tables)
		if err == nil && checkData {
			err = blocks.check(&rec)
			if err != nil && !errors.Is(err, errBadBlock) {
				return nil, fmt.Errorf("recovering segment %s: %w", id, err)
			}
		}
		if err != nil {
			r.Stopped = fmt.Errorf("record %d at byte %d: %w", len(r.Records), r.Offset, err)
			break
		}
		r.Records = append(r.Records, rec)
		if rec.Op == OpWrite {
			r.Slot += uint32(len(rec.CRCs))
		}
		r.Offset += int64(n)
		meta = meta[n:]
	}
	r.Torn = traces(meta, id)
	return r, nil
}

// Cut forgets the records from the n-th on, for a reason that is not in the file: as if the file ended there.
func (r *Recovered) Cut(n int) {
	for i := range r.Records[n:] {
		rec := &r.Records[n+i]
		r.Offset -= int64(rec.size())
		if rec.Op == OpWrite {
			r.Slot -= uint32(len(rec.CRCs))
		}
	}
	r.Records, r.Torn = r.Records[:n], true
}

// next parses the record at the beginning of meta if it is the one that comes next.
func (r *Recovered) next(meta []byte, tables *arena) (Record, int, error) {
	rec, n, err := parseRecord(meta, r.Header.ID, tables)
	if err != nil {
		return rec, n, err
	}
	if int(rec.Number) != len(r.Records) {
		return rec, n, fmt.Errorf("%w: it has number %d", ErrRecord, rec.Number)
	}
	if rec.Op == OpWrite && rec.Slot != r.Slot {
		return rec, n, fmt.Errorf("%w: it begins at slot %d, not %d", ErrRecord, rec.Slot, r.Slot)
	}
	return rec, n, nil
}

// traces tells whether there is the beginning of a record of the segment anywhere in meta.
func traces(meta []byte, id ID) bool {
	le := binary.LittleEndian
	for ; len(meta) >= recordFixed; meta = meta[8:] {
		if le.Uint32(meta) == recordMagic && ID(le.Uint64(meta[16:])) == id {
			return true
		}
	}
	return false
}

// errBadBlock means that a block is not the one that its record describes.
var errBadBlock = errors.New("bad block")

// blockReader reads blocks of a local segment file, mostly in ascending order.
type blockReader struct {
	f     io.ReaderAt
	buf   []byte // n blocks from slot first on
	first uint32
	n     uint32
}

// readAhead is how many blocks a blockReader reads at once.
const readAhead = 64

// check compares the blocks of a record with their sums.
func (br *blockReader) check(r *Record) error {
	if r.Op != OpWrite {
		return nil // its blocks, if it has any, are elsewhere
	}
	for i, want := range r.CRCs {
		slot := r.Slot + uint32(i)
		p, err := br.block(slot)
		if err != nil {
			return err
		}
		if got := Checksum(p); got != want {
			return fmt.Errorf("%w: slot %d: its CRC32C is %08x instead of %08x", errBadBlock, slot, got, want)
		}
	}
	return nil
}

// block returns the block in a slot, until the next call.
func (br *blockReader) block(slot uint32) ([]byte, error) {
	if slot-br.first >= br.n {
		if br.buf == nil {
			br.buf = make([]byte, readAhead*BlockSize)
		}
		p := br.buf[:min(readAhead, Slots-slot)*BlockSize]
		n, err := br.f.ReadAt(p, SlotOffset(slot))
		br.first, br.n = slot, uint32(n/BlockSize)
		switch {
		case br.n > 0:
		case err == nil || errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%w: the file ends before slot %d", errBadBlock, slot)
		default:
			return nil, fmt.Errorf("reading slot %d: %w", slot, err)
		}
	}
	return br.buf[(slot-br.first)*BlockSize:][:BlockSize], nil
}

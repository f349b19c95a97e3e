package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
)

// Op says what a record did to the blocks of its runs.
type Op uint8

const (
	// OpWrite stored the blocks in consecutive slots, the first at the record's Slot.
	OpWrite Op = 1
	// OpZero made the blocks read as zeros (WRITE SAME with zeros).
	OpZero Op = 2
	// OpUnmap gave the blocks up (UNMAP); they read as zeros, too.
	OpUnmap Op = 3
	// OpCopy made the blocks the same as others: it gave them the names of blocks of earlier, sealed segments.
	OpCopy Op = 4
)

// String returns "write", "zero", "unmap" or "copy".
func (o Op) String() string {
	switch o {
	case OpWrite:
		return "write"
	case OpZero:
		return "zero"
	case OpUnmap:
		return "unmap"
	case OpCopy:
		return "copy"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Run is a range of logical blocks of a volume: Count blocks from block Start on.
type Run struct {
	Start uint64
	Count uint32
}

// End returns the block behind the run.
func (r Run) End() uint64 { return r.Start + uint64(r.Count) }

// valid tells whether the run is not empty and its bytes have int64 addresses.
func (r Run) valid() bool { return r.Count > 0 && r.Start < maxBlock && r.End() <= maxBlock }

// maxBlock bounds logical block numbers, so that every byte of a volume has an int64 address.
const maxBlock = 1 << 51

// Record describes one append to a local segment file. All its runs took effect at once,
// in their order: where two of them overlap, the later one counts.
type Record struct {
	Op      Op
	Segment ID
	Number  uint32   // place among the records of the file, from 0
	Slot    uint32   // OpWrite: the slot of the first block; the others follow it. Else 0.
	Runs    []Run    // at least one
	From    []Name   // OpCopy: for each run, the name of the first block; the others follow it. Else empty.
	CRCs    []uint32 // OpWrite and OpCopy: the CRC32C of each block, in the order of the runs. Else empty.
}

// Extents yields what the record did, run by run.
func (r *Record) Extents() iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		slot, crcs := r.Slot, r.CRCs
		for i, run := range r.Runs {
			e := Extent{Op: r.Op, Run: run}
			switch r.Op {
			case OpWrite:
				e.Slot = slot
				slot += run.Count
			case OpCopy:
				e.From = r.From[i]
			case OpZero, OpUnmap:
			}
			if len(crcs) > 0 {
				e.CRCs, crcs = crcs[:run.Count:run.Count], crcs[run.Count:]
			}
			if !yield(e) {
				return
			}
		}
	}
}

// Each number is little endian.
//
//	 0  magic "SLR1"
//	 4  CRC32C of all that follows in the record
//	 8  length of the record in bytes, a multiple of 8
//	12  op, three zero bytes
//	16  segment ID (8)
//	24  record number
//	28  first slot
//	32  number of runs
//	36  number of sums
//	40  runs: start block (8), count, zero
//	    copy: the name of each run's first block (8)
//	    sums: CRC32C of each block
//	    zeros up to the length
const (
	recordMagic  = 'S' | 'L'<<8 | 'R'<<16 | '1'<<24
	recordFixed  = 40
	runSize      = 16
	maxRecordLen = MetaSize - headerPage
)

// ErrRecord is returned for bytes that are not a record of the segment.
var ErrRecord = errors.New("no valid record")

// RecordSize returns the length in bytes of a record with so many runs and so many blocks of
// data (none for OpZero and OpUnmap). For OpCopy see CopySize.
func RecordSize(runs, blocks int) int {
	return (recordFixed + runs*runSize + blocks*4 + 7) &^ 7
}

// CopySize returns the length in bytes of an OpCopy record with so many runs and blocks.
func CopySize(runs, blocks int) int { return RecordSize(runs, blocks+2*runs) }

// size returns the length of the encoded record.
func (r *Record) size() int { return RecordSize(len(r.Runs), len(r.CRCs)+2*len(r.From)) }

// AppendRecord appends the encoded record to dst. It allocates only if dst has too little room.
func AppendRecord(dst []byte, r *Record) []byte {
	le := binary.LittleEndian
	start := len(dst)
	size := r.size()
	dst = le.AppendUint32(dst, recordMagic)
	dst = le.AppendUint32(dst, 0) // the CRC's place
	dst = le.AppendUint32(dst, uint32(size))
	dst = append(dst, byte(r.Op), 0, 0, 0)
	dst = le.AppendUint64(dst, uint64(r.Segment))
	dst = le.AppendUint32(dst, r.Number)
	dst = le.AppendUint32(dst, r.Slot)
	dst = le.AppendUint32(dst, uint32(len(r.Runs)))
	dst = le.AppendUint32(dst, uint32(len(r.CRCs)))
	for _, run := range r.Runs {
		dst = le.AppendUint64(dst, run.Start)
		dst = le.AppendUint32(dst, run.Count)
		dst = le.AppendUint32(dst, 0)
	}
	for _, name := range r.From {
		dst = le.AppendUint64(dst, uint64(name))
	}
	for _, crc := range r.CRCs {
		dst = le.AppendUint32(dst, crc)
	}
	for len(dst)-start < size {
		dst = append(dst, 0)
	}
	le.PutUint32(dst[start+4:], crc32.Checksum(dst[start+8:], castagnoli))
	return dst
}

// ParseRecord reads the record at the beginning of b, which must be one of segment id, and
// returns its length. Everything is checked before it is used: b may hold anything. Errors
// are ErrRecord. The record does not refer to b.
func ParseRecord(b []byte, id ID) (r Record, n int, err error) { return parseRecord(b, id, &arena{}) }

// arena is where the tables of records are allocated, at least chunk elements at a time.
type arena struct {
	chunk int
	runs  []Run
	crcs  []uint32
}

// take returns n elements of the free space, of which it allocates more if there are too few.
func take[T any](free *[]T, n, chunk int) []T {
	if n > len(*free) {
		*free = make([]T, max(n, chunk))
	}
	taken := (*free)[:n:n]
	*free = (*free)[n:]
	return taken
}

func parseRecord(b []byte, id ID, a *arena) (r Record, n int, err error) {
	le := binary.LittleEndian
	if len(b) < recordFixed {
		return Record{}, 0, fmt.Errorf("%w: %d bytes are too few", ErrRecord, len(b))
	}
	if m := le.Uint32(b); m != recordMagic {
		return Record{}, 0, fmt.Errorf("%w: it begins with %#08x", ErrRecord, m)
	}
	r = Record{
		Op:      Op(b[12]),
		Segment: ID(le.Uint64(b[16:])),
		Number:  le.Uint32(b[24:]),
		Slot:    le.Uint32(b[28:]),
	}
	runs, crcs := le.Uint32(b[32:]), le.Uint32(b[36:])
	if r.Segment != id {
		return Record{}, 0, fmt.Errorf("%w: it is of segment %s", ErrRecord, r.Segment)
	}
	names := uint32(0)
	if r.Op == OpCopy {
		names = runs
	}
	length := le.Uint32(b[8:])
	if length > maxRecordLen || int(length) > len(b) || runs > maxRecordLen/runSize || crcs > maxRecordLen/4 ||
		int(length) != RecordSize(int(runs), int(crcs+2*names)) {
		return Record{}, 0, fmt.Errorf("%w: length %d with %d runs and %d sums, in %d bytes", ErrRecord, length, runs, crcs, len(b))
	}
	b = b[:length]
	if got, want := crc32.Checksum(b[8:], castagnoli), le.Uint32(b[4:]); got != want {
		return Record{}, 0, fmt.Errorf("%w: its CRC32C is %08x instead of %08x", ErrRecord, got, want)
	}
	if err := r.parseTables(b, a, int(runs), int(names), int(crcs)); err != nil {
		return Record{}, 0, err
	}
	return r, int(length), nil
}

// parseTables reads the runs and sums of a record whose lengths were found to be right.
func (r *Record) parseTables(b []byte, a *arena, runs, names, crcs int) error {
	le := binary.LittleEndian
	r.Runs = take(&a.runs, runs, a.chunk)
	p := b[recordFixed:]
	var reserved uint32
	for i := range r.Runs {
		r.Runs[i] = Run{Start: le.Uint64(p), Count: le.Uint32(p[8:])}
		reserved |= le.Uint32(p[12:])
		p = p[runSize:]
	}
	if names > 0 {
		r.From = make([]Name, names)
	}
	for i := range r.From {
		r.From[i] = Name(le.Uint64(p))
		p = p[8:]
	}
	if crcs > 0 {
		r.CRCs = take(&a.crcs, crcs, a.chunk)
	}
	for i := range r.CRCs {
		r.CRCs[i] = le.Uint32(p)
		p = p[4:]
	}
	for _, pad := range p {
		reserved |= uint32(pad)
	}
	reserved |= uint32(b[13]) | uint32(b[14]) | uint32(b[15])
	if reserved != 0 {
		return fmt.Errorf("%w: a reserved field is not zero", ErrRecord)
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return nil
}

// check tells whether the parts of the record agree with each other.
func (r *Record) check() error {
	if len(r.Runs) == 0 {
		return errors.New("no runs")
	}
	blocks := uint64(0)
	for _, run := range r.Runs {
		if !run.valid() {
			return fmt.Errorf("run of %d blocks from block %d", run.Count, run.Start)
		}
		blocks += uint64(run.Count)
	}
	switch r.Op {
	case OpWrite:
		if blocks != uint64(len(r.CRCs)) {
			return fmt.Errorf("runs of %d blocks with %d sums", blocks, len(r.CRCs))
		}
		if uint64(r.Slot)+blocks > Slots {
			return fmt.Errorf("%d blocks from slot %d", blocks, r.Slot)
		}
	case OpZero, OpUnmap:
		if r.Slot != 0 || len(r.CRCs) != 0 {
			return fmt.Errorf("%s with slot %d and %d sums", r.Op, r.Slot, len(r.CRCs))
		}
	case OpCopy:
		if r.Slot != 0 || blocks != uint64(len(r.CRCs)) || len(r.From) != len(r.Runs) {
			return fmt.Errorf("%s of %d blocks in %d runs with slot %d, %d names and %d sums", r.Op, blocks, len(r.Runs), r.Slot, len(r.From), len(r.CRCs))
		}
		for i, run := range r.Runs {
			if !validSource(r.From[i], run.Count, r.Segment) {
				return fmt.Errorf("copy of %d blocks from %#x", run.Count, uint64(r.From[i]))
			}
		}
	default:
		return fmt.Errorf("unknown %s", r.Op)
	}
	return nil
}

// validSource tells whether n blocks from a name on are in one segment that is older than id.
func validSource(from Name, n uint32, id ID) bool {
	return from.Segment() != 0 && from.Segment() < id && uint64(from.Index())+uint64(n) <= Slots
}

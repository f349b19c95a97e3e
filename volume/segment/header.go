package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// The object: a header, then the frames without gaps. Each number of the fixed part is
// little endian.
//
//	 0  magic "SLSEGO\0\1" (8)
//	 8  format version (2)
//	10  blocks in a frame (1)
//	11  codec that was asked for (1); the frame table says what was used
//	12  length of the header in bytes (4); the first frame begins there
//	16  segment ID (8)
//	24  volume (16)
//	40  epoch (8)
//	48  live blocks (4)
//	52  live runs (4)
//	56  holes (4)
//	60  copies (4)
//	64  since version 2: when the segment was sealed, in milliseconds since 1970, UTC; 0: unknown (8)
//	72  flags: 1 if blocks without a name were left out since (4); zero (4)
//	80  sums: CRC32C of each live block in slot order (4 each)
//	    frame table, for each frame: stored length | codec << 28 (4)
//	    live runs in slot order, each of three varints: slots skipped since the last run's
//	    end; zigzag of start block minus the last run's end block; count
//	    holes in block order, each of two varints: blocks skipped since the last hole's end;
//	    count << 1 | 1 if unmapped
//	    copies in block order, each of three varints: blocks skipped since the last copy's end; count;
//	    name of the first block; then the CRC32C of each block (4 each)
//	    CRC32C of the header before it (4)
const (
	objectMagic  = "SLSEGO\x00\x01"
	objectFixed  = 80
	objectFixed1 = 64 // in version 1
	codecShift   = 28
	flagThinned  = 1
	// maxObjectHeader is more than any segment's header: 2048 live runs, and what holes the
	// records of a metadata region can describe.
	maxObjectHeader = 1 << 20
)

// appendObjectHeader appends a header whose frame table is empty: finishObjectHeader fills it.
func appendObjectHeader(dst []byte, hdr Header, codec Codec, l *Layout) []byte {
	le := binary.LittleEndian
	start := len(dst)
	blocks := l.Blocks()
	dst = append(dst, objectMagic...)
	dst = le.AppendUint16(dst, ObjectVersion)
	dst = append(dst, FrameBlocks, byte(codec))
	dst = le.AppendUint32(dst, 0) // length, see below
	dst = le.AppendUint64(dst, uint64(hdr.ID))
	dst = append(dst, hdr.Volume[:]...)
	dst = le.AppendUint64(dst, hdr.Epoch)
	for _, n := range []int{blocks, len(l.Live), len(l.Holes), len(l.Copies)} {
		dst = le.AppendUint32(dst, uint32(n))
	}
	dst = le.AppendUint64(dst, uint64(millis(l.Sealed)))
	flags := uint64(0)
	if l.Thinned {
		flags |= flagThinned
	}
	dst = le.AppendUint64(dst, flags)
	for _, e := range l.Live {
		for _, crc := range e.CRCs {
			dst = le.AppendUint32(dst, crc)
		}
	}
	dst = append(dst, make([]byte, 4*frameCount(blocks))...)
	slot, block := uint32(0), uint64(0)
	for _, e := range l.Live {
		dst = binary.AppendUvarint(dst, uint64(e.Slot-slot))
		dst = binary.AppendVarint(dst, int64(e.Start-block))
		dst = binary.AppendUvarint(dst, uint64(e.Count))
		slot, block = e.Slot+e.Count, e.End()
	}
	block = 0
	for _, e := range l.Holes {
		dst = binary.AppendUvarint(dst, e.Start-block)
		n := uint64(e.Count) << 1
		if e.Op == OpUnmap {
			n |= 1
		}
		dst = binary.AppendUvarint(dst, n)
		block = e.End()
	}
	block = 0
	for _, e := range l.Copies {
		dst = binary.AppendUvarint(dst, e.Start-block)
		dst = binary.AppendUvarint(dst, uint64(e.Count))
		dst = binary.AppendUvarint(dst, uint64(e.From))
		for _, crc := range e.CRCs {
			dst = le.AppendUint32(dst, crc)
		}
		block = e.End()
	}
	dst = append(dst, 0, 0, 0, 0) // the CRC's place
	le.PutUint32(dst[start+12:], uint32(len(dst)-start))
	return dst
}

// millis returns t in milliseconds since 1970; 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func frameCount(blocks int) int { return (blocks + FrameBlocks - 1) / FrameBlocks }

// finishObjectHeader writes the frame table and the sum into a header.
func finishObjectHeader(head []byte, blocks int, frames []uint32) {
	le := binary.LittleEndian
	for i, f := range frames {
		le.PutUint32(head[objectFixed+4*(blocks+i):], f)
	}
	crc := len(head) - 4
	le.PutUint32(head[crc:], crc32.Checksum(head[:crc], castagnoli))
}

// ParseHeader reads the header at the beginning of an object, of which b is the first part.
// If that is too little it returns *ErrShortHeader. What is no such header is ErrObject, of a
// later format also ErrVersion.
func ParseHeader(b []byte) (*ObjectHeader, error) {
	le := binary.LittleEndian
	if len(b) < objectFixed1 {
		return nil, &ErrShortHeader{Need: objectFixed}
	}
	if string(b[:8]) != objectMagic {
		return nil, fmt.Errorf("%w: it begins with %q", ErrObject, b[:8])
	}
	fixed := uint32(objectFixed)
	switch v := le.Uint16(b[8:]); v {
	case ObjectVersion:
	case 1:
		fixed = objectFixed1
	default:
		return nil, fmt.Errorf("%w: version %d: %w", ErrObject, v, ErrVersion)
	}
	length := le.Uint32(b[12:])
	if length < fixed+4 || length > maxObjectHeader {
		return nil, fmt.Errorf("%w: header of %d bytes", ErrObject, length)
	}
	if len(b) < int(length) {
		return nil, &ErrShortHeader{Need: int(length)}
	}
	b = b[:length]
	if got, want := crc32.Checksum(b[:length-4], castagnoli), le.Uint32(b[length-4:]); got != want {
		return nil, fmt.Errorf("%w: the header's CRC32C is %08x instead of %08x", ErrObject, got, want)
	}
	h := &ObjectHeader{
		Header: Header{ID: ID(le.Uint64(b[16:])), Volume: [16]byte(b[24:40]), Epoch: le.Uint64(b[40:])},
		Codec:  Codec(b[11]),
		Size:   int64(length),
	}
	if fixed == objectFixed {
		h.Sealed = fromMillis(int64(le.Uint64(b[objectFixed1:])))
		flags := le.Uint64(b[objectFixed1+8:])
		if flags&^flagThinned != 0 {
			return nil, fmt.Errorf("%w: segment %s: unknown flags %#x", ErrObject, h.ID, flags)
		}
		h.Thinned = flags&flagThinned != 0
	}
	if err := h.parse(b, fixed); err != nil {
		return nil, fmt.Errorf("%w: segment %s: %w", ErrObject, h.ID, err)
	}
	return h, nil
}

// parse reads the tables of a header whose sum is right.
func (h *ObjectHeader) parse(b []byte, fixed uint32) error {
	le := binary.LittleEndian
	blocks, runs, holes, copies := le.Uint32(b[48:]), le.Uint32(b[52:]), le.Uint32(b[56:]), le.Uint32(b[60:])
	if b[10] != FrameBlocks || h.Codec < CodecRaw || h.Codec > CodecZstd {
		return errors.New("unknown frame size or codec")
	}
	d := decoder{b: b[fixed : len(b)-4]}
	// A block has a sum, a live run at least three bytes, a hole two, a copy seven.
	if blocks > Slots || runs > blocks || (blocks > 0) != (runs > 0) || uint64(holes)*2+uint64(copies)*7 > uint64(len(d.b)) {
		return fmt.Errorf("%d blocks in %d runs, %d holes, %d copies", blocks, runs, holes, copies)
	}
	h.crcs = make([]uint32, blocks)
	for i := range h.crcs {
		h.crcs[i] = d.uint32()
	}
	h.frames = make([]Frame, frameCount(int(blocks)))
	for i := range h.frames {
		v := d.uint32()
		f := Frame{Offset: h.Size, Length: v & (1<<codecShift - 1), Codec: Codec(v >> codecShift)}
		rank, end := h.frameRanks(i)
		raw := (end - rank) * BlockSize
		if f.Codec < CodecRaw || f.Codec > CodecZstd || f.Length == 0 || f.Length > raw || f.Codec == CodecRaw && f.Length != raw {
			return fmt.Errorf("frame %d: %d bytes of %s for %d", i, f.Length, f.Codec, raw)
		}
		h.frames[i] = f
		h.Size += int64(f.Length)
	}
	if err := h.parseLive(&d, int(runs)); err != nil {
		return err
	}
	if err := h.parseHoles(&d, int(holes)); err != nil {
		return err
	}
	if err := h.parseCopies(&d, int(copies)); err != nil {
		return err
	}
	if d.bad || len(d.b) > 0 {
		return errors.New("the header's tables do not have its length")
	}
	return nil
}

func (h *ObjectHeader) parseLive(d *decoder, runs int) error {
	h.live = make([]liveRun, runs)
	slot, block, rank := uint64(0), uint64(0), uint64(0)
	for i := range h.live {
		slot += min(d.uvarint(), Slots)
		block += uint64(d.varint())
		r := Run{Start: block, Count: uint32(min(d.uvarint(), Slots+1))}
		n := uint64(r.Count)
		if !r.valid() || slot+n > Slots || rank+n > uint64(len(h.crcs)) {
			return fmt.Errorf("run of %d blocks from block %d in slot %d", n, block, slot)
		}
		h.live[i] = liveRun{start: block, slot: uint32(slot), count: r.Count, rank: uint32(rank)}
		slot, block, rank = slot+n, block+n, rank+n
	}
	if rank != uint64(len(h.crcs)) {
		return fmt.Errorf("runs of %d blocks, %d sums", rank, len(h.crcs))
	}
	return nil
}

func (h *ObjectHeader) parseHoles(d *decoder, holes int) error {
	h.holes = make([]Extent, 0, holes)
	block := uint64(0)
	for range holes {
		block += min(d.uvarint(), maxBlock)
		n := d.uvarint()
		e := Extent{Op: OpZero, Run: Run{Start: block, Count: uint32(min(n>>1, 1<<32-1))}}
		if n&1 == 1 {
			e.Op = OpUnmap
		}
		if !e.valid() || n>>1 > 1<<32-1 {
			return fmt.Errorf("hole of %d blocks from block %d", n>>1, block)
		}
		h.holes = append(h.holes, e)
		block = e.End()
	}
	return nil
}

func (h *ObjectHeader) parseCopies(d *decoder, copies int) error {
	h.copies = make([]Extent, 0, copies)
	block := uint64(0)
	for range copies {
		block += min(d.uvarint(), maxBlock)
		e := Extent{Op: OpCopy, Run: Run{Start: block, Count: uint32(min(d.uvarint(), Slots+1))}, From: Name(d.uvarint())}
		if !e.valid() || !validSource(e.From, e.Count, h.ID) || uint64(e.Count)*4 > uint64(len(d.b)) {
			return fmt.Errorf("copy of %d blocks from %#x to block %d", e.Count, uint64(e.From), block)
		}
		e.CRCs = make([]uint32, e.Count)
		for i := range e.CRCs {
			e.CRCs[i] = d.uint32()
		}
		h.copies = append(h.copies, e)
		block = e.End()
	}
	return nil
}

// decoder takes numbers from the front of b. After it found too little, all are 0.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint32() uint32 {
	if len(d.b) < 4 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(d.b)
	d.b = d.b[4:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

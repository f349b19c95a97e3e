package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	// Slots is the number of blocks that a local segment file has room for.
	Slots = 2048
	// MetaSize is the length in bytes of the metadata region at the beginning of the file.
	MetaSize = 128 << 10
	// FileSize is the length in bytes of a local segment file.
	FileSize = MetaSize + Slots*BlockSize

	headerPage = 4096 // bytes that the file's header takes; records begin behind it
)

// FileVersion is the version of the local file's format that this program writes.
const FileVersion = 1

// The header page. Each number is little endian.
//
//	   0  magic "SLSEGF\0\1" (8)
//	   8  format version (2), six zero bytes
//	  16  segment ID (8)
//	  24  volume (16)
//	  40  epoch (8)
//	  48  slots (4)
//	  52  length of the metadata region (4)
//	  56  zeros
//	4092  CRC32C of the 4092 bytes before
const (
	fileMagic     = "SLSEGF\x00\x01"
	headerPageCRC = headerPage - 4
)

var (
	// ErrHeader means that a file does not begin with the header of a segment file.
	ErrHeader = errors.New("no valid segment file header")
	// ErrVersion means that the data is in a format that this program does not know.
	ErrVersion = errors.New("unknown format version: was it written by a newer program?")
	// ErrFull means that the segment has no room for the append; nothing was written.
	ErrFull = errors.New("segment is full")
)

// Header tells whose segment it is. It is the same in the local file and in the object.
type Header struct {
	ID     ID
	Volume [16]byte // UUID
	Epoch  uint64   // of the attachment that wrote the segment
}

// File is what the package needs of a local segment file; *os.File is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// castagnoli is the table of CRC32C; package hash/crc32 computes it with the CPU's instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC32C (Castagnoli) of a block, as it is kept in records, in object
// headers and in the block map.
func Checksum(block []byte) uint32 { return crc32.Checksum(block, castagnoli) }

// SlotOffset returns the offset in bytes of a slot in a local segment file.
func SlotOffset(slot uint32) int64 { return MetaSize + int64(slot)*BlockSize }

// ReadBlocks fills p, a multiple of BlockSize, with consecutive blocks of a local segment
// file from slot on. It does not allocate, and it does not check sums: the block map has
// those. It may be called concurrently with everything.
func ReadBlocks(f io.ReaderAt, slot uint32, p []byte) error {
	if len(p)%BlockSize != 0 || uint64(slot)+uint64(len(p)/BlockSize) > Slots {
		return fmt.Errorf("reading %d bytes from slot %d: outside of the segment", len(p), slot)
	}
	n, err := f.ReadAt(p, SlotOffset(slot))
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes from slot %d: %w", len(p), slot, err)
}

// ReadHeader reads and checks the header page of a local segment file. A page that is not
// one gives ErrHeader; one of another version gives ErrVersion, too.
func ReadHeader(f io.ReaderAt) (Header, error) {
	var page [headerPage]byte
	if n, err := f.ReadAt(page[:], 0); n < len(page) {
		if err != nil && !errors.Is(err, io.EOF) {
			return Header{}, fmt.Errorf("reading segment file header: %w", err)
		}
		return Header{}, fmt.Errorf("%w: the file has %d bytes", ErrHeader, n)
	}
	return parseHeaderPage(page[:])
}

func appendHeaderPage(dst []byte, h Header) []byte {
	le := binary.LittleEndian
	start := len(dst)
	dst = append(dst, fileMagic...)
	dst = le.AppendUint16(dst, FileVersion)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, uint64(h.ID))
	dst = append(dst, h.Volume[:]...)
	dst = le.AppendUint64(dst, h.Epoch)
	dst = le.AppendUint32(dst, Slots)
	dst = le.AppendUint32(dst, MetaSize)
	dst = append(dst, make([]byte, start+headerPageCRC-len(dst))...)
	return le.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func parseHeaderPage(page []byte) (Header, error) {
	le := binary.LittleEndian
	if string(page[:8]) != fileMagic {
		return Header{}, fmt.Errorf("%w: it begins with %q", ErrHeader, page[:8])
	}
	if got, want := crc32.Checksum(page[:headerPageCRC], castagnoli), le.Uint32(page[headerPageCRC:]); got != want {
		return Header{}, fmt.Errorf("%w: its CRC32C is %08x instead of %08x", ErrHeader, got, want)
	}
	if v := le.Uint16(page[8:]); v != FileVersion {
		return Header{}, fmt.Errorf("%w: version %d: %w", ErrHeader, v, ErrVersion)
	}
	h := Header{ID: ID(le.Uint64(page[16:])), Volume: [16]byte(page[24:40]), Epoch: le.Uint64(page[40:])}
	if slots, meta := le.Uint32(page[48:]), le.Uint32(page[52:]); slots != Slots || meta != MetaSize {
		return Header{}, fmt.Errorf("%w: %d slots behind %d bytes: %w", ErrHeader, slots, meta, ErrVersion)
	}
	return h, nil
}

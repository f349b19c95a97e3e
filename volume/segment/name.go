package segment

import (
	"fmt"
	"strconv"
	"strings"
)

// BlockSize is the unit of the block map and of a segment, in bytes.
const BlockSize = 4096

const (
	indexBits  = 13
	seqBits    = 27
	writerBits = 24

	// MaxBlocks is the greatest number of blocks in one segment.
	MaxBlocks = 1 << indexBits
	// MaxSequence is the greatest lower part of an ID.
	MaxSequence = 1<<seqBits - 1
	// MaxWriter is the greatest upper part of an ID.
	MaxWriter = 1<<writerBits - 1
)

// ID names a segment in a bucket for ever. Its upper part is the writer, a number
// that is handed out once for each attachment of a volume; its lower part counts
// that writer's segments from 1 without a gap. Two gateways therefore never choose
// the same ID, also when one of them should have stopped. Zero is no segment.
type ID uint64

// NewID returns the ID of a writer's seq-th segment; both count from 1.
func NewID(writer, seq uint32) ID { return ID(writer)<<seqBits | ID(seq) }

// Writer returns the number of the attachment that wrote the segment.
func (id ID) Writer() uint32 { return uint32(id >> seqBits) }

// Sequence returns the segment's place among its writer's segments, from 1.
func (id ID) Sequence() uint32 { return uint32(id & MaxSequence) }

// Next returns the ID of the same writer's following segment.
func (id ID) Next() ID { return id + 1 }

// Key returns the object key: segments/<xx>/<id>, where xx spreads keys over 256 prefixes.
func (id ID) Key() string { return fmt.Sprintf("segments/%02x/%s", byte(id), id) }

// ParseKey returns the segment whose object has a key.
func ParseKey(key string) (ID, bool) {
	n, err := strconv.ParseUint(key[strings.LastIndexByte(key, '/')+1:], 16, 64)
	id := ID(n)
	return id, err == nil && id.Key() == key
}

// String returns the ID as 13 hexadecimal digits.
func (id ID) String() string { return fmt.Sprintf("%013x", uint64(id)) }

// Name names one block for ever: a segment and an index in it. The zero Name means
// that the block holds zeros and occupies no space.
type Name uint64

// NewName returns the name of the index-th block of a segment.
func NewName(id ID, index uint32) Name { return Name(id)<<indexBits | Name(index) }

// Segment returns the segment that holds the block.
func (n Name) Segment() ID { return ID(n >> indexBits) }

// Index returns the block's index in its segment.
func (n Name) Index() uint32 { return uint32(n & (MaxBlocks - 1)) }

// Entry is what the block map holds for one logical block: where the block is, and the
// CRC32C (Castagnoli) of its 4096 bytes. Whoever reads the block, from a local file or
// from the bucket, checks it against this sum.
type Entry struct {
	Name Name
	CRC  uint32
}

package segment

import (
	"errors"
	"fmt"
	"iter"
	"sort"
	"time"
)

const (
	// FrameBlocks is the number of live blocks in a frame; the last one may have fewer.
	FrameBlocks = 16
	// HeaderProbe is how many bytes to fetch first: nearly every header fits.
	HeaderProbe = 64 << 10
	// ObjectVersion is the version of the object's format that this program writes.
	ObjectVersion = 2
)

// ErrObject means that data is not a segment object, or a damaged one.
var ErrObject = errors.New("no valid segment object")

// ErrShortHeader says that a header needs the object's first Need bytes.
type ErrShortHeader struct{ Need int }

func (e *ErrShortHeader) Error() string {
	return fmt.Sprintf("segment object header: the first %d bytes are needed", e.Need)
}

// Frame is a piece of the object that is decompressed as a whole.
type Frame struct {
	Offset int64 // in the object
	Length uint32
	Codec  Codec
}

// ObjectHeader is the parsed header of a segment's object. It is not changed after it was
// made, and may be used concurrently.
type ObjectHeader struct {
	Header
	Codec Codec // what was asked for; Frame tells what was used
	Size  int64 // of the object in bytes
	// Sealed is when the segment took its last append or was closed, by its gateway's clock and to the
	// millisecond: zero if that is not known, as in version 1.
	Sealed time.Time
	// Thinned says that blocks which nothing names any more were left out since: the segment can
	// no longer be replayed, as it does not tell all that it did.
	Thinned bool

	live   []liveRun // in slot order
	holes  []Extent  // in block order
	copies []Extent  // in block order
	crcs   []uint32  // of the live blocks, in slot order
	frames []Frame
}

// liveRun is a run of blocks in consecutive slots, of which rank live blocks come before it.
type liveRun struct {
	start             uint64
	slot, count, rank uint32
}

// Blocks returns the number of live blocks.
func (h *ObjectHeader) Blocks() int { return len(h.crcs) }

// Runs yields the segment's final state for replay into a block map: live runs with
// their slots and sums, then holes, then copies. Each logical block occurs at most once.
func (h *ObjectHeader) Runs() iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for _, r := range h.live {
			e := Extent{Op: OpWrite, Run: Run{r.start, r.count}, Slot: r.slot, CRCs: h.crcs[r.rank : r.rank+r.count : r.rank+r.count]}
			if !yield(e) {
				return
			}
		}
		for _, extents := range [][]Extent{h.holes, h.copies} {
			for _, e := range extents {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// Frames returns the number of frames.
func (h *ObjectHeader) Frames() int { return len(h.frames) }

// Frame describes a frame; frames follow each other without gaps.
func (h *ObjectHeader) Frame(frame int) Frame { return h.frames[frame] }

// FrameSlots yields the slots of a frame's blocks, in the order in which they are stored.
func (h *ObjectHeader) FrameSlots(frame int) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		rank, end := h.frameRanks(frame)
		for i := h.runOfRank(rank); rank < end; i++ {
			r := h.live[i]
			for ; rank < min(end, r.rank+r.count); rank++ {
				if !yield(r.slot + rank - r.rank) {
					return
				}
			}
		}
	}
}

// FrameRange returns the first and the last frame that hold n slots from slot on. It is an
// error if one of them is not in the object, because it was never used or its block was
// overwritten before the segment was sealed.
func (h *ObjectHeader) FrameRange(slot, n uint32) (first, last int, err error) {
	if n == 0 || uint64(slot)+uint64(n) > Slots {
		return 0, 0, fmt.Errorf("%d slots from slot %d: outside of the segment", n, slot)
	}
	i := sort.Search(len(h.live), func(i int) bool { return h.live[i].slot+h.live[i].count > slot })
	if i == len(h.live) || h.live[i].slot > slot {
		return 0, 0, fmt.Errorf("slot %d has no block", slot)
	}
	rank := h.live[i].rank + slot - h.live[i].slot
	for end := slot + n; ; i++ {
		runEnd := h.live[i].slot + h.live[i].count
		if runEnd >= end {
			break
		}
		if i+1 == len(h.live) || h.live[i+1].slot != runEnd {
			return 0, 0, fmt.Errorf("slot %d has no block", runEnd)
		}
	}
	return int(rank / FrameBlocks), int((rank + n - 1) / FrameBlocks), nil
}

// DecodeFrame appends the blocks of a frame to dst, in the order of FrameSlots, and checks
// the sum of each. stored is what the object holds at the frame's place. Errors are ErrObject.
func (h *ObjectHeader) DecodeFrame(frame int, stored, dst []byte) ([]byte, error) {
	if frame < 0 || frame >= len(h.frames) {
		return dst, fmt.Errorf("%w: segment %s has no frame %d", ErrObject, h.ID, frame)
	}
	f := h.frames[frame]
	if len(stored) != int(f.Length) {
		return dst, fmt.Errorf("%w: segment %s, frame %d: %d bytes instead of %d", ErrObject, h.ID, frame, len(stored), f.Length)
	}
	start := len(dst)
	rank, end := h.frameRanks(frame)
	out, err := decompress(f.Codec, dst, stored, int(end-rank)*BlockSize)
	if err != nil {
		return dst, fmt.Errorf("%w: segment %s, frame %d: %w", ErrObject, h.ID, frame, err)
	}
	for p := out[start:]; rank < end; rank, p = rank+1, p[BlockSize:] {
		if got := Checksum(p[:BlockSize]); got != h.crcs[rank] {
			return dst, fmt.Errorf("%w: segment %s, frame %d: the block of slot %d has CRC32C %08x instead of %08x",
				ErrObject, h.ID, frame, h.slotOfRank(rank), got, h.crcs[rank])
		}
	}
	return out, nil
}

// frameRanks returns which live blocks, counted in slot order, a frame has.
func (h *ObjectHeader) frameRanks(frame int) (rank, end uint32) {
	rank = uint32(frame) * FrameBlocks
	return rank, min(rank+FrameBlocks, uint32(len(h.crcs)))
}

// runOfRank returns the index of the run that has a live block.
func (h *ObjectHeader) runOfRank(rank uint32) int {
	return sort.Search(len(h.live), func(i int) bool { return h.live[i].rank+h.live[i].count > rank })
}

func (h *ObjectHeader) slotOfRank(rank uint32) uint32 {
	r := h.live[h.runOfRank(rank)]
	return r.slot + rank - r.rank
}

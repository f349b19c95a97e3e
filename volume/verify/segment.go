package verify

import (
	"context"
	"iter"

	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// Segment is a segment that was looked at, for whoever wants to do something about it. It may be used until Visit returns.
type Segment struct {
	need *need
	bad  *badSegment
	v    *verifier
}

// ID returns which segment it is.
func (s *Segment) ID() segment.ID { return s.need.id }

// Whole tells whether the segment is to be replayed: then it is needed with all that it did, not only with the blocks that maps name.
func (s *Segment) Whole() bool { return s.need.whole }

// Damaged tells whether something of it is lost.
func (s *Segment) Damaged() bool { return s.bad != nil }

// Reason says what is wrong with it, empty if nothing is.
func (s *Segment) Reason() string {
	if s.bad == nil {
		return ""
	}
	return s.bad.reason
}

// Wants yields the slots that maps name, in order, with the CRC32C of each block.
func (s *Segment) Wants() iter.Seq2[uint32, uint32] {
	return func(yield func(slot, crc uint32) bool) {
		for _, w := range s.need.wants {
			if !yield(uint32(w.slot), w.crc) {
				return
			}
		}
	}
}

// Lost tells whether the block of a slot is lost.
func (s *Segment) Lost(slot uint32) bool { return s.bad.has(slot) }

// Blocks returns a block of a volume for each slot that maps name. It reads a part of the map again.
func (s *Segment) Blocks(ctx context.Context) (map[uint32]uint64, error) {
	blocks := map[uint32]uint64{}
	if s.need.blocks == 0 {
		return blocks, nil
	}
	err := s.v.fresh(ctx, s.need.first, s.need.last+1, func(run blockmap.Run) {
		for i, e := range run.Entries {
			if e.Name.Segment() != s.need.id {
				continue
			}
			if _, ok := blocks[e.Name.Index()]; !ok {
				blocks[e.Name.Index()] = run.Block + uint64(i)
			}
		}
	})
	return blocks, err
}

package scrub

import (
	"context"

	"sluice/cache"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

// checkLocal compares the local copy of a segment with what maps want of it. What is wrong is dropped: it is fetched again when it is needed.
func (s *scrubber) checkLocal(_ context.Context, seg *verify.Segment) (changed bool, err error) {
	if s.opts.Quick {
		return false, nil
	}
	local := s.opts.Cache.Acquire(seg.ID())
	if local == nil {
		return false, nil
	}
	defer local.Release()
	block := make([]byte, segment.BlockSize)
	bad := 0
	for slot, crc := range seg.Wants() {
		if !local.Holds(slot) || readLocal(local, slot, crc, block) || !local.Holds(slot) {
			continue
		}
		bad++
		if s.opts.Cache.Invalidate(seg.ID(), slot, 1) {
			s.localDropped.Add(1)
		} else {
			s.localBad.Add(1)
		}
	}
	if bad > 0 {
		s.opts.Logger.Warn("a local copy had wrong blocks", "segment", seg.ID(), "blocks", bad)
	}
	return false, nil
}

// readLocal reads a block of a local copy, and tells whether it is the one that is wanted.
func readLocal(local *cache.Segment, slot, crc uint32, block []byte) bool {
	return segment.ReadBlocks(local.File, slot, block) == nil && segment.Checksum(block) == crc
}

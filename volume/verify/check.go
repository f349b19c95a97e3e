package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice/object"
	"sluice/volume/segment"
)

// checker looks for blocks in one segment of the bucket.
type checker struct {
	store object.Store
	need  *need
	wants []want // sorted
	quick bool

	header *segment.ObjectHeader
	bad    *badSegment
}

// check returns what is wrong, or nil. An error means that nothing is known.
func (c *checker) check(ctx context.Context) (*badSegment, error) {
	var err error
	c.header, err = segment.FetchHeader(ctx, c.store, c.need.id)
	if whole, fatal := judge(err); fatal != nil {
		return nil, fatal
	} else if whole != "" {
		c.loseAll(whole)
		return c.bad, nil
	}
	c.checkSums()
	if c.need.whole {
		c.checkWhole()
	}
	if c.quick {
		err = c.checkSize(ctx)
	} else {
		err = c.checkFrames(ctx)
	}
	return c.bad, err
}

// judge tells damage, and what to call it, from a failure that says nothing of the object.
func judge(err error) (damage string, fatal error) {
	switch {
	case err == nil:
		return "", nil
	case errors.Is(err, object.ErrNotFound):
		return "the object is missing", nil
	case errors.Is(err, segment.ErrObject):
		return err.Error(), nil
	}
	return "", err
}

func (c *checker) lose(slot uint16, reason string) {
	c.fault(reason)
	c.bad.slots[slot/64] |= 1 << (slot % 64)
}

// fault notes that something is wrong, whether or not a block is lost by it.
func (c *checker) fault(reason string) {
	if c.bad == nil {
		c.bad = &badSegment{reason: reason}
	}
}

func (c *checker) loseAll(reason string) {
	c.fault(reason)
	for _, w := range c.wants {
		c.lose(w.slot, reason)
	}
}

// Sums returns the CRC32C of each block of a segment by slot.
func Sums(h *segment.ObjectHeader) map[uint32]uint32 {
	sums := make(map[uint32]uint32, h.Blocks())
	for e := range h.Runs() {
		if e.Op != segment.OpWrite {
			continue
		}
		for i, crc := range e.CRCs {
			sums[e.Slot+uint32(i)] = crc
		}
	}
	return sums
}

// checkSums compares the sums of the map with those of the header.
func (c *checker) checkSums() {
	sums := Sums(c.header)
	for _, w := range c.wants {
		crc, ok := sums[uint32(w.slot)]
		switch {
		case !ok:
			c.lose(w.slot, fmt.Sprintf("slot %d has no block", w.slot))
		case crc != w.crc:
			c.lose(w.slot, fmt.Sprintf("the block of slot %d has CRC32C %08x, and the map wants %08x", w.slot, crc, w.crc))
		}
	}
}

// checkWhole looks whether the segment can be replayed, and wants all of its blocks, whether or not a map names them.
func (c *checker) checkWhole() {
	if c.header.Thinned {
		c.fault("it was thinned, although it is to be replayed")
	}
	wants := slices.Clone(c.wants)
	for slot, crc := range Sums(c.header) {
		wants = append(wants, want{uint16(slot), crc})
	}
	slices.SortFunc(wants, compareWants)
	c.wants = slices.Compact(wants)
}

// checkSize finds objects that were cut short, without reading them.
func (c *checker) checkSize(ctx context.Context) error {
	info, err := c.store.Stat(ctx, c.need.id.Key())
	if errors.Is(err, object.ErrNotFound) {
		c.loseAll("the object is missing")
		return nil
	}
	if err != nil {
		return fmt.Errorf("asking for the size of segment %s: %w", c.need.id, err)
	}
	if info.Size < c.header.Size {
		c.loseAll(fmt.Sprintf("the object has %d bytes instead of %d", info.Size, c.header.Size))
	}
	return nil
}

const (
	frameGap  = 64 << 10 // bytes read for nothing rather than asking twice
	readBytes = 1 << 20  // of one request
)

// checkFrames reads the frames that hold wanted blocks, and checks the content of each.
func (c *checker) checkFrames(ctx context.Context) error {
	frames := c.frames()
	for len(frames) > 0 {
		first := c.header.Frame(frames[0])
		n, end := 1, first.Offset+int64(first.Length)
		for n < len(frames) {
			f := c.header.Frame(frames[n])
			if f.Offset > end+frameGap || f.Offset+int64(f.Length)-first.Offset > readBytes {
				break
			}
			end = f.Offset + int64(f.Length)
			n++
		}
		data, _, err := c.store.GetRange(ctx, c.need.id.Key(), first.Offset, end-first.Offset)
		if whole, fatal := judge(err); fatal != nil {
			return fmt.Errorf("reading segment %s: %w", c.need.id, fatal)
		} else if whole != "" {
			c.loseAll(whole)
			return nil
		}
		c.decode(frames[:n], data, first.Offset)
		frames = frames[n:]
	}
	return nil
}

// frames returns the frames that hold wanted blocks, in order.
func (c *checker) frames() []int {
	var list []int
	for _, w := range c.wants {
		if frame, _, err := c.header.FrameRange(uint32(w.slot), 1); err == nil { // else it was found by its sum
			list = append(list, frame)
		}
	}
	slices.Sort(list) // slots are in the order of frames: this changes nothing
	return slices.Compact(list)
}

// decode checks frames of which data was read from an offset of the object on.
func (c *checker) decode(frames []int, data []byte, off int64) {
	var blocks []byte
	for _, i := range frames {
		f := c.header.Frame(i)
		from := min(f.Offset-off, int64(len(data)))
		to := min(from+int64(f.Length), int64(len(data)))
		var err error
		if blocks, err = c.header.DecodeFrame(i, data[from:to], blocks[:0]); err != nil {
			for slot := range c.header.FrameSlots(i) {
				if c.wanted(slot) {
					c.lose(uint16(slot), err.Error())
				}
			}
		}
	}
}

func (c *checker) wanted(slot uint32) bool {
	_, ok := slices.BinarySearchFunc(c.wants, slot, func(w want, slot uint32) int { return int(w.slot) - int(slot) })
	return ok
}

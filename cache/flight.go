package cache

import (
	"context"
	"errors"
	"slices"

	"sluice/volume/segment"
)

// flight is one request to the bucket for adjacent frames of a segment. Other readers of
// those frames wait for it.
type flight struct {
	first, last int
	done        chan struct{} // closed when it has landed
	err         error         // set before that
}

// headerFrame stands for the object's header in a flight.
const headerFrame = -1

// wait returns when the flight has landed, with its error: one failure is enough for all
// who wait. But that its owner gave up says nothing about the bucket, and is no error here.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if errors.Is(f.err, context.Canceled) || errors.Is(f.err, context.DeadlineExceeded) {
		return nil
	}
	return f.err
}

// claim looks at frames first to last and begins a flight for the first run of them that is
// neither present nor under way. If there is none it returns a flight that is under
// way; if all frames are present, neither.
func (s *Segment) claim(hdr *segment.ObjectHeader, first, last int) (mine, other *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stored := int64(0)
	for f := first; f <= last && stored < maxGet; f++ {
		busy := s.flightOf(f)
		if other == nil {
			other = busy
		}
		switch {
		case busy == nil && !s.hasFrame(hdr, f):
			if mine == nil {
				mine = s.begin(f)
			}
			mine.last = f
			stored += int64(hdr.Frame(f).Length)
		case mine != nil:
			return mine, nil
		}
	}
	if mine != nil {
		return mine, nil
	}
	return nil, other
}

// claimHeader begins a flight for the object's header, or returns the one under way.
func (s *Segment) claimHeader() (mine, other *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other = s.flightOf(headerFrame); other != nil {
		return nil, other
	}
	return s.begin(headerFrame), nil
}

// begin starts a flight for one frame. The caller holds mu.
func (s *Segment) begin(frame int) *flight {
	f := &flight{first: frame, last: frame, done: make(chan struct{})}
	s.flights = append(s.flights, f)
	return f
}

// flightOf returns the flight that a frame is on, or nil. The caller holds mu.
func (s *Segment) flightOf(frame int) *flight {
	for _, f := range s.flights {
		if f.first <= frame && frame <= f.last {
			return f
		}
	}
	return nil
}

// hasFrame tells whether all blocks of a frame are present. The caller holds mu.
func (s *Segment) hasFrame(hdr *segment.ObjectHeader, frame int) bool {
	if s.whole {
		return true
	}
	for slot := range hdr.FrameSlots(frame) {
		if !s.present.has(slot, 1) {
			return false
		}
	}
	return true
}

// land ends a flight.
func (s *Segment) land(f *flight, err error) {
	s.mu.Lock()
	s.flights = slices.DeleteFunc(s.flights, func(g *flight) bool { return g == f })
	s.mu.Unlock()
	f.err = err
	close(f.done)
}

// header returns the parsed header of a segment's object.
func (c *Cache) header(ctx context.Context, s *Segment) (*segment.ObjectHeader, error) {
	for {
		if hdr, ok := c.headers.Get(s.ID); ok {
			return hdr, nil
		}
		mine, other := s.claimHeader()
		if other != nil {
			if err := other.wait(ctx); err != nil {
				return nil, err
			}
			continue
		}
		hdr, ok := c.headers.Get(s.ID) // it may have come before the claim
		var err error
		if !ok {
			if hdr, err = segment.FetchHeader(ctx, c.opts.Source, s.ID); err == nil {
				c.headers.Add(s.ID, hdr)
			}
		}
		s.land(mine, err)
		return hdr, err
	}
}

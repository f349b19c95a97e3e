package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sluice/volume/segment"
)

// spare is a prepared segment file, or why it could not be prepared.
type spare struct {
	open *openSegment
	err  error
}

// prepare makes the file of segment id, ahead of its use since that takes several syncs.
func (v *Volume) prepare(id segment.ID) {
	v.done.Go(func() {
		o := &openSegment{}
		err := errOutOfIDs
		if id.Sequence() < segment.MaxSequence {
			o.seg, err = v.opts.Cache.Create(id, v.id, func(f *os.File) (err error) {
				hdr := segment.Header{ID: id, Volume: v.id, Epoch: v.epoch}
				o.w, err = segment.Create(f, hdr)
				return err
			})
		}
		if err != nil {
			o = nil
		}
		v.spares <- spare{o, err}
	})
}

var errOutOfIDs = errors.New("this attachment has used all its segment numbers: detach the volume and attach it again")

// opened returns the segment that takes appends; it begins one if there is none. The
// caller holds mu.
func (v *Volume) opened(ctx context.Context) (*openSegment, error) {
	if v.open != nil {
		return v.open, nil
	}
	select {
	case s := <-v.spares:
		if s.err != nil {
			v.prepare(v.last.Next()) // again at the next write: there may be room by then
			if v.refused == nil {
				_, v.refused = v.waits.begin(ctx, WorkWrite)
			}
			v.refused.failed(s.err, time.Time{})
			return nil, fmt.Errorf("preparing a segment: %w", s.err)
		}
		v.refused.end()
		v.refused = nil
		v.open, v.last = s.open, s.open.seg.ID
		v.prepare(v.last.Next())
		return v.open, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hasRoom tells whether blocks in so many runs can be appended without waiting for a
// file. The caller holds mu.
func (v *Volume) hasRoom(blocks, runs int) bool {
	if v.open != nil && v.open.w.Fits(runs, blocks) {
		return true
	}
	return blocks+maxRun <= segment.Slots && len(v.spares) > 0
}

// rotate seals the open segment: it takes no more appends and goes to the bucket. The
// caller holds mu.
func (v *Volume) rotate() {
	o := v.open
	if o == nil || o.since.IsZero() {
		return
	}
	v.open, v.sealed, v.sealedAppends = nil, o.seg.ID, v.appends
	if v.rootDue && v.frozen == nil {
		// Just here the map is the state after a whole number of segments.
		v.frozen, v.rootDue = v.m.Freeze(o.seg.ID), false
	}
	v.queue.push(upload{id: o.seg.ID, records: o.w.Records(), blocks: o.blocks, appends: v.appends, since: o.since, sealed: time.Now(), end: reachOf(o.w)})
	o.seg.Release()
	signal(v.grown)
}

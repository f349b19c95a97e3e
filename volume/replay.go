package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sluice/object"
	"sluice/volume/segment"
)

// replaySpan replays the segments of one span that are behind rec.start. It returns the
// sequence number of the last segment of the span that counts.
func (v *Volume) replaySpan(ctx context.Context, rec *recovery, span Span, unsent map[segment.ID]bool) (uint32, error) {
	to := uint32(0)
	if rec.start.Writer() > span.Writer {
		return span.To, nil
	}
	if rec.start.Writer() == span.Writer {
		to = rec.start.Sequence()
	}
	for !rec.torn && (span.To == 0 || to < span.To) {
		id := segment.NewID(span.Writer, to+1)
		found, err := v.replay(ctx, rec, id)
		if err != nil {
			return to, err
		}
		if found == nil {
			break
		}
		to++
		rec.end = id
		if unsent[id] && found.records > 0 {
			rec.unsent = append(rec.unsent, *found)
			delete(unsent, id)
		}
	}
	return to, nil
}

// replay applies one segment to the map. found is nil if the segment is nowhere.
func (v *Volume) replay(ctx context.Context, rec *recovery, id segment.ID) (found *upload, err error) {
	if s := v.opts.Cache.Acquire(id); s != nil {
		defer s.Release()
		if found, err := v.replayFile(ctx, rec, s.File, id); found != nil || err != nil {
			return found, err
		}
	}
	hdr, err := segment.FetchHeader(ctx, v.opts.Store, id)
	if errors.Is(err, object.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("replaying segment %s: %w", id, err)
	}
	if hdr.Thinned {
		return nil, fmt.Errorf("replaying segment %s: %w: it was thinned, although it is newer than the newest root", id, ErrDamaged)
	}
	for e := range hdr.Runs() {
		if err := v.apply(ctx, id, e); err != nil {
			return nil, err
		}
	}
	return &upload{id: id}, nil
}

// replayFile applies a local segment file to the map. It returns nil if the file is a copy
// from the bucket, or has no record: such a segment was only prepared.
func (v *Volume) replayFile(ctx context.Context, rec *recovery, f *os.File, id segment.ID) (*upload, error) {
	read := segment.RecoverSynced
	if rec.rebooted {
		read = segment.Recover
	}
	got, err := read(f, id)
	if errors.Is(err, segment.ErrHeader) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("replaying segment %s: %w", id, err)
	}
	if len(got.Records) == 0 {
		return nil, nil
	}
	if n := rec.sound(got.Records); n < len(got.Records) {
		got.Cut(n)
	}
	rec.slots[id] = got.Slot
	for i := range got.Records {
		for e := range got.Records[i].Extents() {
			if err := v.apply(ctx, id, e); err != nil {
				return nil, err
			}
		}
	}
	if rec.torn = got.Torn; got.Torn && rec.rebooted {
		rec.tails = append(rec.tails, got)
	}
	if len(got.Records) == 0 {
		return nil, nil
	}
	// What the last process wrote may still be in memory only, and no flush would know.
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("syncing segment %s: %w", id, err)
	}
	u, err := leftover(f, id, got)
	return &u, err
}

// sound returns how many records, from the first on, copy only what is there. The file of an earlier segment may have lost its tail, without a
// trace of it, and that of a later one a record that refers to it not, if no flush was for either.
func (rec *recovery) sound(records []segment.Record) int {
	for i := range records {
		if records[i].Op != segment.OpCopy {
			continue
		}
		for e := range records[i].Extents() {
			if slots, local := rec.slots[e.From.Segment()]; local && e.From.Index()+e.Count > slots {
				return i
			}
		}
	}
	return len(records)
}

// trim makes local segments end, for every later reader, where recovery found that they end. A record behind that place may look
// good to one who trusts this boot and does not check the data of each. The history in the head ends there
// already: trimmed before, a segment would not show any more that it lost something.
func (v *Volume) trim(tails []*segment.Recovered) error {
	for _, got := range tails {
		s := v.opts.Cache.Acquire(got.Header.ID)
		if s == nil {
			continue
		}
		_, err := segment.Resume(s.File, got)
		s.Release()
		if err != nil {
			return fmt.Errorf("trimming a recovered segment: %w", err)
		}
	}
	return nil
}

// leftover describes a local segment that an earlier process left to be uploaded.
func leftover(f *os.File, id segment.ID, got *segment.Recovered) (upload, error) {
	info, err := f.Stat()
	if err != nil {
		return upload{}, fmt.Errorf("recovering segment %s: %w", id, err)
	}
	// Its last append was the last to change the file.
	return upload{
		id: id, records: len(got.Records), blocks: int64(got.Slot), since: time.Now(), sealed: info.ModTime(),
		end: reach{got.Offset, segment.SlotOffset(got.Slot)},
	}, nil
}

// apply brings the map up to date with one run of a segment.
func (v *Volume) apply(ctx context.Context, id segment.ID, e segment.Extent) error {
	var err error
	if first := e.First(id); first != 0 {
		err = v.m.Set(ctx, e.Start, first, e.CRCs)
	} else {
		err = v.m.Clear(ctx, e.Start, uint64(e.Count))
	}
	if err != nil {
		return fmt.Errorf("replaying segment %s: %w", id, err)
	}
	return nil
}

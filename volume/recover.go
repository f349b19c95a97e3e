package volume

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// localState says how far the local block map may be trusted. It is written when an
// attachment begins, and again when it is closed.
type localState struct {
	Epoch uint64 `json:"epoch"`
	Boot  string `json:"boot"`
	Clean bool   `json:"clean"` // closed: everything was synced
}

func stateKey(id uuid.UUID) []byte { return append([]byte{'v'}, id[:]...) }

func saveState(db *badger.DB, id uuid.UUID, st localState) error {
	body, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("encoding local state: %w", err)
	}
	if err := db.Update(func(tx *badger.Txn) error { return tx.Set(stateKey(id), body) }); err != nil {
		return fmt.Errorf("saving local state: %w", err)
	}
	if err := db.Sync(); err != nil {
		return fmt.Errorf("saving local state: %w", err)
	}
	return nil
}

func loadState(db *badger.DB, id uuid.UUID) (st localState, err error) {
	err = db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(stateKey(id))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(b []byte) error { return json.Unmarshal(b, &st) })
	})
	if err != nil {
		return st, fmt.Errorf("loading local state: %w", err)
	}
	return st, nil
}

// recovery is what recover found.
type recovery struct {
	spans     []Span               // the history, with every span closed
	start     segment.ID           // the map was replayed from behind this segment
	end       segment.ID           // the newest segment
	rooted    segment.ID           // the position of the root in the bucket
	published segment.ID           // the newest segment that is in the bucket with all before it
	unsent    []upload             // local segments that may not be in the bucket
	rebooted  bool                 // the machine, since the volume was last served without a clean end
	torn      bool                 // the last segment replayed lost its tail: nothing behind it counts
	tails     []*segment.Recovered // local segments with records that do not count, to be trimmed
}

// recover makes the newest state of the map that can be had. It starts from the local
// map's checkpoint if that can be trusted, else from the root in the bucket, and
// replays every segment behind it, from the local file where there is one, else from the
// header of its object. The history ends at the first segment that is nowhere.
func (v *Volume) recover(ctx context.Context) (*recovery, error) {
	rec := &recovery{}
	head := v.claim.Head()
	if head.Root != nil {
		rec.rooted = head.Root.Position
	}
	if err := v.openMap(ctx, head, rec); err != nil {
		return rec, err
	}
	unsent := map[segment.ID]bool{}
	for _, id := range v.opts.Cache.Unsent(v.id) {
		unsent[id] = true
	}
	for i, span := range head.Spans {
		closed := span
		var err error
		if closed.To, err = v.replaySpan(ctx, rec, span, unsent); err != nil {
			return rec, err
		}
		if closed.To > 0 {
			rec.spans = append(rec.spans, closed)
		}
		if closed.To == span.To {
			// Whoever closed the span knew of the lost tail: the next attachment was written on top of what is left.
			rec.torn = false
		}
		if span.To > 0 && closed.To < span.To { // the history ends here
			if i < len(head.Spans)-1 {
				v.log.Warn("later writes are lost: an earlier segment was never uploaded", "segment", segment.NewID(span.Writer, closed.To+1))
			}
			break
		}
	}
	if rec.end < head.Published {
		return rec, fmt.Errorf("%w: segment %s was published, but the history ends at %s", ErrDamaged, head.Published, rec.end)
	}
	return rec, v.settleUnsent(rec, unsent)
}

// openMap opens the local map, or makes a new one from the root, and notes in rec what it
// contains.
func (v *Volume) openMap(ctx context.Context, head *Head, rec *recovery) error {
	st, err := loadState(v.opts.DB, v.id)
	if err != nil {
		return err
	}
	owner := head.Owner
	ours := owner != nil && owner.Gateway == v.opts.Gateway && st.Epoch == head.Epoch
	// A clean end of an attachment says nothing of a later one.
	clean := st.Clean && st.Epoch == head.Epoch
	rec.rebooted = st.Boot != v.opts.Boot && !clean
	trusted := ours && !rec.rebooted
	mapOpts := blockmap.Options{CacheBytes: v.opts.MapBytes, Store: v.opts.Store}
	if v.m, err = blockmap.Open(v.opts.DB, v.id, mapOpts); err != nil && !errors.Is(err, blockmap.ErrCorrupt) {
		return fmt.Errorf("opening the block map: %w", err)
	}
	if err == nil && trusted {
		// One that is older than the root would be brought up to date by segments that may be
		// garbage by now.
		if pos, ok := v.m.Position(); ok && pos >= rec.rooted {
			rec.start, rec.end = pos, pos
			if head.Root == nil {
				return nil
			}
			if err := v.m.Rebase(ctx, *head.Root); err != nil {
				return fmt.Errorf("opening the block map: %w", err)
			}
			return nil
		}
	}
	if v.m != nil {
		if err := v.m.Close(); err != nil {
			return fmt.Errorf("closing the block map: %w", err)
		}
	}
	if err := blockmap.Drop(v.opts.DB, v.id); err != nil {
		return fmt.Errorf("dropping the local block map: %w", err)
	}
	if v.m, err = blockmap.Open(v.opts.DB, v.id, mapOpts); err != nil {
		return fmt.Errorf("opening the block map: %w", err)
	}
	if head.Root != nil {
		if err := v.m.LoadRoot(ctx, *head.Root); err != nil {
			return fmt.Errorf("loading the block map from the bucket: %w", err)
		}
	}
	rec.start, rec.end = rec.rooted, rec.rooted
	return nil
}

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
	// What the last process wrote may still be in memory only, and no flush would know.
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("syncing segment %s: %w", id, err)
	}
	u, err := leftover(f, id, got)
	return &u, err
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
	return upload{id: id, records: len(got.Records), blocks: int64(got.Slot), since: time.Now(), sealed: info.ModTime()}, nil
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

// settleUnsent reports, and drops if nothing is lost by it, the local segments that are not
// part of the history: prepared ones without a record, and those of an attachment that
// ended when another gateway took over.
func (v *Volume) settleUnsent(rec *recovery, unsent map[segment.ID]bool) error {
	for id := range unsent {
		s := v.opts.Cache.Acquire(id)
		if s == nil {
			continue
		}
		var u upload
		got, err := segment.RecoverSynced(s.File, id)
		if err == nil {
			err = s.File.Sync() // as in replayFile
		}
		if err == nil {
			u, err = leftover(s.File, id, got)
		}
		s.Release()
		if err != nil && !errors.Is(err, segment.ErrHeader) {
			return err
		}
		switch {
		case err != nil || u.records == 0:
			if err := v.opts.Cache.Discard(id); err != nil {
				return err
			}
		case id <= rec.start && inHistory(rec.spans, id): // in the map already, but the upload was not noted
			rec.unsent = append(rec.unsent, u)
		default:
			v.log.Warn("a local segment is not part of the volume any more: another gateway took over before it was uploaded",
				"segment", id, "bytes", u.blocks*segment.BlockSize)
		}
	}
	slices.SortFunc(rec.unsent, func(a, b upload) int { return cmp.Compare(a.id, b.id) })
	rec.published = rec.end
	if len(rec.unsent) > 0 {
		rec.published = rec.unsent[0].id - 1
	}
	return nil
}

// inHistory tells whether a segment is part of what the closed spans describe.
func inHistory(spans []Span, id segment.ID) bool {
	return slices.ContainsFunc(spans, func(s Span) bool { return s.Writer == id.Writer() && id.Sequence() <= s.To })
}

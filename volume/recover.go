package volume

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

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
	if err := saveJSON(db, stateKey(id), st); err != nil {
		return fmt.Errorf("saving local state: %w", err)
	}
	return nil
}

// saveJSON stores a value durably.
func saveJSON(db *badger.DB, key []byte, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := db.Update(func(tx *badger.Txn) error { return tx.Set(key, body) }); err != nil {
		return err
	}
	return db.Sync()
}

// loadJSON leaves value as it is if there is none.
func loadJSON(tx *badger.Txn, key []byte, value any) error {
	item, err := tx.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return item.Value(func(b []byte) error { return json.Unmarshal(b, value) })
}

func loadState(db *badger.DB, id uuid.UUID) (st localState, err error) {
	err = db.View(func(tx *badger.Txn) error { return loadJSON(tx, stateKey(id), &st) })
	if err != nil {
		return st, fmt.Errorf("loading local state: %w", err)
	}
	return st, nil
}

// dbNotes are the Notes of a volume in the index.
type dbNotes struct {
	db *badger.DB
	id uuid.UUID
}

func (n dbNotes) key() []byte { return append([]byte{'n'}, n.id[:]...) }

// Load implements Notes.
func (n dbNotes) Load() (nonces []string, err error) {
	err = n.db.View(func(tx *badger.Txn) error { return loadJSON(tx, n.key(), &nonces) })
	if err != nil {
		return nil, fmt.Errorf("loading the notes of the head: %w", err)
	}
	return nonces, nil
}

// Save implements Notes.
func (n dbNotes) Save(nonces []string) error {
	if err := saveJSON(n.db, n.key(), nonces); err != nil {
		return fmt.Errorf("noting the head: %w", err)
	}
	return nil
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

	slots map[segment.ID]uint32 // of the local segments that were replayed: how many have a block
}

// recover makes the newest state of the map that can be had. It starts from the local
// map's checkpoint if that can be trusted, else from the root in the bucket, and
// replays every segment behind it, from the local file where there is one, else from the
// header of its object. The history ends at the first segment that is nowhere.
//
// The ownership is taken already, and head is as it was before that.
func (v *Volume) recover(ctx context.Context, head *Head) (*recovery, error) {
	rec := &recovery{slots: map[segment.ID]uint32{}}
	if head.Root != nil {
		rec.rooted = head.Root.Position
	}
	if err := v.openMap(ctx, head, rec); err != nil {
		return rec, err
	}
	if !v.claim.Familiar() {
		if err := v.disown(); err != nil {
			return rec, err
		}
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

// disown drops what is here of the volume and is not in the bucket: another process with this gateway's
// identity went on with it.
func (v *Volume) disown() error {
	unsent := v.opts.Cache.Unsent(v.id)
	if len(unsent) == 0 {
		return nil
	}
	v.log.Warn("local segments are dropped: another process with this gateway's identity went on with the volume", "segments", len(unsent))
	if err := v.opts.Cache.Discard(unsent...); err != nil {
		return fmt.Errorf("dropping local segments: %w", err)
	}
	return nil
}

// openMap opens the local map, or makes a new one from the root, and notes in rec what it
// contains.
func (v *Volume) openMap(ctx context.Context, head *Head, rec *recovery) error {
	st, err := loadState(v.opts.DB, v.id)
	if err != nil {
		return err
	}
	owner := head.Owner
	ours := owner != nil && owner.Gateway == v.opts.Gateway && st.Epoch == head.Epoch && v.claim.Familiar()
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
			v.log.Warn("a local segment is not part of the volume any more: the history ends before it",
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

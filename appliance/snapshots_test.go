package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/blockmap"
)

// failingCut fails with its errors, one after the other, before it is finished.
type failingCut struct {
	errs  []error
	tries int
	lost  error // what Confirm says, in the end
	asked int
}

// Confirm does not get an answer at first.
func (c *failingCut) Confirm(context.Context) error {
	if c.asked++; c.asked == 1 {
		return errors.New("the bucket refuses")
	}
	return c.lost
}

func (c *failingCut) Time() time.Time               { return time.Time{} }
func (c *failingCut) Size() int64                   { return 0 }
func (c *failingCut) Progress() (done, total int64) { return 0, 0 }
func (c *failingCut) Close()                        {}
func (c *failingCut) Finish(context.Context) (root blockmap.Root, err error) {
	if c.tries < len(c.errs) {
		err = c.errs[c.tries]
	}
	c.tries++
	return root, err
}

// TestSnapshotIsTriedAgain has a snapshot fail: it is tried again, but for an error that stays.
func TestSnapshotIsTriedAgain(t *testing.T) {
	passes := errors.New("the bucket refuses")
	for name, tc := range map[string]struct {
		errs  []error
		tries int
		fails bool
	}{
		"never":                        {tries: 1},
		"what passes":                  {errs: []error{passes, passes, passes}, tries: 4},
		"no room for it on the disk":   {errs: []error{fmt.Errorf("%w: no space left", volume.ErrAborted)}, tries: 1, fails: true},
		"closed after a first failure": {errs: []error{passes, volume.ErrClosed}, tries: 2, fails: true},
		"taken over":                   {errs: []error{volume.ErrLost}, tries: 1, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSnapshots(nil, nil, nil, nil, slog.New(slog.DiscardHandler))
				c := &failingCut{errs: tc.errs}
				_, err := s.finish(t.Context(), &job{cut: c})
				if (err != nil) != tc.fails || c.tries != tc.tries {
					t.Errorf("tried %d times, and then: %v", c.tries, err)
				}
			})
		})
	}
}

// records are a catalogue in memory.
type records struct {
	snapshotCatalogue
	all map[uuid.UUID]*snapshot.Snapshot
}

func (r *records) Put(_ context.Context, s *snapshot.Snapshot) error {
	r.all[s.ID] = s
	return nil
}

func (r *records) Delete(_ context.Context, id uuid.UUID) error {
	delete(r.all, id)
	return nil
}

// TestSnapshotOfALostVolume completes snapshots, one of them of a volume that another gateway took over before the record was in the bucket: what
// that one names may be collected already, so the record does not stay.
func TestSnapshotOfALostVolume(t *testing.T) {
	for _, lost := range []error{nil, volume.ErrLost} {
		synctest.Test(t, func(t *testing.T) {
			catalogue := &records{all: map[uuid.UUID]*snapshot.Snapshot{}}
			s := newSnapshots(nil, catalogue, nil, nil, slog.New(slog.DiscardHandler))
			c := &failingCut{lost: lost}
			j := &job{cut: c, record: snapshot.Snapshot{ID: uuid.New()}, ended: make(chan struct{})}
			s.jobs[j.record.ID] = j
			s.run(j)
			if !errors.Is(j.err, lost) || (len(catalogue.all) == 1) != (lost == nil) {
				t.Errorf("it ended with %v, and there are %d records", j.err, len(catalogue.all))
			}
			if c.asked != 2 {
				t.Errorf("the bucket was asked %d times whose the volume is", c.asked)
			}
		})
	}
}

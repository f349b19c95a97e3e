package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
)

// syncState lets flushes that arrive together share one sync.
type syncState struct {
	mu     sync.Mutex
	synced uint64        // all appends up to this one survive a loss of power
	busy   chan struct{} // closed when the running sync ends; nil if none runs
	err    error         // of the first that failed
}

// Flush returns when all writes that were completed before it was called survive a loss
// of power, and with a durability other than Local that of the gateway. It syncs every segment file that was written since its last sync, sealed
// ones too. When a sync fails the volume stops: the kernel may have dropped the data,
// and a second sync would report success.
func (v *Volume) Flush(ctx context.Context) error {
	v.stats.flushes.Add(1)
	v.mu.Lock()
	want := v.appends
	v.mu.Unlock()
	if err := v.syncTo(ctx, want); err != nil {
		return err
	}
	switch v.Durability() {
	case InBucket:
		return v.publish(ctx, want)
	case OnPeer:
		return v.mirror(ctx, want)
	default:
		return nil
	}
}

func (v *Volume) syncTo(ctx context.Context, want uint64) error {
	s := &v.sync
	for {
		if err := v.check(); err != nil {
			return err
		}
		s.mu.Lock()
		if s.synced >= want {
			s.mu.Unlock()
			return nil
		}
		if busy := s.busy; busy != nil {
			s.mu.Unlock()
			select {
			case <-busy:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		busy := make(chan struct{})
		s.busy = busy
		s.mu.Unlock()

		upTo, err := v.syncFiles(want)
		s.mu.Lock()
		if err == nil {
			s.synced = upTo
		}
		s.err = cmp.Or(s.err, err)
		s.busy = nil
		s.mu.Unlock()
		close(busy)
		if err != nil {
			v.fail(err)
			return err
		}
	}
}

// lastSync is the sync of a volume that takes no more appends. One that runs has some of the files: it must
// have ended well, too.
func (v *Volume) lastSync() error {
	s := &v.sync
	s.mu.Lock()
	busy := s.busy
	s.mu.Unlock()
	if busy != nil {
		<-busy
	}
	_, err := v.syncFiles(math.MaxUint64)
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.err, err)
}

// syncFiles syncs the segments that have one of the first want appends, oldest first, and
// returns up to which append all is safe then. It leaves the others alone, above all the
// open segment if it need not: appends to a file wait for its sync.
func (v *Volume) syncFiles(want uint64) (upTo uint64, err error) {
	v.mu.Lock()
	upTo = v.appends
	var todo, later []*openSegment
	for _, o := range v.unsynced {
		if o.pending > want {
			later = append(later, o)
			upTo = min(upTo, o.pending-1)
			continue
		}
		o.seg.Retain()
		todo = append(todo, o)
	}
	v.unsynced = later
	v.mu.Unlock()
	for _, o := range todo {
		if serr := o.w.Sync(); serr != nil {
			err = errors.Join(err, fmt.Errorf("syncing segment %s: %w", o.seg.ID, serr))
		}
		o.seg.Release()
	}
	return upTo, err
}

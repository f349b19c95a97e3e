package appliance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/volume"
	"sluice/volume/blockmap"
)

// momentTag marks snapshots that are not meant to stay; its value is the gateway that deletes them.
const momentTag = "sluice.moment"

// viewer opens the content of a snapshot.
type viewer func(ctx context.Context, root blockmap.Root, size int64) (*volume.View, error)

// keepViews is how many opened snapshots are remembered: to open one costs a request to the object store.
const keepViews = 16

// views are snapshots that were opened lately.
type views struct {
	open viewer

	mu   sync.Mutex
	list []openView // the newest one last
}

type openView struct {
	id   uuid.UUID
	view *volume.View
	read time.Time // when its record was
}

// viewTime is how long a view is used without looking whether its snapshot still exists. What a deleted snapshot
// names may be garbage, and reading it fails; it never reads as anything else.
const viewTime = time.Minute

func (s *views) get(id uuid.UUID) *volume.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.list {
		if o.id == id && time.Since(o.read) < viewTime {
			return o.view
		}
	}
	return nil
}

func (s *views) put(id uuid.UUID, view *volume.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id)
	if len(s.list) >= keepViews {
		s.list = s.list[1:]
	}
	s.list = append(s.list, openView{id, view, time.Now()})
}

// forget is put's counterpart for a snapshot that is deleted.
func (s *views) forget(id uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id)
}

func (s *views) drop(id uuid.UUID) {
	for i := range s.list {
		if s.list[i].id == id {
			s.list = append(s.list[:i], s.list[i+1:]...)
			return
		}
	}
}

// view returns the content of a snapshot.
func (s *snapshots) view(ctx context.Context, text string) (*volume.View, error) {
	if id, err := uuid.Parse(text); err == nil {
		if view := s.views.get(id); view != nil {
			return view, nil
		}
	}
	record, err := s.catalogue.Find(ctx, text)
	if err != nil {
		return nil, explain(err)
	}
	view, err := s.views.open(ctx, record.Root, record.Size)
	if err != nil {
		return nil, explain(err)
	}
	s.views.put(record.ID, view)
	return view, nil
}

// ReadSnapshot implements api.Moments.
func (s *snapshots) ReadSnapshot(ctx context.Context, id string, p []byte, off int64) error {
	view, err := s.view(ctx, id)
	if err != nil {
		return err
	}
	if off < 0 || off > view.Size() || int64(len(p)) > view.Size()-off {
		return api.Errorf(api.CodeInvalid, "%d bytes at %d are not inside of snapshot %s of %s", len(p), off, id, api.Size(view.Size()))
	}
	if err := view.Read(ctx, p, off); err != nil {
		return explain(fmt.Errorf("snapshot %s: %w", id, err))
	}
	return nil
}

// SnapshotExtents implements api.Moments.
func (s *snapshots) SnapshotExtents(ctx context.Context, id string, off, n int64) ([]api.Extent, error) {
	view, err := s.view(ctx, id)
	if err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || off > view.Size() || n > view.Size()-off {
		return nil, api.Errorf(api.CodeInvalid, "%d bytes at %d are not inside of snapshot %s of %s", n, off, id, api.Size(view.Size()))
	}
	var list []api.Extent
	for x, err := range view.Mapped(ctx, off, n) {
		if err != nil {
			return nil, explain(fmt.Errorf("snapshot %s: %w", id, err))
		}
		if list = append(list, api.Extent(x)); len(list) > api.MaxExtents {
			break
		}
	}
	return list, nil
}

// KeepMoment implements api.Moments.
func (s *snapshots) KeepMoment(ctx context.Context, source string, use func(context.Context, api.Snapshot) error) error {
	id, err := s.momentary(ctx, source, "to read volume "+source+" at one moment")
	if err != nil {
		return err
	}
	defer s.deleteMoment(ctx, id)
	record, err := s.catalogue.Find(ctx, id)
	if err != nil {
		return explain(err)
	}
	return use(ctx, describeSnapshot(record))
}

// deleteMoment deletes a snapshot that was not meant to stay. One that cannot be deleted now is when the gateway starts again.
func (s *snapshots) deleteMoment(ctx context.Context, id string) {
	if err := s.DeleteSnapshot(context.WithoutCancel(ctx), id); err != nil {
		s.log.Warn("a momentary snapshot stays until the gateway starts again", "snapshot", id, "error", err)
	}
}

// momentary makes a snapshot that is not meant to stay, and waits for it. The caller deletes it.
func (s *snapshots) momentary(ctx context.Context, source, why string) (string, error) {
	jobs, err := s.begin(ctx, api.SnapshotRequest{
		Volumes: []string{source}, Description: why, Tags: map[string]string{momentTag: s.volumes.gateway.String()},
	}, nil)
	if err != nil {
		return "", err
	}
	j := jobs[0]
	select {
	case <-j.ended:
	case <-ctx.Done():
		// It may complete yet, and nobody wants it then.
		s.running.Go(func() {
			if <-j.ended; j.err == nil {
				s.deleteMoment(ctx, j.record.ID.String())
			}
		})
		return "", explain(ctx.Err())
	}
	if j.err != nil {
		return "", explain(j.err)
	}
	return j.record.ID.String(), nil
}

// sweepMoments deletes, in the background, the momentary snapshots that this gateway left when it was killed.
func (s *snapshots) sweepMoments() {
	began := time.Now()
	s.running.Go(func() {
		ctx, cancel := s.untilStopped()
		defer cancel()
		list, err := s.catalogue.List(ctx)
		if err != nil {
			s.log.Warn("momentary snapshots of before may be left", "error", err)
			return
		}
		for _, record := range list {
			if record.Tags[momentTag] == s.volumes.gateway.String() && record.Created.Before(began) {
				s.deleteMoment(ctx, record.ID.String())
			}
		}
	})
}

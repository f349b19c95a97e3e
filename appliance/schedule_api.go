package appliance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/object"
	"sluice/snapshot"
)

// schedules is the part of the api.Backend that deals with schedules.
type schedules struct {
	*scheduler

	names catalogue
}

// SetSchedule implements api.Schedules.
func (x *schedules) SetSchedule(ctx context.Context, name string, req api.ScheduleRequest) (*api.Schedule, error) {
	head, err := x.names.Find(ctx, name)
	if err != nil {
		return nil, explain(err)
	}
	s := &snapshot.Schedule{Volume: head.ID, Zone: req.Zone, Created: time.Now().UTC()}
	if s.Zone == "" {
		s.Zone = "UTC"
	}
	if req.At == "" {
		req.At = "00:00"
	}
	var kerr error
	s.Keep, kerr = snapshot.ParseKeep(req.Keep)
	if err := errors.Join(s.Every.UnmarshalText([]byte(req.Every)), s.At.UnmarshalText([]byte(req.At)), kerr); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	if err := s.Check(); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	x.storeMu.Lock()
	err = x.store.Put(ctx, s)
	x.storeMu.Unlock()
	if errors.Is(err, object.ErrPrecondition) {
		return nil, api.Errorf(api.CodeConflict, "somebody else changed the schedule of volume %s at the same time", name).WithHint("see sluice snapshot schedule list")
	}
	if err != nil {
		return nil, explain(err)
	}
	x.soon()
	x.log.InfoContext(ctx, "snapshot schedule set", "volume", name, "every", s.Every.String(), "at", s.At.String(), "zone", s.Zone, "keep", s.Keep.String())
	return new(x.shown(s, name, nil)), nil
}

// ListSchedules implements api.Schedules.
func (x *schedules) ListSchedules(ctx context.Context) ([]api.Schedule, error) {
	heads, err := x.names.List(ctx)
	if err != nil {
		return nil, explain(err)
	}
	all, err := x.maker.List(ctx)
	if err != nil {
		return nil, explain(err)
	}
	x.storeMu.Lock()
	found, err := x.store.List(ctx)
	x.storeMu.Unlock()
	if err != nil {
		return nil, explain(err)
	}
	names := map[uuid.UUID]string{}
	for _, head := range heads {
		names[head.ID] = head.Name
	}
	list := make([]api.Schedule, 0, len(found))
	for _, s := range found {
		list = append(list, x.shown(s, names[s.Volume], newest(all, s)))
	}
	slices.SortFunc(list, func(a, b api.Schedule) int { return strings.Compare(a.Volume, b.Volume) })
	return list, nil
}

// DeleteSchedule implements api.Schedules. What it has made stays.
func (x *schedules) DeleteSchedule(ctx context.Context, name string) error {
	id, err := uuid.Parse(name) // of a volume that is gone
	if err != nil {
		head, err := x.names.Find(ctx, name)
		if err != nil {
			return explain(err)
		}
		id = head.ID
	}
	x.storeMu.Lock()
	defer x.storeMu.Unlock()
	if _, err := x.store.Get(ctx, id); err != nil {
		if errors.Is(err, snapshot.ErrNoSchedule) || !errors.Is(err, snapshot.ErrDamaged) { // one that is damaged is deleted
			return explain(err)
		}
	}
	if err := x.store.Delete(ctx, id); err != nil {
		return explain(err)
	}
	x.soon()
	x.log.InfoContext(ctx, "snapshot schedule deleted", "volume", name)
	return nil
}

// shown describes a schedule; last is the snapshot of its last slot, if it is known.
func (x *schedules) shown(s *snapshot.Schedule, name string, last *snapshot.Snapshot) api.Schedule {
	out := api.Schedule{
		Volume: name, VolumeID: s.Volume.String(), Every: s.Every.String(), At: s.At.String(), Zone: s.Zone, Keep: s.Keep.String(), Created: s.Created,
	}
	if next, err := s.Next(time.Now()); err == nil {
		out.Next = &next
	}
	if last != nil {
		out.Last, out.LastID = &last.Created, last.ID.String()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if st := x.state[s.Volume]; st != nil && st.schedule.ID == s.ID {
		out.Error, out.Making = st.err, st.making
	}
	return out
}

// scheduleStatus says how the schedules of this gateway's volumes are, without asking the bucket.
func (x *scheduler) scheduleStatus() api.ScheduleStatus {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := api.ScheduleStatus{Error: x.lost}
	for _, st := range x.state {
		out.Schedules++
		if st.err != "" {
			out.Failing++
			out.Error = st.err
		}
	}
	return out
}

// DeleteVolume implements api.Volumes. The schedule of the volume goes with it; snapshots stay.
func (g *Gateway) DeleteVolume(ctx context.Context, name string, force bool) error {
	head, err := g.bucket.Find(ctx, name)
	if err != nil {
		return explain(err)
	}
	if err := g.volumes.DeleteVolume(ctx, name, force); err != nil {
		return err
	}
	g.storeMu.Lock()
	err = g.scheduler.store.Delete(ctx, head.ID)
	g.storeMu.Unlock()
	if err != nil {
		g.log.WarnContext(ctx, "the schedule of a deleted volume stays", "volume", name, "id", head.ID, "error", err,
			"remedy", "sluice snapshot schedule delete "+head.ID.String())
	}
	g.soon()
	return nil
}

// scheduledSnapshots makes the snapshots of schedules, as the API would.
type scheduledSnapshots struct{ *snapshots }

// Served implements snapshotMaker.
func (m scheduledSnapshots) Served(id uuid.UUID) (string, bool) {
	for _, e := range m.volumes.serving() {
		if e.head.ID == id && e.failure() == "" {
			return e.head.Name, true
		}
	}
	return "", false
}

// Make implements snapshotMaker.
func (m scheduledSnapshots) Make(ctx context.Context, volume string, made *snapshot.Made) error {
	jobs, err := m.begin(ctx, api.SnapshotRequest{Volumes: []string{volume}}, made)
	if err != nil {
		return err
	}
	select {
	case <-jobs[0].ended:
		return jobs[0].err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// List implements snapshotMaker.
func (m scheduledSnapshots) List(ctx context.Context) ([]*snapshot.Snapshot, error) {
	return m.catalogue.List(ctx)
}

// Delete implements snapshotMaker.
func (m scheduledSnapshots) Delete(ctx context.Context, s *snapshot.Snapshot) error {
	return m.DeleteSnapshot(ctx, s.ID.String())
}

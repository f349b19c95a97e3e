package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/blockmap"
)

// snapshotCatalogue is what the gateway needs of the bucket's snapshots; see snapshot.Catalogue.
type snapshotCatalogue interface {
	Put(ctx context.Context, s *snapshot.Snapshot) error
	Find(ctx context.Context, prefix string) (*snapshot.Snapshot, error)
	List(ctx context.Context) ([]*snapshot.Snapshot, error)
	Delete(ctx context.Context, id uuid.UUID) error
}

// snapshots makes snapshots of this gateway's volumes, and shows all that the bucket has. It is the
// part of the api.Backend that deals with them.
type snapshots struct {
	log       *slog.Logger
	volumes   *volumes
	catalogue snapshotCatalogue
	views     views
	measure   measurer

	mu   sync.Mutex
	jobs map[uuid.UUID]*job // under way, and the failed ones

	running sync.WaitGroup
	stopped chan struct{} // closed when the gateway stops
}

func newSnapshots(volumes *volumes, catalogue snapshotCatalogue, open viewer, measure measurer, log *slog.Logger) *snapshots {
	return &snapshots{log: log, volumes: volumes, catalogue: catalogue, views: views{open: open}, measure: measure, jobs: map[uuid.UUID]*job{}, stopped: make(chan struct{})}
}

// job is the making of one snapshot.
type job struct {
	record snapshot.Snapshot // without its root; not changed
	cut    cut
	ended  chan struct{} // closed when it is complete or has failed
	err    error         // why it failed; to be read after ended
}

// keepFailed is how many failed snapshots are remembered, so that who asks is told.
const keepFailed = 100

// CreateSnapshots implements api.Snapshots.
func (s *snapshots) CreateSnapshots(ctx context.Context, req api.SnapshotRequest) ([]api.Snapshot, error) {
	jobs, err := s.begin(ctx, req, nil)
	if err != nil {
		return nil, err
	}
	list := make([]api.Snapshot, len(jobs))
	for i, j := range jobs {
		list[i] = j.describe()
	}
	return list, nil
}

// begin notes one moment of all volumes, and has their snapshots made in the background; made says for which schedule, if for one.
func (s *snapshots) begin(ctx context.Context, req api.SnapshotRequest, made *snapshot.Made) ([]*job, error) {
	names := slices.Clone(req.Volumes)
	slices.Sort(names) // volumes are held in one order
	if len(names) == 0 || len(slices.Compact(slices.Clone(names))) != len(names) {
		return nil, api.Errorf(api.CodeInvalid, "name the volumes, each once")
	}
	entries := make([]*entry, len(names))
	for i, name := range names {
		e, err := s.volumes.attached(ctx, name)
		if err != nil {
			return nil, err
		}
		if s.busy(e.head.ID) {
			return nil, api.Errorf(api.CodeConflict, "a snapshot of volume %s is under way", name).WithHint("sluice snapshot list shows how far it is")
		}
		entries[i] = e
	}
	cuts, stalled, err := cutTogether(ctx, entries)
	if err != nil {
		return nil, explain(err)
	}
	group := uuid.Nil
	if len(names) > 1 {
		group = uuid.New()
	}
	jobs := make([]*job, len(cuts))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, cut := range cuts {
		head := entries[i].head
		jobs[i] = &job{cut: cut, ended: make(chan struct{}), record: snapshot.Snapshot{
			ID: uuid.New(), Volume: head.ID, VolumeName: head.Name, Mode: string(head.Mode), Size: cut.Size(),
			Created: cut.Time().UTC(), Description: req.Description, Tags: req.Tags, Group: group, Made: made,
			Stalled: stalled,
		}}
		s.jobs[jobs[i].record.ID] = jobs[i]
		s.running.Go(func() { s.run(jobs[i]) }) //nolint:contextcheck // a snapshot outlives the request for it
	}
	return jobs, nil
}

// busy tells whether a snapshot of a volume is under way.
func (s *snapshots) busy(id uuid.UUID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if j.record.Volume == id && !j.over() {
			return true
		}
	}
	return false
}

// cutTogether notes one moment of all volumes. It also returns for how long writes stood still.
func cutTogether(ctx context.Context, entries []*entry) (cuts []cut, stalled time.Duration, err error) {
	began := time.Now()
	var holds []momentHold
	release := func() {
		for _, h := range holds {
			h.Release()
		}
	}
	for _, e := range entries {
		h, err := e.vol.Hold(ctx)
		if err != nil {
			release()
			return nil, 0, fmt.Errorf("snapshot of volume %s: %w", e.head.Name, err)
		}
		holds = append(holds, h)
	}
	cuts = make([]cut, len(holds))
	for i, h := range holds {
		cuts[i] = h.Cut()
	}
	release()
	return cuts, time.Since(began), nil
}

// run brings one snapshot to the bucket.
func (s *snapshots) run(j *job) {
	ctx, cancel := s.untilStopped()
	defer cancel()
	began := time.Now()
	root, err := s.finish(ctx, j)
	if err == nil {
		err = s.keep(ctx, j, root)
	}
	j.cut.Close() // only now may the volume's next root replace this one
	if err != nil {
		j.err = err
		s.log.Error("snapshot failed", "volume", j.record.VolumeName, "snapshot", j.record.ID, "error", err)
	} else {
		s.log.Info("snapshot complete", "volume", j.record.VolumeName, "snapshot", j.record.ID, "took", time.Since(began).Round(time.Millisecond).String())
	}
	s.end(j)
}

// untilStopped returns a context that ends when the gateway stops, or by cancel.
func (s *snapshots) untilStopped() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-s.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// finish waits for the root. It tries again as long as the volume is served and the cut can be finished.
func (s *snapshots) finish(ctx context.Context, j *job) (root blockmap.Root, err error) {
	err = s.insist(ctx, j, func() (err error) {
		root, err = j.cut.Finish(ctx)
		return err
	})
	return root, err
}

// keep notes the snapshot in the bucket. If another gateway has taken the volume over since the root was published, and published a newer one,
// the root may have been collected before anybody could know that it is needed: so the record stays only if the volume is still ours
// when it is there.
func (s *snapshots) keep(ctx context.Context, j *job, root blockmap.Root) error {
	record := j.record
	record.Root = root
	_, record.Uploaded = j.cut.Progress()
	if err := s.catalogue.Put(ctx, &record); err != nil {
		return err
	}
	err := s.insist(ctx, j, func() error { return j.cut.Confirm(ctx) })
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, s.catalogue.Delete(ctx, record.ID))
	}
	return err
}

// insist tries until it succeeds, the gateway stops, or an error stays.
func (s *snapshots) insist(ctx context.Context, j *job, try func() error) error {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := try()
		if err == nil || ctx.Err() != nil || final(err) {
			return err
		}
		s.log.Warn("snapshot is delayed; it will be tried again", "volume", j.record.VolumeName, "snapshot", j.record.ID, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// final tells whether an error stays, however often one tries.
func final(err error) bool {
	for _, stays := range []error{volume.ErrAborted, volume.ErrClosed, volume.ErrLost, volume.ErrNotFound, blockmap.ErrSuperseded} {
		if errors.Is(err, stays) {
			return true
		}
	}
	return false
}

func (s *snapshots) end(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(j.ended)
	if j.err == nil {
		delete(s.jobs, j.record.ID) // from here on the bucket tells
		return
	}
	var failed []*job
	for _, other := range s.jobs {
		if other.over() {
			failed = append(failed, other)
		}
	}
	if len(failed) > keepFailed {
		oldest := slices.MinFunc(failed, func(a, b *job) int { return a.record.Created.Compare(b.record.Created) })
		delete(s.jobs, oldest.record.ID)
	}
}

func (j *job) over() bool {
	select {
	case <-j.ended:
		return true
	default:
		return false
	}
}

// endJobs stops what is under way: it is gone when the gateway is.
func (s *snapshots) endJobs() {
	close(s.stopped)
	s.running.Wait()
}

// describe describes a snapshot that is under way, or failed.
func (j *job) describe() api.Snapshot {
	shown := describeSnapshot(&j.record)
	shown.State = api.SnapshotUploading
	if j.over() {
		shown.State, shown.Error = api.SnapshotComplete, ""
		if j.err != nil {
			shown.State, shown.Error = api.SnapshotFailed, j.err.Error()
		}
	}
	shown.Done, shown.Total = j.cut.Progress()
	if took := time.Since(j.record.Created); shown.Done > 0 && shown.Done < shown.Total {
		shown.Left = int64((took * time.Duration(float64(shown.Total-shown.Done)/float64(shown.Done))).Seconds())
	}
	return shown
}

func describeSnapshot(s *snapshot.Snapshot) api.Snapshot {
	shown := api.Snapshot{
		ID: s.ID.String(), State: api.SnapshotComplete, Stalled: s.Stalled.Microseconds(), Volume: s.VolumeName, VolumeID: s.Volume.String(), Mode: s.Mode, Size: s.Size,
		Created: s.Created, Description: s.Description, Tags: s.Tags, Done: s.Uploaded, Total: s.Uploaded,
	}
	if s.Group != uuid.Nil {
		shown.Group = s.Group.String()
	}
	if s.Made != nil {
		shown.Scheduled = &s.Made.Slot
	}
	return shown
}

// ListSnapshots implements api.Snapshots.
func (s *snapshots) ListSnapshots(ctx context.Context, of string) ([]api.Snapshot, error) {
	records, err := s.catalogue.List(ctx)
	if err != nil {
		return nil, explain(err)
	}
	list := []api.Snapshot{}
	seen := map[string]bool{}
	add := func(shown api.Snapshot) {
		if !seen[shown.ID] && (of == "" || of == shown.Volume || of == shown.VolumeID) {
			seen[shown.ID] = true
			list = append(list, shown)
		}
	}
	for _, r := range records {
		add(describeSnapshot(r))
	}
	s.mu.Lock()
	for _, j := range s.jobs {
		add(j.describe())
	}
	s.mu.Unlock()
	slices.SortStableFunc(list, func(a, b api.Snapshot) int { return a.Created.Compare(b.Created) })
	return list, nil
}

// ShowSnapshot implements api.Snapshots.
func (s *snapshots) ShowSnapshot(ctx context.Context, id string) (*api.Snapshot, error) {
	if j := s.job(id); j != nil {
		if shown := j.describe(); shown.State != api.SnapshotComplete {
			return &shown, nil
		}
	}
	record, err := s.catalogue.Find(ctx, id)
	if err != nil {
		return nil, explain(err)
	}
	shown := describeSnapshot(record)
	shown.Frees = s.frees(ctx, record)
	return &shown, nil
}

func (s *snapshots) job(id string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if j.record.ID.String() == id {
			return j
		}
	}
	return nil
}

// DeleteSnapshot implements api.Snapshots.
func (s *snapshots) DeleteSnapshot(ctx context.Context, id string) error {
	record, err := s.catalogue.Find(ctx, id)
	if err != nil {
		return explain(err)
	}
	if err := s.catalogue.Delete(ctx, record.ID); err != nil {
		return explain(err)
	}
	s.views.forget(record.ID)
	s.volumes.deleted()
	s.log.InfoContext(ctx, "snapshot deleted", "volume", record.VolumeName, "snapshot", record.ID)
	return nil
}

// CloneVolume implements api.Snapshots. A volume as it is now is cloned by way of a snapshot that is
// deleted afterwards.
func (s *snapshots) CloneVolume(ctx context.Context, source string, req api.CloneRequest) (*api.Volume, error) {
	if req.At != nil {
		if req.Snapshot != "" {
			return nil, api.Errorf(api.CodeInvalid, "a clone is either of a snapshot or of a time")
		}
		return s.volumes.cloneAt(ctx, source, req)
	}
	if req.Snapshot == "" {
		id, err := s.momentary(ctx, source, "to make volume "+req.Name+" of")
		if err != nil {
			return nil, err
		}
		req.Snapshot = id
		defer s.deleteMoment(ctx, id)
	}
	record, err := s.catalogue.Find(ctx, req.Snapshot)
	if err != nil {
		return nil, explain(err)
	}
	if record.VolumeName != source && record.Volume.String() != source {
		return nil, api.Errorf(api.CodeInvalid, "snapshot %s is of volume %s, not of %s", record.ID, record.VolumeName, source)
	}
	return s.restore(ctx, record, req)
}

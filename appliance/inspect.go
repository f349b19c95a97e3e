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
	"sluice/object"
	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/stored"
)

const (
	// diffRanges is how many ranges one answer has at most: 4 MiB.
	diffRanges = 1 << 16
	// lostRanges is how many lost ranges a verification keeps.
	lostRanges = 10_000
	// keepVerifications is how many verifications that have ended are remembered.
	keepVerifications = 20
	// verifyTogether is how many run at once: each may take 150 MiB of memory.
	verifyTogether = 2
)

// inspector looks into snapshots. It is the part of the api.Backend that does so.
type inspector struct {
	store     object.Store
	catalogue snapshotCatalogue
	log       *slog.Logger
	// create makes a volume and serves it; see volumes.create.
	create func(ctx context.Context, n volume.New, stands func() error) (*api.Volume, error)

	running sync.WaitGroup

	mu     sync.Mutex
	jobs   []*verification // in the order of their starts
	closed bool            // the gateway stops
}

func newInspector(store object.Store, catalogue snapshotCatalogue, volumes *volumes, log *slog.Logger) *inspector {
	return &inspector{store: store, catalogue: catalogue, log: log, create: func(ctx context.Context, n volume.New, stands func() error) (*api.Volume, error) {
		return volumes.create(ctx, n, stored.Placement{}, stands)
	}}
}

// verification is one verification of a snapshot, while it runs and after it.
type verification struct {
	id       uuid.UUID
	record   *snapshot.Snapshot
	quick    bool
	started  time.Time
	progress snapshot.Progress
	cancel   context.CancelFunc

	mu     sync.Mutex // protects what follows
	ended  time.Time  // zero: it runs
	err    error
	report *snapshot.Report
	lost   []api.LostRange
	more   int64
}

// endInspections ends what is under way.
func (x *inspector) endInspections() {
	x.mu.Lock()
	x.closed = true
	for _, v := range x.jobs {
		v.cancel()
	}
	x.mu.Unlock()
	x.running.Wait()
}

// DiffSnapshots implements api.Inspections.
func (x *inspector) DiffSnapshots(ctx context.Context, from, to string, offset int64) (*api.SnapshotDiff, error) {
	a, err := x.catalogue.Find(ctx, from)
	if err != nil {
		return nil, explain(err)
	}
	b, err := x.catalogue.Find(ctx, to)
	if err != nil {
		return nil, explain(err)
	}
	out := &api.SnapshotDiff{From: a.ID.String(), To: b.ID.String(), FromSize: a.Size, ToSize: b.Size, Ranges: []api.ChangedRange{}}
	for c, err := range snapshot.Diff(ctx, x.store, a, b, offset) {
		if err != nil {
			return nil, explain(x.deletedMeanwhile(ctx, err, a, b))
		}
		if len(out.Ranges) == diffRanges {
			out.Next = &c.Offset
			break
		}
		out.Ranges = append(out.Ranges, api.ChangedRange{Offset: c.Offset, Length: c.Length, Zeros: c.Zeros})
	}
	return out, nil
}

// deletedMeanwhile returns a better error than err if one of the snapshots is no longer there.
func (x *inspector) deletedMeanwhile(ctx context.Context, err error, records ...*snapshot.Snapshot) error {
	for _, r := range records {
		if _, gone := x.catalogue.Find(ctx, r.ID.String()); errors.Is(gone, snapshot.ErrNotFound) {
			return fmt.Errorf("it was deleted meanwhile: %w", gone)
		}
	}
	return err
}

// VerifySnapshot implements api.Inspections.
func (x *inspector) VerifySnapshot(ctx context.Context, id string, req api.VerifyRequest) (*api.Verification, error) {
	record, err := x.catalogue.Find(ctx, id)
	if err != nil {
		return nil, explain(err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, api.Errorf(api.CodeUnavailable, "the gateway is stopping")
	}
	running := 0
	for _, v := range x.jobs {
		if v.describe().State == api.VerificationRunning {
			running++
		}
	}
	if running >= verifyTogether {
		return nil, api.Errorf(api.CodeConflict, "%d verifications are under way", running).WithHint("try again when one has ended")
	}
	if n := len(x.jobs) - keepVerifications; n > 0 {
		ended := func(v *verification) bool {
			n--
			return n >= 0 && v.describe().State != api.VerificationRunning
		}
		x.jobs = slices.DeleteFunc(x.jobs, ended)
	}
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the request for it
	v := &verification{id: uuid.New(), record: record, quick: req.Quick, started: time.Now(), cancel: cancel}
	x.jobs = append(x.jobs, v)
	x.running.Go(func() { x.verify(runCtx, v) })
	return new(v.describe()), nil
}

// verify runs a verification to its end.
func (x *inspector) verify(ctx context.Context, v *verification) {
	defer v.cancel()
	rep, err := snapshot.Verify(ctx, x.store, v.record, snapshot.VerifyOptions{Quick: v.quick, Progress: &v.progress, Lost: v.lose})
	if err == nil && !rep.OK() {
		err = x.deletedMeanwhile(ctx, nil, v.record)
	}
	v.mu.Lock()
	v.ended, v.report, v.err = time.Now(), rep, err
	v.mu.Unlock()
	shown := v.describe()
	log := x.log.With("volume", v.record.VolumeName, "snapshot", v.record.ID, "took", v.ended.Sub(v.started).Round(time.Millisecond).String())
	switch shown.State {
	case api.VerificationGood:
		log.InfoContext(ctx, "snapshot verified: all of it is there", "objects", rep.Objects, "bytes_read", rep.Bytes)
	case api.VerificationDamaged:
		log.ErrorContext(ctx, "snapshot is damaged", "objects", rep.Damaged, "lost_bytes", rep.Lost, "first", shown.Lost[0])
	case api.VerificationFailed, api.VerificationCanceled, api.VerificationRunning:
		log.WarnContext(ctx, "snapshot was not verified", "error", err)
	}
}

// lose notes a lost range.
func (v *verification) lose(l snapshot.Lost) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.lost) >= lostRanges {
		v.more++
		return
	}
	v.lost = append(v.lost, api.LostRange{Offset: l.Offset, Length: l.Length, Object: l.Object, Reason: l.Reason})
}

func (x *inspector) find(id string) (*verification, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, v := range x.jobs {
		if v.id.String() == id {
			return v, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no verification %q", id)
}

// ShowVerification implements api.Inspections.
func (x *inspector) ShowVerification(_ context.Context, id string) (*api.Verification, error) {
	v, err := x.find(id)
	if err != nil {
		return nil, err
	}
	return new(v.describe()), nil
}

// CancelVerification implements api.Inspections. To cancel one that has ended is no error.
func (x *inspector) CancelVerification(_ context.Context, id string) error {
	v, err := x.find(id)
	if err != nil {
		return err
	}
	v.cancel()
	return nil
}

// SalvageVolume implements api.Inspections.
func (x *inspector) SalvageVolume(ctx context.Context, id string, req api.SalvageRequest) (*api.Volume, error) {
	v, err := x.find(id)
	if err != nil {
		return nil, err
	}
	if shown := v.describe(); shown.State != api.VerificationDamaged {
		return nil, api.Errorf(api.CodeConflict, "the verification is %s: only a snapshot that is known to be damaged is salvaged", shown.State).
			WithHint("to make a volume of a good one, run sluice volume clone %s %s --snapshot %s", shown.Volume, req.Name, shown.Snapshot)
	}
	if err := api.CheckName(req.Name); err != nil {
		return nil, api.Errorf(api.CodeInvalid, "%w", err)
	}
	record := v.record
	// The root is garbage until the volume refers to it, and garbage is left alone for longer than that takes.
	root, err := v.report.Salvage(ctx, "volumes/"+uuid.NewString()+"/roots/000000-0")
	if err != nil {
		return nil, explain(err)
	}
	shown, err := x.create(ctx, volume.New{
		Name: req.Name, Size: record.Size, Mode: volume.Cached, Root: &root,
		Origin: &volume.Origin{Volume: record.VolumeName, Snapshot: record.ID, Time: record.Created},
	}, func() error {
		// Deleted before the volume was in the bucket, the snapshot's data may be garbage already; and so may the new root.
		_, err := x.catalogue.Find(ctx, record.ID.String())
		_, serr := x.store.Stat(ctx, root.Key)
		return errors.Join(err, serr)
	})
	if err == nil {
		x.log.WarnContext(ctx, "volume made of what is left of a damaged snapshot", "volume", req.Name, "snapshot", record.ID, "zeroed_bytes", v.report.Lost)
	}
	return shown, err
}

func (v *verification) describe() api.Verification {
	v.mu.Lock()
	defer v.mu.Unlock()
	shown := api.Verification{
		ID: v.id.String(), Snapshot: v.record.ID.String(), Volume: v.record.VolumeName, Quick: v.quick,
		State: api.VerificationRunning, Started: v.started.UTC(),
	}
	took := time.Since(v.started)
	if !v.ended.IsZero() {
		took = v.ended.Sub(v.started)
	}
	shown.Took = took.Seconds()
	shown.Done, shown.Total = v.progress.Bytes()
	if shown.Rate = int64(float64(shown.Done) / max(took.Seconds(), 1e-3)); shown.Rate > 0 {
		shown.Left = (shown.Total - shown.Done) / shown.Rate
	}
	switch {
	case v.ended.IsZero():
		return shown
	case errors.Is(v.err, context.Canceled):
		shown.State, shown.Error = api.VerificationCanceled, "it was canceled"
		return shown
	case v.err != nil:
		shown.State, shown.Error = api.VerificationFailed, v.err.Error()
		return shown
	case v.report.OK():
		shown.State = api.VerificationGood
	default:
		shown.State = api.VerificationDamaged
	}
	shown.Objects, shown.Read, shown.Blocks = v.report.Objects, v.report.Bytes, v.report.Blocks
	shown.Damaged, shown.LostBytes, shown.Lost, shown.LostMore = v.report.Damaged, v.report.Lost, v.lost, v.more
	return shown
}

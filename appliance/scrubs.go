package appliance

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/appliance/api"
	"sluice/object"
	"sluice/object/storeurl"
	"sluice/scrub"
	"sluice/volume"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

// keepScrubs is how many scrubs are remembered.
const keepScrubs = 20

// scrubber runs scrubs, one at a time. It is the part of the api.Backend that does so.
type scrubber struct {
	opts scrub.Options // but for what a request says
	log  *slog.Logger

	running sync.WaitGroup

	mu     sync.Mutex  // protects what follows
	jobs   []*scrubJob // in the order of their starts; only the last one may be running
	closed bool        // the gateway stops
}

// scrubJob is one scrub, while it runs and after it.
type scrubJob struct {
	id       uuid.UUID
	opts     scrub.Options
	started  time.Time
	progress verify.Progress
	cancel   context.CancelFunc

	mu     sync.Mutex // protects what follows
	ended  time.Time  // zero: it runs
	err    error
	report *scrub.Report
}

func newScrubber(opts scrub.Options) *scrubber {
	return &scrubber{opts: opts, log: opts.Logger}
}

// endScrubs ends what is under way.
func (x *scrubber) endScrubs() {
	x.mu.Lock()
	x.closed = true
	for _, job := range x.jobs {
		job.cancel()
	}
	x.mu.Unlock()
	x.running.Wait()
}

// StartScrub implements api.Scrubs.
func (x *scrubber) StartScrub(ctx context.Context, req api.ScrubRequest) (*api.Scrub, error) {
	if (req.Volume == "") == !req.All || req.Rate < 0 {
		return nil, api.Errorf(api.CodeInvalid, "a scrub is of one volume or of all, at no negative rate")
	}
	if req.Volume != "" {
		if _, err := volume.Find(ctx, x.opts.Store, req.Volume); err != nil {
			return nil, explain(err)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, api.Errorf(api.CodeUnavailable, "the gateway is stopping")
	}
	if n := len(x.jobs); n > 0 {
		if last := x.jobs[n-1].describe(); last.State == api.ScrubRunning {
			return nil, api.Errorf(api.CodeConflict, "a scrub is under way since %s", last.Started.Format(time.RFC3339)).WithHint("try again when it has ended")
		}
		x.jobs = x.jobs[max(0, n-keepScrubs+1):]
	}
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the request for it
	job := &scrubJob{id: uuid.New(), opts: x.opts, started: time.Now(), cancel: cancel}
	job.opts.Volume, job.opts.Quick, job.opts.Rate, job.opts.Progress = req.Volume, req.Quick, req.Rate, &job.progress
	x.jobs = append(x.jobs, job)
	x.running.Go(func() { x.run(runCtx, job) })
	return new(job.describe()), nil
}

// run runs a scrub to its end.
func (x *scrubber) run(ctx context.Context, job *scrubJob) {
	defer job.cancel()
	rep, err := scrub.Run(ctx, job.opts)
	job.mu.Lock()
	job.ended, job.report, job.err = time.Now(), rep, err
	job.mu.Unlock()
	log := x.log.With("volume", job.opts.Volume, "took", job.ended.Sub(job.started).Round(time.Millisecond).String())
	switch shown := job.describe(); {
	case err != nil:
		log.WarnContext(ctx, "scrub did not come to its end", "error", err)
	case shown.State == api.ScrubDamaged:
		log.ErrorContext(ctx, "scrub: something is damaged", "objects", len(rep.Damaged), "repaired", len(rep.Repaired), "local_blocks", rep.LocalBad)
	default:
		log.InfoContext(ctx, "scrub: nothing is damaged", "objects", rep.Objects, "bytes_read", rep.Bytes, "repaired", len(rep.Repaired), "local_blocks_dropped", rep.LocalDropped)
	}
}

func (x *scrubber) find(id string) (*scrubJob, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, job := range x.jobs {
		if job.id.String() == id {
			return job, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "there is no scrub %q", id)
}

// ShowScrub implements api.Scrubs.
func (x *scrubber) ShowScrub(_ context.Context, id string) (*api.Scrub, error) {
	job, err := x.find(id)
	if err != nil {
		return nil, err
	}
	return new(job.describe()), nil
}

// CancelScrub implements api.Scrubs.
func (x *scrubber) CancelScrub(_ context.Context, id string) error {
	job, err := x.find(id)
	if err != nil {
		return err
	}
	job.cancel()
	return nil
}

func (j *scrubJob) describe() api.Scrub {
	j.mu.Lock()
	defer j.mu.Unlock()
	shown := api.Scrub{ID: j.id.String(), Volume: j.opts.Volume, Quick: j.opts.Quick, State: api.ScrubRunning, Started: j.started.UTC()}
	took := time.Since(j.started)
	if !j.ended.IsZero() {
		took = j.ended.Sub(j.started)
	}
	shown.Took = took.Seconds()
	shown.Done, shown.Total = j.progress.Bytes()
	if shown.Rate = int64(float64(shown.Done) / max(took.Seconds(), 1e-3)); shown.Rate > 0 {
		shown.Left = (shown.Total - shown.Done) / shown.Rate
	}
	switch {
	case j.ended.IsZero():
		return shown
	case errors.Is(j.err, context.Canceled):
		shown.State, shown.Error = api.ScrubCanceled, "it was canceled"
		return shown
	case j.err != nil:
		shown.State, shown.Error = api.ScrubFailed, j.err.Error()
		return shown
	case !j.report.OK():
		shown.State = api.ScrubDamaged
	case len(j.report.Repaired) > 0:
		shown.State = api.ScrubRepaired
	default:
		shown.State = api.ScrubGood
	}
	shown.Report = scrubReport(j.report)
	return shown
}

func scrubReport(r *scrub.Report) *api.ScrubReport {
	objects := func(list []scrub.Object) []api.ScrubObject {
		out := []api.ScrubObject{}
		for _, o := range list {
			out = append(out, api.ScrubObject{Object: o.Key, Reason: o.Reason, Effects: o.Effects})
		}
		return out
	}
	out := &api.ScrubReport{
		Volumes: r.Volumes, Points: r.Points, Snapshots: r.Snapshots, Objects: r.Objects, Read: r.Bytes, Blocks: r.Blocks,
		Repaired: objects(r.Repaired), Damaged: objects(r.Damaged), Losses: []api.ScrubLoss{},
		LocalDropped: r.LocalDropped, LocalBad: r.LocalBad, Orphans: r.Orphans, OrphanBytes: r.OrphanBytes, Notes: r.Notes,
	}
	for _, l := range r.Losses {
		loss := api.ScrubLoss{Volume: l.Volume, Of: string(l.Kind), Bytes: l.Bytes, More: l.More}
		if l.Kind != scrub.Newest {
			loss.Time = new(l.Time.UTC())
		}
		if l.Kind == scrub.Snapshot {
			loss.Snapshot = l.Snapshot.String()
		}
		for _, g := range l.Ranges {
			loss.Lost = append(loss.Lost, api.LostRange{Offset: g.Offset, Length: g.Length, Object: g.Object, Reason: g.Reason})
		}
		out.Losses = append(out.Losses, loss)
	}
	return out
}

// published returns up to which segment the history of a volume that is served here is in the bucket; 0 for any other.
func (v *volumes) published(id uuid.UUID) segment.ID {
	for _, e := range v.serving() {
		if e.head.ID == id && e.vol != nil {
			return e.vol.Stats().Published
		}
	}
	return 0
}

// Progress tells how far a check is. Its methods may be called concurrently.
type Progress = verify.Progress

// CheckBucket checks a bucket, or one volume of it, without a gateway. It only reads, and may be called while gateways serve what is
// there. progress is kept up to date meanwhile.
func CheckBucket(ctx context.Context, url string, req api.ScrubRequest, progress *Progress, log *slog.Logger) (*api.ScrubReport, error) {
	if err := checkExists(url); err != nil {
		return nil, err
	}
	raw, err := storeurl.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }()                   // nothing was written
	if err := volume.CheckFormat(ctx, raw); err != nil { // at once, before anything is tried again
		return nil, err
	}
	store := object.Limit(object.Retry(raw, object.RetryOptions{Logger: log}), object.LimitOptions{Requests: maxRequests})
	rep, err := scrub.Run(ctx, scrub.Options{
		Store: store, Volume: req.Volume, Quick: req.Quick, Rate: req.Rate, Orphans: req.Volume == "", Progress: progress, Logger: log,
	})
	if err != nil {
		return nil, explain(err)
	}
	if rep.Volumes+rep.Snapshots+len(rep.Damaged) == 0 && rep.Orphans == 0 {
		return nil, api.Errorf(api.CodeNotFound, "there is no volume and no snapshot in %s", url).WithHint("is the prefix right?")
	}
	return scrubReport(rep), nil
}

// checkExists refuses the URL of a directory that is not there: to open it would make it.
func checkExists(url string) error {
	loc, err := storeurl.Parse(url)
	if err != nil {
		return api.Errorf(api.CodeInvalid, "%w", err)
	}
	if loc.Dir == "" {
		return nil
	}
	if _, err := os.Stat(loc.Dir); err != nil {
		return api.Errorf(api.CodeNotFound, "%w", err)
	}
	return nil
}

// createdBy names the program, for format.json.
func createdBy() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return "sluice " + info.Main.Version
	}
	return "sluice"
}

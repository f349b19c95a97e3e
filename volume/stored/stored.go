package stored

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
)

const (
	// ChunkSize is the unit, in bytes, in which changes are noted and content is fetched.
	ChunkSize = 64 << 10
	// regionChunks is how many chunks one intent covers.
	regionChunks = 1024
)

// ErrStale says that another gateway has served the volume since this one did.
var ErrStale = errors.New("the data on this gateway is old: another one has served the volume since")

// ErrNoData says that the data of a volume is neither here nor in the bucket.
var ErrNoData = errors.New("the data of the volume is not to be had")

// Options are what a volume needs of its gateway.
type Options struct {
	Store   object.Store
	Cache   *cache.Cache // through which content is fetched
	Dir     string       // where stored volumes are, each in a directory of its own
	Gateway string       // identity of this gateway
	Host    string       // its host name, for people
	Boot    string       // identity of this boot of the machine
	Codec   segment.Codec
	Logger  *slog.Logger
	// Patience is how long Open waits for the bucket where the volume can be served without it.
	Patience time.Duration
}

// Volume is a stored volume that this gateway serves. Its methods may be called concurrently. Offsets and lengths of
// Read, Write and Zero are multiples of 512 bytes.
type Volume struct {
	opts Options
	log  *slog.Logger
	id   uuid.UUID
	name string
	dir  string

	size   atomic.Int64
	failed atomic.Pointer[error] // why all I/O fails from now on

	// gate is held, to be read, by who changes the data, and to be written by a Hold.
	gate    sync.RWMutex
	data    *dataFile
	dirty   *bitFile // chunks that changed since the last cut
	spare   *bitFile // the other set: empty, or that of the cut
	intents *bitFile // regions in which a chunk may have changed
	cut     atomic.Pointer[Cut]
	cutting chan struct{} // holds a token while the volume is held or a cut is not closed

	present *presence // nil once all is here
	filled  atomic.Bool

	sync  syncState
	stats counters

	stateMu sync.Mutex // protects state and what follows
	state   state
	claim   *volume.Claim // nil until the bucket was reached
	writer  uint32
	seq     uint32        // of the writer's newest segment
	roots   int           // written by this attachment
	claimed chan struct{} // closed when claim is set
	ended   chan struct{} // closed when the volume has failed

	stop context.CancelFunc
	done sync.WaitGroup
}

// counters are since the volume was opened.
type counters struct {
	readBytes, writeBytes, readOps, writeOps, flushes atomic.Int64
	uploadedBytes, uploadedSegments, roots            atomic.Int64
}

// Open attaches a volume to this gateway and serves it. One that another gateway owns is refused with volume.ErrOwned, and one whose
// data here is old with ErrStale, unless force is set: then old data is moved aside, and the content is that of the newest
// root in the bucket. If the bucket cannot be reached, and the volume was this gateway's, it is served from what is here.
func Open(ctx context.Context, id uuid.UUID, opts Options, force bool) (*Volume, error) {
	v := &Volume{
		opts: opts, log: opts.Logger, id: id, dir: filepath.Join(opts.Dir, id.String()),
		cutting: make(chan struct{}, 1), claimed: make(chan struct{}), ended: make(chan struct{}),
	}
	// The first flush syncs in any case: it is also for what a process that died has acknowledged.
	v.sync.writes.Store(1)
	if err := v.open(ctx, force); err != nil {
		return nil, fmt.Errorf("attaching a stored volume: %w", errors.Join(err, v.closeFiles()))
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	v.stop = cancel
	v.done.Go(func() { v.keep(background) })
	if v.present != nil {
		v.done.Go(func() { v.fill(background) })
	}
	return v, nil
}

func (v *Volume) open(ctx context.Context, force bool) error {
	if err := makeDir(v.dir); err != nil {
		return err
	}
	st, err := loadState(v.dir, v.id)
	if err != nil {
		return err
	}
	if st == nil {
		st = &state{Format: stateFormat, Volume: v.id}
	}
	own := st.Begun && st.Head != nil && st.Head.Owner != nil && st.Head.Owner.Gateway == v.opts.Gateway
	patient, cancel := ctx, func() {}
	if own {
		patient, cancel = context.WithTimeout(ctx, v.opts.Patience)
	}
	defer cancel()
	claim, err := volume.NewClaim(patient, v.claimOptions(force))
	switch {
	case err == nil:
		if err := v.openClaimed(claim, st, force); err != nil {
			return err
		}
		err = v.take(patient, claim)
		if own && unreachable(err) {
			v.log.Warn("the bucket does not answer: the volume is served from this gateway, and its snapshots wait", "error", err)
			return ctx.Err()
		}
		return err
	case own && unreachable(err):
		v.log.Warn("the bucket cannot be reached: the volume is served from this gateway, and its snapshots wait", "volume", st.Head.Name, "error", err)
		return v.begin(st, st.Head)
	}
	return err
}

// unreachable tells whether an error says nothing about the volume, but only about the way to the bucket.
func unreachable(err error) bool {
	return object.Transient(err) || errors.Is(err, object.ErrRefused) || errors.Is(err, context.DeadlineExceeded)
}

// openClaimed opens the data that belongs to the head.
func (v *Volume) openClaimed(claim *volume.Claim, st *state, force bool) error {
	head := claim.Head()
	if st.Begun && (!current(st, head, v.opts.Gateway) || !claim.Familiar()) {
		if !force {
			return fmt.Errorf("%w (it is of epoch %d, the volume in epoch %d): with force it is moved aside, and the volume begins as its newest snapshot",
				ErrStale, st.Epoch, head.Epoch)
		}
		if err := v.moveAside(st); err != nil {
			return err
		}
		st = &state{Format: stateFormat, Volume: v.id, Rate: st.Rate}
	}
	return v.begin(st, head)
}

// current tells whether the local data is of the newest attachment. The head may be one epoch ahead if this gateway died after it had
// taken the ownership.
func current(st *state, head *volume.Head, gateway string) bool {
	return head.Epoch == st.Epoch || head.Epoch == st.Epoch+1 && head.Owner != nil && head.Owner.Gateway == gateway
}

// moveAside keeps old data where nobody mistakes it for the volume's.
func (v *Volume) moveAside(st *state) error {
	if st.Path != "" {
		return fmt.Errorf("%w: %s is not touched; move it away", ErrStale, st.Path)
	}
	to := fmt.Sprintf("%s.stale-epoch-%d-%d", v.dir, st.Epoch, time.Now().Unix())
	if err := os.Rename(v.dir, to); err != nil {
		return fmt.Errorf("moving old data aside: %w", err)
	}
	v.log.Warn("old data of a stored volume was moved aside; remove it when nobody misses it", "path", to)
	return makeDir(v.dir)
}

// take makes this gateway the owner, and notes that before anything is written under the new epoch. The caller has seen that the data
// here is of the head's epoch; that is noted first, so that the head is never more than one epoch ahead, however often a
// gateway dies after the ownership was taken and before it is noted.
func (v *Volume) take(ctx context.Context, claim *volume.Claim) error {
	if err := v.noteEpoch(claim.Head().Epoch); err != nil {
		return err
	}
	if err := claim.Take(ctx); err != nil {
		return err
	}
	writer, err := claim.Writer(ctx, func(h *volume.Head, writer uint32) {
		// Of what earlier attachments began to upload nothing counts but what the root names.
		h.Spans = []volume.Span{{Writer: writer}}
	})
	if err != nil {
		return err
	}
	v.stateMu.Lock()
	defer v.stateMu.Unlock()
	v.state.Head = claim.Head()
	v.state.Epoch = v.state.Head.Epoch
	if err := v.state.save(v.dir); err != nil {
		return err
	}
	v.claim, v.writer = claim, writer
	close(v.claimed)
	return nil
}

func (v *Volume) claimOptions(force bool) volume.ClaimOptions {
	return volume.ClaimOptions{
		Store: v.opts.Store, Volume: v.id, Gateway: v.opts.Gateway, Host: v.opts.Host, Force: force, Notes: fileNotes(v.dir), Lost: v.fail,
	}
}

// noteEpoch says that the data here is of an epoch.
func (v *Volume) noteEpoch(epoch uint64) error {
	v.stateMu.Lock()
	defer v.stateMu.Unlock()
	if v.state.Epoch == epoch {
		return nil
	}
	v.state.Epoch = epoch
	return v.state.save(v.dir)
}

// begin opens the data and all marks, and sets them up for a volume that has none here.
func (v *Volume) begin(st *state, head *volume.Head) error {
	v.name, v.log = head.Name, v.opts.Logger.With("volume", head.Name)
	v.size.Store(head.Size)
	path := st.Path
	if path == "" {
		path = filepath.Join(v.dir, "data")
	}
	var err error
	if v.data, err = openData(path); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	first := !st.Begun
	if first && head.Root == nil && head.Epoch > 0 {
		// Never an empty volume in place of one whose data is elsewhere.
		return fmt.Errorf("%w: volume %q was served before, and no snapshot of it is in the bucket: its data is on that gateway only", ErrNoData, head.Name)
	}
	if first {
		if err := v.data.prepare(head.Size, st.Preserve); err != nil {
			return fmt.Errorf("%w: %w", ErrUnfit, err)
		}
		st.Complete = head.Root == nil || st.Preserve
	}
	if n, err := v.data.length(); err != nil || n < head.Size {
		return errors.Join(err, fmt.Errorf("%s has %d bytes, the volume %d", path, n, head.Size))
	}
	if err := v.openMarks(st, first); err != nil {
		return err
	}
	st.Begun, st.Clean, st.Boot, st.Head = true, false, v.opts.Boot, head
	if err := st.save(v.dir); err != nil {
		return err
	}
	v.state = *st
	v.filled.Store(v.present == nil)
	return nil
}

// openMarks opens the sets of bits, and makes one of the two sets of changed chunks.
func (v *Volume) openMarks(st *state, first bool) (err error) {
	chunks := v.chunks()
	if first { // who died before the volume had begun may have left parts of files
		for _, name := range []string{"dirty.0", "dirty.1", "intents", "present"} {
			if err := os.Remove(filepath.Join(v.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("beginning anew with a file of marks: %w", err)
			}
		}
	}
	if v.dirty, err = v.bits("dirty.0", chunks); err != nil {
		return err
	}
	if v.spare, err = v.bits("dirty.1", chunks); err != nil {
		return err
	}
	if v.intents, err = v.bits("intents", (chunks+regionChunks-1)/regionChunks); err != nil {
		return err
	}
	if first && st.Preserve { // all of it is new to the bucket
		if err := v.intents.addSynced(0, (chunks-1)/regionChunks); err != nil {
			return err
		}
	}
	exact := st.Clean || st.Boot == v.opts.Boot && !first
	if !exact { // after a loss of power, or for the first time
		for region := range v.intents.all() {
			if err := v.dirty.add(region*regionChunks, min((region+1)*regionChunks, chunks)-1); err != nil {
				return err
			}
		}
	}
	if err := v.dirty.addAll(v.spare); err != nil {
		return err
	}
	if !st.Complete {
		if v.present, err = openPresence(v, exact); err != nil {
			return err
		}
	}
	// After a close in order the bits are believed until volume.json says otherwise: on disk, too, none goes from one set before it is
	// in the other.
	if err := v.dirty.sync(); err != nil {
		return err
	}
	return v.spare.clear()
}

func (v *Volume) bits(name string, n int64) (*bitFile, error) {
	return openBits(filepath.Join(v.dir, name), v.id, n)
}

func (v *Volume) chunks() int64 { return (v.size.Load() + ChunkSize - 1) / ChunkSize }

// Close stops serving: it makes all that was written durable.
func (v *Volume) Close() error {
	healthy := v.check() == nil
	var err error
	if healthy {
		err = v.Flush(context.Background())
	}
	v.gate.Lock()
	v.fail(volume.ErrClosed) // from here on nothing is written
	v.gate.Unlock()
	v.stop()
	v.done.Wait()
	if c := v.cut.Load(); c != nil {
		c.Close()
	}
	if healthy && err == nil {
		// Who wrote between the flush and the gate was not promised more than to survive the process; so the
		// bits are synced after the data.
		err = errors.Join(v.data.Sync(), v.dirty.sync(), v.spare.sync())
	}
	if healthy && err == nil {
		v.stateMu.Lock()
		v.state.Clean = true
		err = v.state.save(v.dir)
		v.stateMu.Unlock()
	}
	err = errors.Join(err, v.closeFiles())
	if err != nil {
		return fmt.Errorf("closing volume %q: %w", v.name, err)
	}
	return nil
}

func (v *Volume) closeFiles() error {
	var err error
	if v.data != nil {
		err = v.data.Close()
	}
	for _, b := range []*bitFile{v.dirty, v.spare, v.intents} {
		if b != nil {
			err = errors.Join(err, b.close())
		}
	}
	if v.present != nil {
		err = errors.Join(err, v.present.close())
	}
	return err
}

// Detach uploads what changed and gives the ownership up, so that any gateway may attach the volume. Nobody may write
// meanwhile. After success the volume is closed; after an error it goes on as before.
func (v *Volume) Detach(ctx context.Context) error {
	select {
	case v.cutting <- struct{}{}:
		<-v.cutting
	default:
		return fmt.Errorf("detaching: %w", errCut)
	}
	hold, err := v.Hold(ctx)
	if err != nil {
		return fmt.Errorf("detaching: %w", err)
	}
	cut := hold.Cut()
	hold.Release()
	_, err = cut.Finish(ctx)
	cut.Close()
	if err != nil {
		return fmt.Errorf("detaching: %w", err)
	}
	if err := v.giveUp(ctx); err != nil {
		return fmt.Errorf("detaching: %w", err)
	}
	return v.Close() //nolint:contextcheck // what was given up is taken down whatever becomes of ctx
}

// errCut is why a volume cannot be given up while a snapshot of it is unfinished.
var errCut = errors.New("a snapshot of the volume is under way")

// giveUp removes the owner from the head.
func (v *Volume) giveUp(ctx context.Context) error {
	claim, err := v.claimNow(ctx)
	if err != nil {
		return err
	}
	return claim.GiveUp(ctx, func(*volume.Head) {})
}

// Abandon gives the ownership up without uploading, for a volume that is to be deleted, and removes its data here unless it is in a
// place that the user chose. Nobody may write meanwhile. After an error before that it goes on as before.
func (v *Volume) Abandon(ctx context.Context) error {
	if err := v.giveUp(ctx); err != nil {
		return fmt.Errorf("abandoning: %w", err)
	}
	if err := v.Close(); err != nil { //nolint:contextcheck // as in Detach
		return err
	}
	if err := os.RemoveAll(v.dir); err != nil {
		return fmt.Errorf("removing the data of a stored volume: %w", err)
	}
	return nil
}

// claimNow waits until the bucket has confirmed the ownership.
func (v *Volume) claimNow(ctx context.Context) (*volume.Claim, error) {
	select {
	case <-v.claimed:
		return v.claim, nil
	case <-v.ended:
		return nil, v.check()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the bucket: %w", ctx.Err())
	}
}

const (
	watchEvery = 15 * time.Second
	renewEvery = time.Minute
	// reconcileFirst is when the bucket is asked again for the first time by a volume that was opened without it; from then on
	// the pauses double.
	reconcileFirst = 500 * time.Millisecond
)

// keep confirms the ownership once the bucket can be reached, and watches over it until ctx ends.
func (v *Volume) keep(ctx context.Context) {
	pause := reconcileFirst
	timer := time.NewTimer(pause)
	defer timer.Stop()
	renewed := time.Now()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if v.claimOrNil() != nil {
			pause = watchEvery
		} else {
			pause = min(2*pause, watchEvery)
		}
		timer.Reset(pause)
		var err error
		switch claim := v.claimOrNil(); {
		case claim == nil:
			err = v.reconcile(ctx)
		case time.Since(renewed) >= renewEvery:
			renewed = time.Now()
			err = claim.Update(ctx, func(*volume.Head) {})
		default:
			err = claim.Watch(ctx)
		}
		if err != nil && ctx.Err() == nil {
			v.log.Warn("housekeeping failed; it will be tried again", "error", err)
		}
	}
}

func (v *Volume) claimOrNil() *volume.Claim {
	select {
	case <-v.claimed:
		return v.claim
	default:
		return nil
	}
}

// reconcile takes the ownership of a volume that was opened without the bucket, if it is still this gateway's.
func (v *Volume) reconcile(ctx context.Context) error {
	claim, err := volume.NewClaim(ctx, v.claimOptions(false))
	if errors.Is(err, volume.ErrOwned) || errors.Is(err, volume.ErrTwin) || errors.Is(err, volume.ErrNotFound) {
		v.fail(fmt.Errorf("%w: %w", volume.ErrLost, err))
	}
	if err != nil {
		return err
	}
	v.stateMu.Lock()
	st := v.state
	v.stateMu.Unlock()
	if !current(&st, claim.Head(), v.opts.Gateway) {
		v.fail(fmt.Errorf("%w: %w", volume.ErrLost, ErrStale))
		return ErrStale
	}
	if err := v.take(ctx, claim); err != nil {
		return err
	}
	v.log.Info("the bucket is back: the volume is still this gateway's")
	return nil
}

// fail makes all further I/O return err.
func (v *Volume) fail(err error) {
	if !v.failed.CompareAndSwap(nil, &err) {
		return
	}
	close(v.ended)
	if !errors.Is(err, volume.ErrClosed) {
		v.log.Error("volume stopped: all I/O fails until it is attached again", "error", err)
	}
}

func (v *Volume) check() error {
	if err := v.failed.Load(); err != nil {
		return *err
	}
	return nil
}

package stored

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/volume"
)

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

// begin opens the data and all marks, and sets them up for a volume that has none here.
func (v *Volume) begin(st *state, head *volume.Head) error {
	v.name, v.log = head.Name, v.opts.Logger.With("volume", head.Name)
	v.size.Store(head.Size)
	path := st.Path
	if path == "" {
		path = filepath.Join(v.dir, "data")
	}
	first := !st.Begun
	var err error
	if v.data, err = openData(path, first); err != nil {
		if !first && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrNoData, err)
		}
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
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
	// The names of all files are on disk before the state says that they are there.
	if err := syncDir(v.dir); err != nil {
		return fmt.Errorf("syncing the directory of a stored volume: %w", err)
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
	if v.dirty, err = v.bits("dirty.0", chunks, first); err != nil {
		return err
	}
	if v.spare, err = v.bits("dirty.1", chunks, first); err != nil {
		return err
	}
	if v.intents, err = v.bits("intents", (chunks+regionChunks-1)/regionChunks, first); err != nil {
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
		if v.present, err = openPresence(v, exact, first); err != nil {
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

// bits opens a file of marks of this volume. Without one nobody knows which chunks a snapshot has to upload, or which are here.
func (v *Volume) bits(name string, n int64, anew bool) (*bitFile, error) {
	b, err := openBits(filepath.Join(v.dir, name), v.id, n, anew)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; what it says of the data cannot be told without it. The data is untouched: "+
			"restore the newest snapshot, or make a volume of a copy of the data with sluice volume create NAME --mode stored --path FILE --preserve", err)
	}
	return b, err
}

package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"sluice/volume/segment"
)

// Open attaches a volume to this gateway: it takes the ownership, recovers the newest
// state that the local segments and the bucket allow, and serves it. A volume that
// another gateway owns is refused with ErrOwned unless force is set; then that gateway
// stops at its next look at the head, and what it had not uploaded is lost.
func Open(ctx context.Context, id uuid.UUID, opts Options, force bool) (*Volume, error) {
	if opts.MapBytes == 0 {
		opts.MapBytes = 128 << 20
	}
	if opts.SealAfter == 0 {
		opts.SealAfter = 5 * time.Second
	}
	v := &Volume{
		opts: opts, id: id,
		spares: make(chan spare, 1), cutting: make(chan struct{}, 1), grown: make(chan struct{}, 1), advanced: make(chan struct{}, 1),
		inBucket: newRounds(), onPeer: newRounds(),
	}
	var err error
	v.claim, err = NewClaim(ctx, ClaimOptions{
		Store: opts.Store, Volume: id, Gateway: opts.Gateway, Host: opts.Host, Lease: opts.Lease, Group: opts.Group, Force: force, From: opts.From,
		Notes: dbNotes{opts.DB, id}, Lost: v.fail, Queued: v.queued,
	})
	if err != nil {
		return nil, err
	}
	head := v.claim.Head()
	v.log = opts.Logger.With("volume", head.Name)
	v.size.Store(head.Size)
	v.durability.Store(&head.Durability)
	v.checked = checkedReader{opts.Cache, v.log, &v.stats.checksumErrors, &v.waits}
	v.ahead.requests = make(chan extent, 2*prefetchers)
	if err := v.attach(ctx, head); err != nil {
		return nil, fmt.Errorf("attaching volume %q: %w", head.Name, err)
	}
	v.start() //nolint:contextcheck // the volume outlives the call that opens it
	return v, nil
}

// attach takes the ownership and recovers the map. The head is as it was before.
func (v *Volume) attach(ctx context.Context, before *Head) error {
	if err := v.claim.Take(ctx); err != nil {
		return err
	}
	v.tellTakeover(before)
	rec, err := &recovery{}, v.receive(ctx, before)
	if err == nil {
		rec, err = v.recover(ctx, before)
	}
	if err == nil {
		err = v.begin(ctx, rec)
	}
	if err == nil && v.opts.Received != nil {
		err = v.opts.Received.Forget(v.id) // it is in the bucket
	}
	if err == nil && rec.end != rec.start { // what was replayed need not be replayed again
		err = v.m.Checkpoint(ctx, rec.end)
	}
	if err != nil {
		if v.m != nil {
			err = errors.Join(err, v.m.Close())
		}
		if before.Owner == nil { // nobody's again
			err = errors.Join(err, v.claim.Update(ctx, func(h *Head) { h.Owner = nil }))
		}
		return err
	}
	v.queue = newUploadQueue(rec.published)
	for _, u := range rec.unsent {
		v.opts.Buffer.add(u.blocks * segment.BlockSize)
		v.queue.push(u)
	}
	v.sealed, v.rooted = rec.end, rec.rooted
	v.history = slices.Clip(rec.spans)
	return nil
}

// tellTakeover says what may be lost when a volume was taken from another gateway.
func (v *Volume) tellTakeover(before *Head) {
	o := before.Owner
	if o == nil || o.Gateway == v.opts.Gateway && v.claim.Familiar() {
		return
	}
	v.log.Warn("the volume was taken from its owner: what that one had not uploaded is not part of it any more",
		"gateway", o.Gateway, "host", o.Host, "renewed", o.Renewed, "queued_bytes", o.Queued)
}

// begin writes the new attachment into the head: a writer number of its own, and the history as it was recovered.
func (v *Volume) begin(ctx context.Context, rec *recovery) error {
	writer, err := v.claim.Writer(ctx, func(h *Head, writer uint32) {
		h.Spans = append(slices.Clip(rec.spans), Span{Writer: writer})
	})
	if err != nil {
		return err
	}
	v.epoch, v.writer = v.claim.Head().Epoch, writer
	v.last = segment.NewID(writer, 0)
	if err := v.trim(rec.tails); err != nil {
		return err
	}
	return saveState(v.opts.DB, v.id, localState{Epoch: v.epoch, Boot: v.opts.Boot})
}

func (v *Volume) start() {
	ctx, cancel := context.WithCancel(context.Background())
	v.stop = cancel
	v.prepare(v.last.Next())
	checkpointed := v.sealed
	v.done.Go(func() { v.sealer(ctx, checkpointed) })
	v.done.Go(func() { v.keeper(ctx) })
	v.done.Go(func() { v.claim.KeepLease(ctx, v.log) })
	for range uploadWindow {
		v.done.Go(func() { v.uploader(ctx) })
	}
	for range prefetchers {
		v.done.Go(func() { v.prefetcher(ctx) })
	}
	signal(v.queue.more)
}

// Close stops serving: it makes all that was accepted durable on local disk, and leaves
// what is not uploaded for the next Open on this gateway. A volume that has failed is
// only taken down: the next Open recovers it.
func (v *Volume) Close() error {
	v.mu.Lock()
	v.rotate()
	sealed := v.sealed
	healthy := v.check() == nil
	v.fail(ErrClosed) // from here on nothing is appended
	v.mu.Unlock()
	var err error
	if healthy {
		err = v.lastSync()
	}
	v.stop()
	v.done.Wait()
	err = errors.Join(err, v.tidy())
	if healthy && err == nil {
		err = v.m.Checkpoint(context.Background(), sealed)
	}
	err = errors.Join(err, v.m.Close())
	if healthy && err == nil {
		err = saveState(v.opts.DB, v.id, localState{Epoch: v.epoch, Boot: v.opts.Boot, Clean: true})
	}
	if err != nil {
		return fmt.Errorf("closing volume %q: %w", v.claim.Head().Name, err)
	}
	return nil
}

// tidy gives back what the volume holds of its gateway's, once nothing runs any more.
func (v *Volume) tidy() error {
	var err error
	if v.open != nil {
		err = v.discard(v.open)
	}
	if s := <-v.spares; s.open != nil {
		err = errors.Join(err, v.discard(s.open))
	}
	if v.frozen != nil {
		v.frozen.Done()
	}
	v.opts.Buffer.Release(v.queue.unsent() * segment.BlockSize)
	return err
}

// discard removes a segment file that took no appends.
func (v *Volume) discard(o *openSegment) error {
	o.seg.Release()
	return v.opts.Cache.Discard(o.seg.ID)
}

// Upload seals what is open and returns when all that was accepted before is in the bucket.
func (v *Volume) Upload(ctx context.Context) error {
	v.mu.Lock()
	v.rotate()
	want := v.sealed
	v.mu.Unlock()
	if err := v.awaitPublished(ctx, want); err != nil {
		return fmt.Errorf("waiting for the upload: %w", err)
	}
	return nil
}

// Settle uploads all that was accepted and says in the head that its owner is about to stop: a standby may take the volume over at once, and
// misses nothing. Nobody may write meanwhile, or afterwards.
func (v *Volume) Settle(ctx context.Context) error {
	if err := v.Upload(ctx); err != nil {
		return err
	}
	published, _ := v.queue.position()
	return v.claim.Update(ctx, func(h *Head) { h.Published, h.Owner.Stopped = published, true })
}

// Detach uploads all, writes a root, and gives the ownership up, so that any gateway may
// attach the volume. If ctx ends first the volume stays attached and goes on serving.
// Nobody may write meanwhile. After success the volume is closed.
func (v *Volume) Detach(ctx context.Context) error {
	if err := v.Upload(ctx); err != nil {
		return fmt.Errorf("detaching: %w", err)
	}
	if err := v.giveUp(ctx); err != nil {
		return fmt.Errorf("detaching: %w", err)
	}
	v.unmirror(ctx)
	return v.Close() //nolint:contextcheck // what was given up is taken down whatever becomes of ctx
}

// giveUp writes a root of all that is published, and a head without an owner.
func (v *Volume) giveUp(ctx context.Context) error {
	v.rootMu.Lock() // the keeper writes no root meanwhile, and cannot afterwards
	defer v.rootMu.Unlock()
	v.mu.Lock()
	if v.cut != nil {
		v.mu.Unlock()
		return errCut
	}
	if v.frozen != nil {
		v.frozen.Done()
		v.frozen = nil
	}
	sealed := v.sealed
	frozen := v.m.Freeze(sealed)
	v.mu.Unlock()
	defer frozen.Done()
	root := v.claim.Head().Root
	if sealed != v.rooted {
		r, err := v.writeRoot(ctx, frozen)
		if err != nil {
			return err
		}
		root = &r
	}
	return v.claim.GiveUp(ctx, func(h *Head) {
		h.Published, h.Root = sealed, root
		if root != nil {
			h.addPoint(Point{Time: frozen.Time().UTC(), Root: *root})
		}
		closeSpan(h, sealed)
	})
}

// Abandon gives the ownership up without uploading, for a volume that is to be deleted: what
// is not in the bucket is dropped. Nobody may write meanwhile. After success the volume is
// closed; after an error it goes on as before.
func (v *Volume) Abandon(ctx context.Context) error {
	v.mu.Lock()
	v.rotate()
	sealed := v.sealed
	v.mu.Unlock()
	err := v.claim.GiveUp(ctx, func(h *Head) { closeSpan(h, sealed) })
	if err != nil {
		return fmt.Errorf("abandoning: %w", err)
	}
	v.unmirror(ctx)
	if err := v.Close(); err != nil { //nolint:contextcheck // as in Detach
		return err
	}
	return v.opts.Cache.Discard(v.opts.Cache.Unsent(v.id)...)
}

// closeSpan ends the current attachment's part of the history at its newest segment.
func closeSpan(h *Head, end segment.ID) {
	last := len(h.Spans) - 1
	if h.Spans[last].Writer == end.Writer() {
		h.Spans[last].To = end.Sequence()
	} else {
		h.Spans = h.Spans[:last]
	}
}

package stored

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"sluice/volume"
)

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

func (v *Volume) claimOrNil() *volume.Claim {
	select {
	case <-v.claimed:
		return v.claim
	default:
		return nil
	}
}

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

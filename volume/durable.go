package volume

import (
	"context"
	"fmt"

	"sluice/volume/segment"
)

// Durability says where data is when a flush is acknowledged.
type Durability string

const (
	// Local is the disk of the gateway. What is lost with the gateway is what it had not uploaded.
	Local Durability = "local"
	// OnPeer is the disk of the gateway's peer, too, for what is not in the bucket: nothing that was flushed is lost with the gateway if the peer
	// takes the volume over.
	OnPeer Durability = "peer"
	// InBucket is the bucket, too, so that nothing that was flushed is lost with the gateway, whoever takes over.
	InBucket Durability = "bucket"
)

// Valid tells whether there is such a durability.
func (d Durability) Valid() bool { return d == Local || d == OnPeer || d == InBucket }

// Durability returns what flushes of the volume wait for.
func (v *Volume) Durability() Durability {
	if d := v.durability.Load(); d != nil && *d != "" {
		return *d
	}
	return Local
}

// SetDurability changes what flushes wait for. When it returns, that holds for all that was flushed before, too. WriteThrough is only noted:
// who takes writes has each followed by a Flush.
func (v *Volume) SetDurability(ctx context.Context, d Durability, writeThrough bool) error {
	err := v.claim.Update(ctx, func(h *Head) { h.Durability, h.WriteThrough = d, writeThrough })
	if err != nil {
		return fmt.Errorf("setting the durability: %w", err)
	}
	v.durability.Store(&d)
	return v.Flush(ctx)
}

// rounds lets those who wait for the same kind of work share it: one does it for all who came before it began.
type rounds struct {
	busy chan struct{} // holds a token while somebody does it; protects done
	done uint64        // all appends before this one are done; 0: so is not even what an earlier process left
}

func newRounds() rounds { return rounds{busy: make(chan struct{}, 1)} }

// wait returns when the first want appends are done. Do does all that there are, and returns one more than their number.
func (r *rounds) wait(ctx context.Context, want uint64, do func(ctx context.Context) (upTo uint64, err error)) error {
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.busy }()
	if r.done > want {
		return nil
	}
	upTo, err := do(ctx)
	if err == nil {
		r.done = upTo
	}
	return err
}

// publish returns when the first want appends are in the bucket, and this gateway was still the owner after they were: whoever takes
// the volume over from then on finds them. Those who wait for it share rounds, each with one segment at most.
func (v *Volume) publish(ctx context.Context, want uint64) error {
	v.publishing.Add(1)
	defer v.publishing.Add(-1)
	if err := v.inBucket.wait(ctx, want, v.publishRound); err != nil {
		return fmt.Errorf("waiting until the bucket has what is flushed: %w", err)
	}
	return nil
}

// publishRound brings all that was appended by now into the bucket, and what an earlier process left, and returns one more than
// the number of appends that are there. The caller holds inBucket.
func (v *Volume) publishRound(ctx context.Context) (upTo uint64, err error) {
	v.mu.Lock()
	v.rotate()
	sealed, appends := v.sealed, v.appends
	v.mu.Unlock()
	if err := v.awaitPublished(ctx, sealed); err != nil {
		return 0, err
	}
	// A gateway that took the volume over just before the last segment arrived has not seen it.
	if err := v.claim.Watch(ctx); err != nil {
		return 0, err
	}
	return appends + 1, v.check()
}

// awaitPublished returns when all segments up to one are in the bucket.
func (v *Volume) awaitPublished(ctx context.Context, id segment.ID) error {
	for {
		moved := v.queue.moved()
		if err := v.check(); err != nil {
			return err
		}
		if published, waiting := v.queue.position(); published >= id || waiting == 0 {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

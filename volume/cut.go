package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// Hold keeps writes out of a volume while its moment, or that of several volumes, is
// noted. Reads go on.
type Hold struct{ v *Volume }

// Hold waits until no Cut of the volume is unfinished and no write is being appended, and
// then accepts none until Release. To cut several volumes at one instant, hold all of them, cut all,
// release all; always in the same order of volumes.
func (v *Volume) Hold(ctx context.Context) (*Hold, error) {
	select {
	case v.cutting <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another snapshot of the volume: %w", ctx.Err())
	}
	v.mu.Lock()
	if err := v.check(); err != nil {
		v.mu.Unlock()
		<-v.cutting
		return nil, err
	}
	return &Hold{v}, nil
}

// Release accepts writes again. A hold without a cut leaves no trace.
func (h *Hold) Release() {
	if h.v.cut == nil {
		<-h.v.cutting
	}
	h.v.mu.Unlock()
}

// Cut notes this moment of the volume. It takes microseconds: the open segment is sealed, and
// the map frozen. A hold has one cut.
func (h *Hold) Cut() *Cut {
	v := h.v
	v.rotate()
	// A root that was under way is superseded: its changes are part of this one.
	v.frozen, v.rootDue = v.m.Freeze(v.sealed), false
	v.cut = &Cut{v: v, frozen: v.frozen, size: v.Size(), total: v.queue.unsentUpTo(v.sealed)}
	signal(v.queue.more)
	return v.cut
}

// Cut is a moment of a volume on its way to the bucket. Until it is closed, the volume's newest
// root in the bucket stays this one, once it is written: so nothing that it names can become
// garbage before whoever wanted the cut has noted its root.
type Cut struct {
	v      *Volume
	frozen *blockmap.Frozen
	size   int64 // of the volume, in bytes
	total  int64 // blocks
}

// Time returns the moment.
func (c *Cut) Time() time.Time { return c.frozen.Time() }

// Size returns the volume's size at the moment, in bytes.
func (c *Cut) Size() int64 { return c.size }

// Progress returns how many bytes of those accepted before the moment, and not in the bucket by then,
// are there now.
func (c *Cut) Progress() (done, total int64) {
	left := c.v.queue.unsentUpTo(c.frozen.Position())
	return (c.total - left) * segment.BlockSize, c.total * segment.BlockSize
}

// Finish returns the root of the moment when all that it names is in the bucket. After an error other than
// one that stopped the volume it may be called again: it never fails with ErrAborted.
func (c *Cut) Finish(ctx context.Context) (blockmap.Root, error) {
	if err := c.v.awaitPublished(ctx, c.frozen.Position()); err != nil {
		return blockmap.Root{}, fmt.Errorf("waiting for the upload: %w", err)
	}
	published, _ := c.v.queue.position()
	return c.root(ctx, published)
}

func (c *Cut) root(ctx context.Context, published segment.ID) (blockmap.Root, error) {
	v := c.v
	v.rootMu.Lock()
	defer v.rootMu.Unlock()
	if err := v.finishRoot(ctx, published); err != nil {
		return blockmap.Root{}, err
	}
	return v.writeRoot(ctx, c.frozen) // written above, or by the keeper, or superseded
}

// Confirm returns nil if the volume was still this gateway's when it was called. As long as it is, and the cut is not closed, the root that Finish returned is
// the newest in the bucket, and nothing that it names is deleted. Whoever notes the root somewhere asks afterwards. It fails with ErrLost.
func (c *Cut) Confirm(ctx context.Context) error { return c.v.claim.Watch(ctx) }

// Close ends the cut, whether it was finished or is given up. The next one may begin then.
// Close may be called again, to no effect.
func (c *Cut) Close() {
	v := c.v
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cut == c {
		v.cut = nil
		<-v.cutting
	}
}

// errCut is why a volume cannot be given up while a snapshot of it is unfinished.
var errCut = errors.New("a snapshot of the volume is under way")

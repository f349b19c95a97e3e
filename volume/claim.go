package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/object"
)

// ClaimOptions say whose claim it is.
type ClaimOptions struct {
	Store   object.Store
	Volume  uuid.UUID
	Gateway string // identity of the gateway
	Host    string // its host name, for people
	// Lease, unless it is zero, makes the ownership one that ends by itself when it is not renewed, so that a standby
	// gateway of Group may take the volume over. See KeepLease.
	Lease time.Duration
	Group string
	// Force takes the volume from a gateway that owns it. From, unless it is empty, does so if the head's nonce is this one: as long
	// as its owner has given no sign of life.
	Force bool
	From  string
	// Notes is where this gateway keeps which heads it wrote.
	Notes Notes
	// Lost is called, perhaps more than once, when it turns out that this gateway does not own the volume any more.
	Lost func(error)
	// Queued returns how many bytes are not in the bucket, to be noted for who takes over; nil: unknown.
	Queued func() int64
}

// Notes keep, on the gateway's own disk, the nonces of the heads that it wrote last or tried to. A head of this gateway that is
// none of them was written by another process with the same identity: one of the two runs on a copy of the other's data
// directory, or from a backup, and what it has on its disk is not the volume.
type Notes interface {
	Load() (nonces []string, err error) // none: nothing was noted yet
	Save(nonces []string) error         // durably
}

// Claim is a gateway's side of the head of a volume that it serves, or is about to. Its methods may be called
// concurrently.
type Claim struct {
	opts  ClaimOptions
	lease *Lease // nil: the ownership does not end by itself
	twin  bool   // the head was written by another process with this gateway's identity

	writing sync.Mutex // held while the head is written; protects what follows
	etag    string
	nonces  []string

	mu   sync.Mutex // protects what follows
	head *Head      // replaced, never changed
}

// maxNonces bounds how many attempts to write a head are remembered while none of them is known to have succeeded.
const maxNonces = 64

// NewClaim reads the head of a volume. A volume that another gateway owns is refused with ErrOwned unless force is
// set, and one that was served by another process with this gateway's identity with ErrTwin.
func NewClaim(ctx context.Context, opts ClaimOptions) (*Claim, error) {
	head, etag, err := readHead(ctx, opts.Store, opts.Volume)
	if err != nil {
		return nil, err
	}
	c := &Claim{opts: opts, head: head, etag: etag}
	if opts.Lease > 0 {
		c.lease = newLease(opts.Lease)
	}
	if c.nonces, err = opts.Notes.Load(); err != nil {
		return nil, err
	}
	if len(c.nonces) == 0 {
		// The first note that is saved must know the head, too, which stays if this process dies before it has written its own.
		c.nonces = []string{head.Nonce}
	}
	o := head.Owner
	switch {
	case o == nil:
	case o.Gateway != opts.Gateway:
		if !opts.Force && (opts.From == "" || opts.From != head.Nonce) {
			return nil, fmt.Errorf("attaching volume %q: %w: gateway %s on %s, last heard of %s",
				head.Name, ErrOwned, o.Gateway, o.Host, o.Renewed.Format(time.RFC3339))
		}
	case !slices.Contains(c.nonces, head.Nonce):
		if c.twin = true; !opts.Force {
			return nil, fmt.Errorf("attaching volume %q: %w: on %s, last heard of %s", head.Name, ErrTwin, o.Host, o.Renewed.Format(time.RFC3339))
		}
	}
	return c, nil
}

// Head returns the head as it was last read or written. It is the caller's own.
func (c *Claim) Head() *Head {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head.clone()
}

// Lease returns the lease of the ownership, or nil if that does not end by itself.
func (c *Claim) Lease() *Lease { return c.lease }

// Familiar tells whether what this gateway has on its disk of a volume that it owned is the volume's.
func (c *Claim) Familiar() bool { return !c.twin }

// Take takes the ownership by raising the epoch: from then on no other gateway changes the head. Who
// recovers what the bucket holds of the volume does so after it, and misses nothing that an earlier owner published.
func (c *Claim) Take(ctx context.Context) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	next := c.Head()
	next.Epoch++
	if o := next.Owner; o != nil && (o.Gateway != c.opts.Gateway || c.twin) {
		next.Takeover = &Takeover{Time: time.Now().UTC(), Gateway: o.Gateway, Host: o.Host, Renewed: o.Renewed, Queued: o.Queued}
	}
	next.Owner = &Owner{Gateway: c.opts.Gateway, Host: c.opts.Host, Group: c.opts.Group, Lease: int64(c.opts.Lease / time.Second)}
	if err := c.write(ctx, next); err != nil {
		return fmt.Errorf("taking the ownership: %w", err)
	}
	return nil
}

// Writer gets a writer number that no attachment had before, and notes in the head what the attachment begins with.
func (c *Claim) Writer(ctx context.Context, begin func(h *Head, writer uint32)) (writer uint32, err error) {
	if writer, err = nextWriter(ctx, c.opts.Store); err != nil {
		return 0, err
	}
	return writer, c.Update(ctx, func(h *Head) { begin(h, writer) })
}

// write stores a head in the place of the one that was read or written last. The caller holds writing.
func (c *Claim) write(ctx context.Context, next *Head) error {
	next.Nonce = uuid.NewString()
	if o := next.Owner; o != nil {
		o.Renewed = time.Now().UTC()
		if c.opts.Queued != nil {
			o.Queued = c.opts.Queued()
		}
	}
	if len(c.nonces) == maxNonces { // the first is that of the head
		c.nonces = slices.Delete(c.nonces, 1, 2)
	}
	c.nonces = append(c.nonces, next.Nonce)
	if err := c.opts.Notes.Save(c.nonces); err != nil {
		return err
	}
	asked := time.Now()
	etag, err := writeHead(ctx, c.opts.Store, next, c.etag)
	if err != nil {
		return err
	}
	c.accept(next, etag)
	if c.lease != nil && next.Owner != nil {
		c.lease.confirm(asked)
	}
	return nil
}

// accept notes what the head is. The caller holds writing.
func (c *Claim) accept(head *Head, etag string) {
	c.etag, c.nonces = etag, []string{head.Nonce}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = head
}

// Update changes the head by compare-and-swap. It fails with ErrLost when another gateway has changed the epoch, and with
// ErrClosed when the ownership was given up.
func (c *Claim) Update(ctx context.Context, change func(*Head)) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	for {
		next := c.Head()
		if next.Owner == nil {
			return ErrClosed
		}
		change(next)
		err := c.write(ctx, next)
		if !errors.Is(err, object.ErrPrecondition) {
			return err
		}
		if err := c.reread(ctx); err != nil {
			return err
		}
	}
}

// Watch looks whether another gateway has taken the volume over. When it returns nil, none had when it was called.
func (c *Claim) Watch(ctx context.Context) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	info, err := c.opts.Store.Stat(ctx, headKey(c.opts.Volume))
	if err == nil && info.ETag == c.etag {
		return nil
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		err = c.reread(ctx)
	}
	if err != nil {
		return fmt.Errorf("watching the ownership: %w", err)
	}
	return nil
}

// reread takes over the head in the bucket if this attachment still owns it. The caller holds writing.
func (c *Claim) reread(ctx context.Context) error {
	h, etag, err := readHead(ctx, c.opts.Store, c.opts.Volume)
	if err == nil && (h.Epoch != c.Head().Epoch || h.Owner == nil || h.Owner.Gateway != c.opts.Gateway) {
		err = ErrLost
		if h.Owner != nil {
			err = fmt.Errorf("%w: it is served by gateway %s on %s now", ErrLost, h.Owner.Gateway, h.Owner.Host)
		}
	}
	if errors.Is(err, ErrLost) || errors.Is(err, ErrNotFound) {
		if c.lease != nil {
			c.lease.end(err)
		}
		c.opts.Lost(err)
	}
	if err != nil {
		return err
	}
	c.accept(h, etag)
	return nil
}

// KeepLease renews the lease until ctx ends or the ownership is lost, well before it runs out. Without a lease it returns at once.
func (c *Claim) KeepLease(ctx context.Context, log *slog.Logger) {
	if c.lease == nil {
		return
	}
	for failing := false; ; {
		// Not all volumes at the same moment.
		pause := time.NewTimer(c.lease.term / renewals * time.Duration(90+rand.IntN(20)) / 100)
		select {
		case <-pause.C:
		case <-c.lease.wake:
			pause.Stop()
		case <-ctx.Done():
			pause.Stop()
			return
		}
		// An attempt that takes longer than this is not worth waiting for: the next one may come through.
		attempt, cancel := context.WithTimeout(ctx, c.lease.term/2)
		err := c.Update(attempt, func(*Head) {})
		cancel()
		switch {
		case ctx.Err() != nil, errors.Is(err, ErrLost), errors.Is(err, ErrNotFound), errors.Is(err, ErrClosed):
			return
		case err != nil && !failing:
			log.Warn("the lease cannot be renewed; it is tried again, and I/O waits when it has run out", "term", c.lease.term.String(), "error", err)
		case err == nil && failing:
			log.Info("the lease is renewed again")
		}
		failing = err != nil
		if failing {
			_ = sleep(ctx, c.lease.term/10)
		}
	}
}

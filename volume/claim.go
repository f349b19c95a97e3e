package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice/object"
)

// Claim is a gateway's side of the head of a volume that it serves, or is about to. Its methods may be called
// concurrently.
type Claim struct {
	store   object.Store
	id      uuid.UUID
	gateway string
	lost    func(error) // called when another gateway has taken the volume over

	mu   sync.Mutex // held while the head is written; protects what follows
	head *Head
	etag string
}

// NewClaim reads the head of a volume. A volume that another gateway owns is refused with
// ErrOwned unless force is set. Lost is called, perhaps more than once, when it turns out that this gateway does not own
// the volume any more.
func NewClaim(ctx context.Context, store object.Store, id uuid.UUID, gateway string, force bool, lost func(error)) (*Claim, error) {
	head, etag, err := readHead(ctx, store, id)
	if err != nil {
		return nil, err
	}
	if o := head.Owner; o != nil && o.Gateway != gateway && !force {
		return nil, fmt.Errorf("attaching volume %q: %w: gateway %s on %s, last heard of %s",
			head.Name, ErrOwned, o.Gateway, o.Host, o.Renewed.Format(time.RFC3339))
	}
	return &Claim{store: store, id: id, gateway: gateway, lost: lost, head: head, etag: etag}, nil
}

// Head returns the head as it was last read or written. It is the caller's own.
func (c *Claim) Head() *Head {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := *c.head
	h.Spans, h.Points = slices.Clone(h.Spans), slices.Clone(h.Points)
	return &h
}

// Take takes the ownership: it raises the epoch and gets a writer number that no attachment had before. Change adds to
// the head what the new attachment begins with.
func (c *Claim) Take(ctx context.Context, host string, change func(h *Head, writer uint32)) (writer uint32, err error) {
	if writer, err = nextWriter(ctx, c.store); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := *c.head
	next.Epoch++
	next.Owner = &Owner{Gateway: c.gateway, Host: host, Renewed: time.Now().UTC()}
	change(&next, writer)
	etag, err := writeHead(ctx, c.store, &next, c.etag)
	if err != nil {
		return 0, fmt.Errorf("taking the ownership: %w", err)
	}
	c.head, c.etag = &next, etag
	return writer, nil
}

// Update changes the head by compare-and-swap. It fails with ErrLost when another gateway has changed the epoch, and with
// ErrClosed when the ownership was given up.
func (c *Claim) Update(ctx context.Context, change func(*Head)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.head.Owner == nil {
			return ErrClosed
		}
		next := *c.head
		next.Spans, next.Points = slices.Clone(c.head.Spans), slices.Clone(c.head.Points)
		owner := *c.head.Owner
		next.Owner = &owner
		change(&next)
		etag, err := writeHead(ctx, c.store, &next, c.etag)
		if err == nil {
			c.head, c.etag = &next, etag
			return nil
		}
		if !errors.Is(err, object.ErrPrecondition) {
			return err
		}
		if err := c.reread(ctx); err != nil {
			return err
		}
	}
}

// Watch looks whether another gateway has taken the volume over.
func (c *Claim) Watch(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := c.store.Stat(ctx, headKey(c.id))
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

// reread takes over the head in the bucket if this attachment still owns it. The caller holds mu.
func (c *Claim) reread(ctx context.Context) error {
	h, etag, err := readHead(ctx, c.store, c.id)
	if err == nil && (h.Epoch != c.head.Epoch || h.Owner == nil || h.Owner.Gateway != c.gateway) {
		err = ErrLost
		if h.Owner != nil {
			err = fmt.Errorf("%w: it is served by gateway %s on %s now", ErrLost, h.Owner.Gateway, h.Owner.Host)
		}
	}
	if errors.Is(err, ErrLost) || errors.Is(err, ErrNotFound) {
		c.lost(err)
	}
	if err != nil {
		return err
	}
	c.head, c.etag = h, etag
	return nil
}

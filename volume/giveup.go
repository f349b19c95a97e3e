package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrUnsettled says that nobody knows whether a volume was given up.
var ErrUnsettled = errors.New("the volume may have been given up, and the bucket does not say whether it was: attach it again when the bucket is back")

// settleTime bounds how long GiveUp tries to find out what became of a head, and settlePause is between two attempts.
const (
	settleTime  = 15 * time.Second
	settlePause = time.Second
)

// GiveUp writes a head without an owner, changed as by Update. From then on any gateway may attach the volume. An answer that does not come is not
// taken for a failure: the head may be in the bucket, or still on its way there. So after an error that is not ErrUnsettled the volume is surely
// still this gateway's, or surely lost; and with ErrUnsettled all its I/O fails.
func (c *Claim) GiveUp(ctx context.Context, change func(*Head)) error {
	err := c.Update(ctx, func(h *Head) {
		h.Owner = nil
		change(h)
	})
	if err == nil || errors.Is(err, ErrLost) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed) {
		return err
	}
	settling, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	for {
		done, serr := c.settle(settling)
		switch {
		case done:
			return nil
		case serr == nil:
			return err
		case errors.Is(serr, ErrLost) || errors.Is(serr, ErrNotFound):
			return serr
		}
		if sleep(settling, settlePause) != nil {
			err = fmt.Errorf("%w: %w", ErrUnsettled, err)
			c.opts.Lost(err)
			return err
		}
	}
}

// settle tells whether the volume was given up. If it was not, it changes the head, so that what may still be on its way is refused.
func (c *Claim) settle(ctx context.Context) (done bool, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	h, etag, err := readHead(ctx, c.opts.Store, c.opts.Volume)
	if err != nil {
		return false, err
	}
	if h.Owner == nil && slices.Contains(c.nonces, h.Nonce) {
		c.accept(h, etag)
		return true, nil
	}
	if err := c.reread(ctx); err != nil {
		return false, err
	}
	return false, c.write(ctx, c.Head())
}

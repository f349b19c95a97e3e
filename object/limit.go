package object

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/time/rate"
)

// LimitOptions bounds what Limit lets through. Zero means no bound.
type LimitOptions struct {
	Requests int   // at most so many requests at once
	Up, Down int64 // bytes/s of bodies sent and received
}

// Limiter is a Store that holds requests back.
type Limiter struct {
	next     Store
	slots    chan struct{} // nil: no bound
	up, down *rate.Limiter
}

var _ Store = (*Limiter)(nil)

// Limit wraps next. A body is paid for before it is sent, and after it was received
// (only then is its size known), while its request still holds its slot. Put Limit
// over Retry, so that waiting here is not taken for a slow store; and send lease
// renewals past it, so that they never queue behind data.
func Limit(next Store, o LimitOptions) *Limiter {
	l := &Limiter{next: next, up: rate.NewLimiter(rate.Inf, 0), down: rate.NewLimiter(rate.Inf, 0)}
	if o.Requests > 0 {
		l.slots = make(chan struct{}, o.Requests)
	}
	l.SetRates(o.Up, o.Down)
	return l
}

// SetRates changes the byte rates; 0 lifts the bound. Requests that already wait
// finish waiting as they began.
func (l *Limiter) SetRates(up, down int64) {
	setRate(l.up, up)
	setRate(l.down, down)
}

// setRate gives the bucket room for a tenth of a second, so that a rate is kept at
// that scale already, and for 64 KiB at least.
func setRate(l *rate.Limiter, bytes int64) {
	if bytes <= 0 {
		l.SetLimit(rate.Inf)
		return
	}
	l.SetBurst(int(max(bytes/10, 64<<10)))
	l.SetLimit(rate.Limit(bytes))
}

// enter takes a slot; the caller calls what it returns when the request is over.
func (l *Limiter) enter(ctx context.Context, op Op, key string) (leave func(), err error) {
	if l.slots == nil {
		return func() {}, nil
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, &Error{Op: op, Key: key, Err: fmt.Errorf("waiting for a request slot: %w", ctx.Err())}
	}
}

// pay waits until n bytes may pass, however many that is: a bucketful at a time.
func pay(ctx context.Context, bucket *rate.Limiter, op Op, key string, n int) error {
	for n > 0 && bucket.Limit() != rate.Inf {
		part := min(n, bucket.Burst())
		if err := bucket.WaitN(ctx, part); err != nil {
			return &Error{Op: op, Key: key, Err: fmt.Errorf("waiting for the bandwidth limit: %w", err)}
		}
		n -= part
	}
	return nil
}

// Put implements Store.
func (l *Limiter) Put(ctx context.Context, key string, body []byte) (string, error) {
	leave, err := l.enter(ctx, OpPut, key)
	if err != nil {
		return "", err
	}
	defer leave()
	if err := pay(ctx, l.up, OpPut, key, len(body)); err != nil {
		return "", err
	}
	return l.next.Put(ctx, key, body)
}

// PutIf implements Store.
func (l *Limiter) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	leave, err := l.enter(ctx, OpPutIf, key)
	if err != nil {
		return "", err
	}
	defer leave()
	if err := pay(ctx, l.up, OpPutIf, key, len(body)); err != nil {
		return "", err
	}
	return l.next.PutIf(ctx, key, body, match)
}

// GetRange implements Store.
func (l *Limiter) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	leave, err := l.enter(ctx, OpGetRange, key)
	if err != nil {
		return nil, "", err
	}
	defer leave()
	data, etag, err := l.next.GetRange(ctx, key, off, n)
	if err != nil {
		return nil, "", err
	}
	if err := pay(ctx, l.down, OpGetRange, key, len(data)); err != nil {
		return nil, "", err
	}
	return data, etag, nil
}

// Stat implements Store.
func (l *Limiter) Stat(ctx context.Context, key string) (Info, error) {
	leave, err := l.enter(ctx, OpStat, key)
	if err != nil {
		return Info{}, err
	}
	defer leave()
	return l.next.Stat(ctx, key)
}

// List implements Store. A listing holds no slot: its consumer may make requests of
// its own between two objects, and would wait for itself.
func (l *Limiter) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return l.next.List(ctx, prefix, after)
}

// Delete implements Store.
func (l *Limiter) Delete(ctx context.Context, key string) error {
	leave, err := l.enter(ctx, OpDelete, key)
	if err != nil {
		return err
	}
	defer leave()
	return l.next.Delete(ctx, key)
}

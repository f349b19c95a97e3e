package object

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"
)

// RetryOptions says how Retry persists. The zero value of a field means its default.
type RetryOptions struct {
	// MaxAttempts ends the trying; 0 means that only the context does. Background
	// work wants 0: an outage of an hour is then an hour's delay, not a failure.
	MaxAttempts int

	// MinDelay and MaxDelay bound the pause before the next attempt, which doubles
	// each time and is then shortened at random by up to half. Defaults: 100 ms, 15 s.
	MinDelay, MaxDelay time.Duration

	// AttemptTimeout is the time for one attempt, apart from moving the data.
	// Default: 30 s.
	AttemptTimeout time.Duration

	// MinRate is the slowest transfer that is not taken for a dead one, in bytes/s: an
	// attempt may take AttemptTimeout plus size/MinRate. Default: 64 KiB/s.
	MinRate int64

	// Refused makes ErrRefused be tried again, too. For daemons that have seen the
	// store work: credentials and permissions get mended.
	Refused bool

	// Logger is told of failures that are being retried: the 1st, 2nd, 4th, 8th ... of
	// a call. Default: none.
	Logger *slog.Logger
}

// unknownSize stands for the size of a read to the end in the time an attempt may take.
const unknownSize = 32 << 20

// Retrier is a Store that tries again.
type Retrier struct {
	next Store
	opts RetryOptions
}

var _ Store = (*Retrier)(nil)

// Retry wraps next. Calls that fail for a transient reason are made again.
//
// A PutIf whose answer was lost may find its own object at the next attempt. So when a
// later attempt meets ErrPrecondition, the object is read back, and if it has the very body
// that was to be written, the write has succeeded. That is only right if bodies are unique
// (see Store.PutIf). If somebody replaced it in between, the caller gets ErrPrecondition.
func Retry(next Store, o RetryOptions) *Retrier {
	o.MinDelay = cmp.Or(o.MinDelay, 100*time.Millisecond)
	o.MaxDelay = max(o.MinDelay, cmp.Or(o.MaxDelay, 15*time.Second))
	o.AttemptTimeout = cmp.Or(o.AttemptTimeout, 30*time.Second)
	o.MinRate = cmp.Or(o.MinRate, 64<<10)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Retrier{next: next, opts: o}
}

// Put implements Store.
func (r *Retrier) Put(ctx context.Context, key string, body []byte) (etag string, err error) {
	err = r.do(ctx, OpPut, key, len(body), func(ctx context.Context, _ int) error {
		etag, err = r.next.Put(ctx, key, body)
		return err
	})
	return etag, err
}

// PutIf implements Store.
func (r *Retrier) PutIf(ctx context.Context, key string, body []byte, match string) (etag string, err error) {
	err = r.do(ctx, OpPutIf, key, len(body), func(ctx context.Context, attempt int) error {
		etag, err = r.next.PutIf(ctx, key, body, match)
		if attempt > 0 && errors.Is(err, ErrPrecondition) {
			etag, err = r.recognize(ctx, key, body, err)
		}
		return err
	})
	return etag, err
}

// recognize tells whether the object under key is the one that an earlier attempt of ours
// was to write; if not, it returns the failure of the present one.
func (r *Retrier) recognize(ctx context.Context, key string, body []byte, failed error) (string, error) {
	found, etag, err := r.next.GetRange(ctx, key, 0, int64(len(body))+1)
	switch {
	case errors.Is(err, ErrNotFound):
		return "", failed
	case err != nil:
		return "", err
	case !bytes.Equal(found, body):
		return "", failed
	}
	return etag, nil
}

// GetRange implements Store.
func (r *Retrier) GetRange(ctx context.Context, key string, off, n int64) (data []byte, etag string, err error) {
	size := unknownSize
	if n >= 0 {
		size = int(min(n, MaxBody))
	}
	err = r.do(ctx, OpGetRange, key, size, func(ctx context.Context, _ int) error {
		data, etag, err = r.next.GetRange(ctx, key, off, n)
		return err
	})
	return data, etag, err
}

// Stat implements Store.
func (r *Retrier) Stat(ctx context.Context, key string) (info Info, err error) {
	err = r.do(ctx, OpStat, key, 0, func(ctx context.Context, _ int) error {
		info, err = r.next.Stat(ctx, key)
		return err
	})
	return info, err
}

// Delete implements Store.
func (r *Retrier) Delete(ctx context.Context, key string) error {
	return r.do(ctx, OpDelete, key, 0, func(ctx context.Context, _ int) error {
		return r.next.Delete(ctx, key)
	})
}

// List implements Store. After a failure it goes on behind the last object that it
// yielded. The time that the consumer takes does not count against an attempt.
func (r *Retrier) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for attempt := 0; ; attempt++ {
			last, err := r.listOnce(ctx, prefix, after, yield)
			if err == nil {
				return
			}
			if last != after {
				after, attempt = last, 0
			}
			if err = r.pause(ctx, OpList, prefix, attempt, err); err != nil {
				yield(Info{}, err)
				return
			}
		}
	}
}

// listOnce yields until the listing or its consumer ends, or it fails; last is the last
// key that it yielded.
func (r *Retrier) listOnce(ctx context.Context, prefix, after string, yield func(Info, error) bool) (last string, err error) {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(r.opts.AttemptTimeout, func() { cancel(errAttemptTimeout) })
	defer timer.Stop()
	last = after
	for info, err := range r.next.List(attempt, prefix, after) {
		timer.Stop()
		if err != nil {
			return last, timedOut(ctx, attempt, OpList, prefix, err)
		}
		if !yield(info, nil) {
			return last, nil
		}
		last = info.Key
		timer.Reset(r.opts.AttemptTimeout)
	}
	return last, nil
}

// do makes attempts, each with a deadline of its own, until one succeeds or fails for good.
func (r *Retrier) do(ctx context.Context, op Op, key string, size int, call func(ctx context.Context, attempt int) error) error {
	timeout := r.opts.AttemptTimeout + time.Duration(float64(size)/float64(r.opts.MinRate)*float64(time.Second))
	for attempt := 0; ; attempt++ {
		err := func() error {
			tryCtx, cancel := context.WithTimeoutCause(ctx, timeout, errAttemptTimeout)
			defer cancel()
			return timedOut(ctx, tryCtx, op, key, call(tryCtx, attempt))
		}()
		if err == nil {
			return nil
		}
		if err = r.pause(ctx, op, key, attempt, err); err != nil {
			return err
		}
	}
}

var errAttemptTimeout = errors.New("no answer in time")

// timedOut makes the failure of an attempt transient if it was our deadline, not the
// caller's context, that ended it.
func timedOut(caller, attempt context.Context, op Op, key string, err error) error {
	if err != nil && caller.Err() == nil && attempt.Err() != nil && !Transient(err) &&
		(errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return &Error{Op: op, Key: key, Err: context.Cause(attempt), Transient: true}
	}
	return err
}

// pause waits before the next attempt, and returns nil if there is to be one; otherwise it
// returns what the caller is to be told.
func (r *Retrier) pause(ctx context.Context, op Op, key string, attempt int, err error) error {
	again := Transient(err) || r.opts.Refused && errors.Is(err, ErrRefused)
	if !again {
		return err
	}
	if made := attempt + 1; made == r.opts.MaxAttempts {
		return fmt.Errorf("after %d attempts: %w", made, err)
	}
	delay := r.delay(attempt)
	if attempt&(attempt+1) == 0 {
		r.opts.Logger.WarnContext(ctx, "object store fails, trying again",
			"op", op, "key", key, "attempt", attempt+1, "delay", delay, "err", err)
	}
	tell(ctx, err, time.Now().Add(delay))
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		// The context's end comes first: it makes the error a final one.
		return &Error{Op: op, Key: key, Err: fmt.Errorf("%w after %d attempts: %w", ctx.Err(), attempt+1, err)}
	}
}

// delay returns the pause after an attempt (from 0).
func (r *Retrier) delay(attempt int) time.Duration {
	d := r.opts.MaxDelay
	if attempt < 32 && r.opts.MinDelay < r.opts.MaxDelay>>attempt {
		d = r.opts.MinDelay << attempt
	}
	return d - rand.N(d/2+1)
}

package object

import (
	"context"
	"sync"
	"time"
)

// longestRest bounds one pause of a Pacer.
const longestRest = 2 * time.Second

// Pacer is a Store for one who works through it in the background: see Pace.
type Pacer struct {
	Store
	factor int

	mu    sync.Mutex
	since time.Time // the end of the last pause
}

// Pace wraps next for a single user, who reads one thing after the other: after each read it pauses for factor times as long as the read,
// and what the user did since the last pause, took. So the user takes no more than one part in factor + 1 of what there is.
func Pace(next Store, factor int) *Pacer { return &Pacer{Store: next, factor: factor} }

// GetRange implements Store.
func (p *Pacer) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	began := time.Now()
	body, etag, err := p.Store.GetRange(ctx, key, off, n)
	if err != nil {
		return body, etag, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	worked := time.Since(began)
	if !p.since.IsZero() && p.since.Before(began) {
		worked += min(began.Sub(p.since), longestRest) // longer is no work
	}
	timer := time.NewTimer(min(worked*time.Duration(p.factor), longestRest))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, "", &Error{Op: OpGetRange, Key: key, Err: ctx.Err()}
	}
	p.since = time.Now()
	return body, etag, nil
}

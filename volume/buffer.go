package volume

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

const (
	// slowFrom is the share of the upload buffer from which on writes are slowed down.
	slowFrom = 0.8
	// slowest is the delay of a write of slowUnit bytes just before the buffer is full.
	slowest  = 20 * time.Millisecond
	slowUnit = 64 << 10
)

// Buffer bounds the bytes that a gateway has accepted and not yet stored in the bucket.
// All volumes share it. Its methods may be called concurrently.
type Buffer struct {
	limit int64

	mu      sync.Mutex // protects what follows
	used    int64
	waiting int
	freed   chan struct{} // closed and replaced when room appears and somebody waits
}

// NewBuffer returns a buffer of limit bytes.
func NewBuffer(limit int64) *Buffer {
	return &Buffer{limit: limit, freed: make(chan struct{})}
}

// Take reserves n bytes. From 80 % on it slows its callers down, the more the fuller the
// buffer is, and when it is full it waits for room: for ever, since giving up would be an
// I/O error for a cause that passes. With wait false it returns EAGAIN instead.
func (b *Buffer) Take(ctx context.Context, n int64, wait bool) error {
	if n > b.limit {
		return fmt.Errorf("a write of %d bytes does not fit the upload buffer of %d", n, b.limit)
	}
	b.mu.Lock()
	if !wait {
		defer b.mu.Unlock()
		if float64(b.used+n) > slowFrom*float64(b.limit) {
			return syscall.EAGAIN
		}
		b.used += n
		return nil
	}
	delay := b.delay(n)
	b.mu.Unlock()
	if err := sleep(ctx, delay); err != nil {
		return err
	}
	b.mu.Lock()
	for b.used+n > b.limit {
		freed := b.freed
		b.waiting++
		b.mu.Unlock()
		err := ctx.Err()
		select {
		case <-freed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		b.mu.Lock()
		b.waiting--
		if err != nil {
			b.mu.Unlock()
			return err
		}
	}
	b.used += n
	b.mu.Unlock()
	return nil
}

// delay grows with the square of the distance from slowFrom. The caller holds mu.
func (b *Buffer) delay(n int64) time.Duration {
	x := (float64(b.used)/float64(b.limit) - slowFrom) / (1 - slowFrom)
	if x <= 0 {
		return 0
	}
	return time.Duration(x * x * float64(slowest) * float64(n) / slowUnit)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add counts bytes that are there already, whatever the limit.
func (b *Buffer) add(n int64) {
	b.mu.Lock()
	b.used += n
	b.mu.Unlock()
}

// Release gives n bytes back.
func (b *Buffer) Release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.waiting > 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

// Usage returns the bytes in use and the limit.
func (b *Buffer) Usage() (used, limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.limit
}

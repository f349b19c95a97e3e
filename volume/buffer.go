package volume

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/volume/segment"
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
	rooms sync.Pool // of *[]byte, in which objects are made

	mu      sync.Mutex // protects what follows
	used    int64
	waiting []*waiter // in the order in which they came
}

// waiter is somebody who waits for room.
type waiter struct {
	n     int64
	given chan struct{} // closed when the room is the waiter's
}

// NewBuffer returns a buffer of limit bytes.
func NewBuffer(limit int64) *Buffer {
	return &Buffer{limit: limit}
}

// scratch returns room to make a segment's object in, empty, to be given back by recycle.
func (b *Buffer) scratch() []byte {
	if room, ok := b.rooms.Get().(*[]byte); ok {
		return (*room)[:0]
	}
	return nil
}

// recycle takes memory that nobody uses any more for the next object, if it is large enough.
func (b *Buffer) recycle(room []byte) {
	if cap(room) >= segment.Slots*segment.BlockSize/2 {
		b.rooms.Put(&room)
	}
}

// Take reserves n bytes. From 80 % on it slows its callers down, the more the fuller the
// buffer is, and when it is full it waits for room, in the order of arrival: for ever, since
// giving up would be an I/O error for a cause that passes. With wait false it returns EAGAIN instead.
func (b *Buffer) Take(ctx context.Context, n int64, wait bool) error {
	if n > b.limit {
		return fmt.Errorf("a write of %d bytes does not fit the upload buffer of %d", n, b.limit)
	}
	b.mu.Lock()
	if !wait {
		defer b.mu.Unlock()
		if len(b.waiting) > 0 || float64(b.used+n) > slowFrom*float64(b.limit) {
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
	if len(b.waiting) == 0 && b.used+n <= b.limit {
		b.used += n
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n, make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.give()
	b.mu.Unlock()
	select {
	case <-w.given:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiting, w); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	} else {
		b.used -= n // it was given just now
	}
	b.give()
	return ctx.Err()
}

// give lets those in who have waited longest and whom there is room for. Nobody overtakes: a
// write that an initiator has given up and sent again over another path must not be
// carried out after the writes that came later. The caller holds mu.
func (b *Buffer) give() {
	for len(b.waiting) > 0 && b.used+b.waiting[0].n <= b.limit {
		b.used += b.waiting[0].n
		close(b.waiting[0].given)
		b.waiting = slices.Delete(b.waiting, 0, 1)
	}
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
	b.give()
}

// Usage returns the bytes in use and the limit.
func (b *Buffer) Usage() (used, limit int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.limit
}

package appliance

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sluice/volume"
)

// hydratePiece is how much of a volume is read at once, in bytes.
const hydratePiece = 1 << 20

// hydrations read cached volumes in the background, so that what they have is in the cache when it is wanted. The zero value is
// ready for use.
type hydrations struct {
	mu    sync.Mutex
	ended bool
	stops []func()
	done  sync.WaitGroup
}

// begin reads all that a volume has, at a rate in bytes a second, while serving is true.
func (h *hydrations) begin(vol servedVolume, bytes int64, serving func() bool, done func(read int64, err error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stops = append(h.stops, cancel)
	h.done.Go(func() {
		defer cancel()
		read, err := hydrate(ctx, vol, bytes, serving)
		if ctx.Err() == nil && !errors.Is(err, volume.ErrClosed) {
			done(read, err)
		}
	})
}

// end stops all, and waits for them.
func (h *hydrations) end() {
	h.mu.Lock()
	h.ended = true
	for _, stop := range h.stops {
		stop()
	}
	h.mu.Unlock()
	h.done.Wait()
}

func hydrate(ctx context.Context, vol servedVolume, bytes int64, serving func() bool) (read int64, err error) {
	limiter := rate.NewLimiter(rate.Limit(bytes), int(max(hydratePiece, bytes/10)))
	buf := make([]byte, hydratePiece)
	for off := int64(0); off < vol.Size() && serving(); {
		mapped, n, err := vol.Mapped(ctx, off)
		if err != nil {
			return read, err
		}
		if n = max(n, 512); !mapped {
			off += n
			continue
		}
		n = min(n, hydratePiece, vol.Size()-off)
		if err := limiter.WaitN(ctx, int(n)); err != nil {
			return read, err
		}
		if err := vol.Read(ctx, buf[:n], off, true); err != nil {
			return read, err
		}
		off, read = off+n, read+n
	}
	return read, nil
}

// hydrate fetches what a cached volume has into the cache.
func (v *volumes) hydrate(e *entry, bytes int64) {
	began := time.Now()
	v.hydrations.begin(e.vol, bytes, func() bool { return v.entry(e.head.Name) == e }, func(read int64, err error) {
		if err != nil {
			v.log.Warn("fetching a volume into the cache was given up", "volume", e.head.Name, "bytes", read, "error", err)
			return
		}
		v.log.Info("all of a volume was fetched into the cache", "volume", e.head.Name, "bytes", read, "took", time.Since(began).Round(time.Millisecond).String())
	})
}

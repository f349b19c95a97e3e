package volume

import (
	"context"
	"sync"
	"sync/atomic"

	"sluice/volume/segment"
)

const (
	aheadStreams = 4        // sequential readers that are followed at once
	aheadMin     = 1 << 20  // first window, in bytes
	aheadMax     = 32 << 20 // greatest window
	aheadSlack   = 4 << 20  // how far out of order the commands of one stream may come
	aheadUnit    = 2 << 20  // looked up at a time
	prefetchers  = 8
)

// readAhead follows sequential readers of data that is not on local disk, and fetches
// ahead of them, in a window that doubles as long as they go on.
type readAhead struct {
	// A read that crosses a mark extends its stream. Marks are all that a read of local
	// data looks at. Zero is no mark.
	marks [aheadStreams]atomic.Int64

	mu      sync.Mutex // protects streams and oldest
	streams [aheadStreams]stream
	oldest  int // the stream to be replaced next

	requests chan extent // to the prefetchers
}

// extent is a range of blocks.
type extent struct {
	block uint64
	n     int
}

type stream struct {
	next   int64 // where the reader is expected
	until  int64 // fetched, or being fetched, up to here
	window int64
}

// note tells of a finished read; missed means that it may have waited for the bucket.
func (a *readAhead) note(v *Volume, off, n int64, missed bool) {
	for i := range a.marks {
		if mark := a.marks[i].Load(); mark > 0 && off <= mark && mark < off+n+aheadUnit {
			a.extend(v, i, off+n)
			return
		}
	}
	if missed {
		a.begin(v, off, n)
	}
}

// begin follows a reader once its second miss comes near where the first ended.
func (a *readAhead) begin(v *Volume, off, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.streams {
		s := &a.streams[i]
		if s.next == 0 || off < s.next-aheadSlack || off > s.next+aheadSlack {
			continue
		}
		s.next = max(s.next, off+n)
		if s.window == 0 {
			s.window, s.until = aheadMin, s.next
			a.fetch(v, i)
		}
		return
	}
	a.streams[a.oldest] = stream{next: off + n}
	a.marks[a.oldest].Store(0)
	a.oldest = (a.oldest + 1) % aheadStreams
}

// extend doubles the window of a stream and fetches up to its end.
func (a *readAhead) extend(v *Volume, i int, end int64) {
	if !a.mu.TryLock() {
		return // another read is at it
	}
	defer a.mu.Unlock()
	s := &a.streams[i]
	s.next = max(s.next, end)
	s.window = min(2*s.window, aheadMax)
	a.fetch(v, i)
}

// fetch starts fetching what is missing up to the window's end, and sets the mark that the
// reader will cross half a window before it gets there. The caller holds mu.
func (a *readAhead) fetch(v *Volume, i int) {
	s := &a.streams[i]
	end := min(s.next+s.window, v.Size())
	for s.until < end {
		n := min(aheadUnit-s.until%aheadUnit, end-s.until)
		select {
		case a.requests <- extent{uint64(s.until / segment.BlockSize), int(n / segment.BlockSize)}:
			s.until += n
		default:
			end = s.until // enough is under way
		}
	}
	a.marks[i].Store(max(1, s.until-s.window/2))
}

// prefetcher carries out requests until ctx ends. Errors do not matter here: whoever reads
// the blocks meets them again.
func (v *Volume) prefetcher(ctx context.Context) {
	for {
		select {
		case r := <-v.ahead.requests:
			v.prefetch(ctx, r)
		case <-ctx.Done():
			return
		}
	}
}

func (v *Volume) prefetch(ctx context.Context, r extent) {
	entries := make([]segment.Entry, r.n)
	if v.m.Lookup(ctx, r.block, entries, true) != nil {
		return
	}
	for len(entries) > 0 {
		k := runLength(entries)
		if name := entries[0].Name; name != 0 {
			if v.opts.Cache.Prefetch(ctx, name.Segment(), name.Index(), uint32(k)) != nil {
				return
			}
		}
		entries = entries[k:]
	}
}

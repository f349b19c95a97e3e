package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"sluice/transfer/image"
)

// sayEvery is how often progress is said to a log, and showEvery to a terminal.
const (
	sayEvery  = 10 * time.Second
	showEvery = 500 * time.Millisecond
)

// watch tells people how far a transfer is, until stop is called; total is -1 if it is not known.
func (c *client) watch(ctx context.Context, what string, total, begin int64, p *image.Progress) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	began := time.Now()
	every, line := sayEvery, "%s\n"
	if c.env.logTerminal {
		every, line = showEvery, "\r%s\x1b[K"
	}
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for shown := false; ; shown = true {
			select {
			case <-tick.C:
				fmt.Fprintf(c.out.stderr, line, what+": "+rate(p.Done.Load(), begin, total, p.Moved.Load(), time.Since(began)))
			case <-ctx.Done():
				if shown && c.env.logTerminal {
					io.WriteString(c.out.stderr, "\r\x1b[K") //nolint:errcheck // nobody is there to be told
				}
				return
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// rate describes a transfer that has come from begin to at in some time, and moved so many bytes of data.
func rate(at, begin, total, moved int64, took time.Duration) string {
	var b strings.Builder
	b.WriteString(about(at))
	if total >= 0 {
		fmt.Fprintf(&b, " of %s (%d%%)", about(total), int64(100*float64(at)/float64(max(total, 1))))
	}
	if seconds := took.Seconds(); seconds > 0 {
		fmt.Fprintf(&b, ", %s of data at %s/s", about(moved), about(int64(float64(moved)/seconds)))
		if passed := at - begin; passed > 0 && total > at {
			b.WriteString(timeLeft(int64(seconds * float64(total-at) / float64(passed))))
		}
	}
	return b.String()
}

package target

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestQuiet: a flood of one message is cut off and counted, in every period anew, and
// leaves other messages alone.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newQuiet(slog.NewTextHandler(&out, nil)))
		flood := func(n int) (lines int) {
			for i := range n {
				log.With("remote", i).WithGroup("g").Warn("connection failed", "err", i)
			}
			log.Info("logged in")
			time.Sleep(quietPeriod + time.Second)
			synctest.Wait()
			text := out.String()
			out.Reset()
			if !strings.Contains(text, "logged in") {
				t.Error("another message was left out")
			}
			if omitted := n - quietBurst; omitted > 0 && !strings.Contains(text, "... and "+strconv.Itoa(omitted)+" more in 10s: connection failed") {
				t.Errorf("nothing is said of the %d left out:\n%s", omitted, text)
			}
			if strings.Contains(text, "more in") != (n > quietBurst) {
				t.Errorf("of %d records:\n%s", n, text)
			}
			return strings.Count(text, "\n")
		}
		for _, n := range []int{0, 1, quietBurst, quietBurst + 1, 100_000, 3} {
			if got := flood(n); got > quietBurst+2 {
				t.Errorf("%d records made %d lines", n, got)
			}
		}
	})
}

// TestQuietForgetsMessages: messages that are told apart are bounded in number.
func TestQuietForgetsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newQuiet(slog.DiscardHandler).(*quiet)
		for i := range 10 * maxMessages {
			h.counts.pass(strconv.Itoa(i), slog.LevelInfo)
		}
		counted := func() int {
			h.counts.mu.Lock()
			defer h.counts.mu.Unlock()
			return len(h.counts.seen)
		}
		if n := counted(); n != maxMessages {
			t.Errorf("%d messages are counted", n)
		}
		time.Sleep(quietPeriod)
		synctest.Wait()
		if n := counted(); n != 0 {
			t.Errorf("%d messages are still counted", n)
		}
	})
}

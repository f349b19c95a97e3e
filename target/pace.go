package target

import (
	"time"

	"sluice/target/pdu"
)

const (
	// controlBurst is how many requests that are no ordinary commands are taken at once,
	// beyond Limits.ControlRate.
	controlBurst = 2000
	// controlUnit is how many bytes of data count as one more of them.
	controlUnit = 16 << 10
	// loginReads is how many reads a second a login may take, after a burst: one that
	// comes in small pieces is left to gather in its socket.
	loginReads     = 200
	loginReadBurst = 32
	// acceptBurst is how many connections are accepted at once, beyond Limits.AcceptRate.
	acceptBurst = 256
)

// bucket is a leaky bucket: it tells how long to wait so that no more than rate happen in
// a second, but for a burst. The zero value is empty. It is not safe for concurrent use.
type bucket struct {
	level float64
	last  time.Time
}

// add counts n more and returns how long to wait before the next.
func (b *bucket) add(now time.Time, n, rate, burst int) time.Duration {
	b.level = max(b.level-now.Sub(b.last).Seconds()*float64(rate), 0) + float64(n)
	b.last = now
	if over := b.level - float64(burst); over > 0 {
		return time.Duration(over / float64(rate) * float64(time.Second))
	}
	return 0
}

// slowDown counts a request that is no ordinary command, with its data. A flood of them
// costs the target more than its sender, so the connection is then read more slowly (see
// input.rest).
func (c *conn) slowDown(h *pdu.Header) {
	c.in.rest = c.in.control.add(time.Now(), 1+h.DataLength()/controlUnit, c.srv.limits.ControlRate, controlBurst)
}

// takeRest waits for as long as slowDown has imposed.
func (c *conn) takeRest() {
	d := c.in.rest
	c.in.rest = 0
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.doomed: // the read that follows tells
	}
}

package target

import "time"

const (
	// controlRate is how many requests that are no ordinary commands, and PDUs that are
	// rejected, a connection may send a second; what is more waits in its socket. Initiators
	// send a few a minute.
	controlRate  = 5000
	controlBurst = 2000
	// acceptBurst is how many connections are accepted at once, beyond Limits.AcceptRate.
	acceptBurst = 256
)

// bucket is a leaky bucket: it tells how long to wait so that no more than rate happen in
// a second, but for a burst. The zero value is empty. It is not safe for concurrent use.
type bucket struct {
	level float64
	last  time.Time
}

// add counts one more and returns how long to wait before the next.
func (b *bucket) add(now time.Time, rate, burst int) time.Duration {
	b.level = max(b.level-now.Sub(b.last).Seconds()*float64(rate), 0) + 1
	b.last = now
	if over := b.level - float64(burst); over > 0 {
		return time.Duration(over / float64(rate) * float64(time.Second))
	}
	return 0
}

// slowDown counts a request that is no ordinary command. A flood of them costs the target
// more than its sender, so the connection is then read more slowly (see input.rest).
func (c *conn) slowDown() {
	c.in.rest = c.in.control.add(time.Now(), controlRate, controlBurst)
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

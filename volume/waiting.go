package volume

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/object"
)

// Work is a kind of work of a volume.
type Work string

// The kinds of work of a cached volume that can be held up: uploads and reads by the bucket, flushes by the peer, writes by the local disk.
const (
	WorkUpload Work = "upload"
	WorkRead   Work = "read"
	WorkMirror Work = "mirror"
	WorkWrite  Work = "write" // fails, rather than waits: there is no room for a segment
)

// Waiting is work that is held up. It goes on by itself when what holds it up has an end.
type Waiting struct {
	Work  Work      `json:"work"`
	Error string    `json:"error"`         // the last failure of what waits longest
	Since time.Time `json:"since"`         // when that failed first
	Next  time.Time `json:"next,omitzero"` // when one of them is tried again, or was last; zero: only an answer is missing
}

// answerTime is after what time without an answer a call is said to wait. A large segment may take as long over a slow network.
const answerTime = 15 * time.Second

var errNoAnswer = errors.New("no answer from the bucket yet")

// waits are the calls of a volume to the bucket that are under way, and what its disk refuses. A nil one notes nothing.
type waits struct {
	mu    sync.Mutex
	calls map[*wait]struct{}
}

// wait is one call. Its fields are protected by waits.mu.
type wait struct {
	all         *waits
	work        Work
	since, next time.Time // since it began or, once it failed, since it first did
	err         error
}

// begin notes a call, until its end is called. It is to be made with the context that comes back.
func (w *waits) begin(ctx context.Context, work Work) (context.Context, *wait) {
	if w == nil {
		return ctx, nil
	}
	c := &wait{all: w, work: work, since: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == nil {
		w.calls = map[*wait]struct{}{}
	}
	w.calls[c] = struct{}{}
	return object.Watch(ctx, c.failed), c
}

// failed notes that a call failed and is tried again.
func (c *wait) failed(err error, next time.Time) {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if c.err == nil {
		c.since = time.Now()
	}
	c.err, c.next = err, next
}

// end notes the end of a call.
func (c *wait) end() {
	if c == nil {
		return
	}
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	delete(c.all.calls, c)
}

// list returns what waits, at most one for each kind of work.
func (w *waits) list() (all []Waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, work := range []Work{WorkUpload, WorkRead, WorkMirror, WorkWrite} {
		var longest *wait
		var next time.Time
		for c := range w.calls {
			if c.work != work || c.err == nil && time.Since(c.since) < answerTime {
				continue
			}
			if longest == nil || c.since.Before(longest.since) {
				longest = c
			}
			if !c.next.IsZero() && (next.IsZero() || c.next.Before(next)) {
				next = c.next
			}
		}
		if longest == nil {
			continue
		}
		err := longest.err
		if err == nil {
			err = errNoAnswer
		}
		all = append(all, Waiting{Work: work, Error: err.Error(), Since: longest.since, Next: next})
	}
	return all
}

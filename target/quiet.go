package target

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	quietPeriod = 10 * time.Second
	// quietBurst is how many records with the same message are logged in a period.
	quietBurst = 50
	// maxMessages bounds how many different messages are told apart; messages are constants.
	maxMessages = 256
)

// quiet is a slog.Handler that bounds what strangers can make the daemon log. Of the records
// with the same message, the first quietBurst of a period pass, and at its end one more
// tells how many did not.
type quiet struct {
	slog.Handler
	counts *messageCounts // shared by all handlers made from one
}

// messageCounts are the records of the current periods, by message.
type messageCounts struct {
	out slog.Handler // for the summaries

	mu   sync.Mutex // protects the rest
	seen map[string]*messageCount
}

type messageCount struct {
	passed, dropped int
	level           slog.Level // the highest of those dropped
}

func newQuiet(h slog.Handler) slog.Handler {
	return &quiet{h, &messageCounts{out: h, seen: make(map[string]*messageCount)}}
}

// WithAttrs implements slog.Handler.
func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quiet{q.Handler.WithAttrs(attrs), q.counts}
}

// WithGroup implements slog.Handler.
func (q *quiet) WithGroup(name string) slog.Handler {
	return &quiet{q.Handler.WithGroup(name), q.counts}
}

// Handle implements slog.Handler.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	if !q.counts.pass(r.Message, r.Level) { //nolint:contextcheck // the summary comes when the context is long gone
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

// pass counts a record and tells whether it is to be logged.
func (m *messageCounts) pass(message string, level slog.Level) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.seen[message]
	if !ok {
		if len(m.seen) >= maxMessages {
			return true
		}
		c = new(messageCount)
		m.seen[message] = c
		time.AfterFunc(quietPeriod, func() { m.endPeriod(message) })
	}
	if c.passed < quietBurst {
		c.passed++
		return true
	}
	c.dropped++
	c.level = max(c.level, level)
	return false
}

func (m *messageCounts) endPeriod(message string) {
	m.mu.Lock()
	c := m.seen[message]
	delete(m.seen, message)
	m.mu.Unlock()
	if c == nil || c.dropped == 0 {
		return
	}
	r := slog.NewRecord(time.Now(), c.level, fmt.Sprintf("... and %d more in %v: %s", c.dropped, quietPeriod, message), 0)
	r.AddAttrs(slog.Int("omitted", c.dropped))
	_ = m.out.Handle(context.Background(), r) // as slog does
}

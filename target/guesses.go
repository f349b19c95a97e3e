package target

import (
	"context"
	"sync"
	"time"
)

const (
	// freeGuesses is how many wrong secrets cost nothing: people mistype.
	freeGuesses = 2
	// firstDelay is what the next one costs; each that follows costs twice as much.
	firstDelay = 100 * time.Millisecond
	// maxDelay bounds that, so that the right secret never waits longer.
	maxDelay = 3 * time.Second
	// guessMemory is how long a wrong secret is remembered after the last of them.
	guessMemory = 5 * time.Minute
	// maxGuessers is how many pairs of initiator and address are remembered.
	maxGuessers = 4096
)

// guesser is who guesses: an initiator's name, as from one address. The real initiator,
// at another address, does not suffer from what somebody says in its name.
type guesser struct{ initiator, host string }

// guesses slow down those who guess CHAP secrets: after some wrong ones every answer, right
// or wrong, takes longer, up to maxDelay. Nobody is locked out, since that would let anyone
// lock out others. The wait comes before the secret is looked at and holds one of the
// Limits.PendingPerIP connections of an address, so an address can try that many secrets
// in maxDelay: 11 a second by default, where a secret has 12 random bytes at least.
//
// Its methods may be called concurrently. The zero value is ready for use.
type guesses struct {
	mu   sync.Mutex // protects the rest
	seen map[guesser]record
}

// record is what is remembered of a guesser.
type record struct {
	wrong int       // in a row
	last  time.Time // when that was
}

// delay tells how long the next answer is to take.
func (g *guesses) delay(who guesser, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.seen[who]
	if !ok || r.wrong <= freeGuesses {
		return 0
	}
	if now.Sub(r.last) > guessMemory {
		delete(g.seen, who)
		return 0
	}
	return min(firstDelay<<min(r.wrong-freeGuesses-1, 10), maxDelay)
}

// wrong notes a wrong secret. When too many are remembered, the one whose last guess is
// longest ago is forgotten.
func (g *guesses) wrong(who guesser, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.seen[who]
	if !ok && len(g.seen) >= maxGuessers {
		g.forgetOldest()
	}
	if g.seen == nil {
		g.seen = make(map[guesser]record)
	}
	g.seen[who] = record{wrong: r.wrong + 1, last: now}
}

func (g *guesses) forgetOldest() {
	var oldest guesser
	var since time.Time
	for who, r := range g.seen {
		if since.IsZero() || r.last.Before(since) {
			oldest, since = who, r.last
		}
	}
	delete(g.seen, oldest)
}

// right forgets what was wrong before.
func (g *guesses) right(who guesser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.seen, who)
}

// pause waits, but not longer than the connection lives.
func (c *conn) pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.doomed:
		return errDoomed
	case <-ctx.Done():
		return ctx.Err()
	}
}

package hostilestore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sluice/test/initiator"
)

const (
	volumeName = "victim"
	piece      = 16 << 10
	pieces     = 512 // 8 MiB of the volume are used
)

// content is what pieces of a volume must be: their numbers. A piece is used by one client at a time.
type content struct {
	numbers [pieces]uint64
	last    uint64
}

// write gives a piece a number; the number 0 zeroes it.
func (c *content) write(s *initiator.Session, i int, number uint64) error {
	off := int64(i) * piece
	c.numbers[i] = number
	if number == 0 {
		return s.Zero(off, piece, i%2 == 0)
	}
	p := make([]byte, piece)
	initiator.Stamp(p, off/initiator.Sector, number)
	return s.Write(p, off, false)
}

// read compares a piece.
func (c *content) read(s *initiator.Session, i int) error {
	off := int64(i) * piece
	p := make([]byte, piece)
	if err := s.Read(p, off); err != nil {
		return fmt.Errorf("reading piece %d: %w", i, err)
	}
	for at := 0; at < piece; at += initiator.Sector {
		if n := initiator.Stamped(p[at:][:initiator.Sector], (off+int64(at))/initiator.Sector); n != c.numbers[i] {
			return fmt.Errorf("piece %d at byte %d is of write %d and should be of %d", i, at, int64(n), c.numbers[i])
		}
	}
	return nil
}

// check compares everything.
func (c *content) check(t testing.TB, portal, target string) {
	t.Helper()
	s, err := initiator.Dial(t.Context(), portal, target, 9)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for i := range pieces {
		if err := c.read(s, i); err != nil {
			t.Fatal(err)
		}
	}
}

// rest is how long a client waits between commands: many of them share a machine.
const rest = 2 * time.Millisecond

// use has one client write the first half of the pieces, and read what it wrote, and another read the second half, until ctx
// ends. It returns the number of commands of both, and what went wrong first.
func (c *content) use(ctx context.Context, portal, target string) (commands [2]int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client := func(n int, step func(s *initiator.Session) error) {
		s, err := initiator.Dial(ctx, portal, target, uint16(n))
		if err == nil {
			defer func() { _ = s.Close() }()
		}
		for err == nil && ctx.Err() == nil {
			err = step(s)
			commands[n]++
			time.Sleep(rest)
		}
		if err != nil {
			cancel(fmt.Errorf("client %d: %w", n, err))
		}
	}
	var wg sync.WaitGroup
	wrote := map[int]bool{}
	wg.Go(func() {
		client(0, func(s *initiator.Session) error {
			i := rand.IntN(pieces / 2)
			k := rand.IntN(20)
			if k < 6 && !wrote[i] {
				k = 19
			}
			wrote[i] = true
			switch {
			case k < 6:
				return c.read(s, i)
			case k < 8:
				return c.write(s, i, 0)
			case k < 9:
				return s.Flush()
			default:
				c.last++
				return c.write(s, i, c.last)
			}
		})
	})
	wg.Go(func() {
		client(1, func(s *initiator.Session) error { return c.read(s, pieces/2+rand.IntN(pieces/2)) })
	})
	wg.Wait()
	if cause := context.Cause(ctx); cause != context.Canceled { //nolint:errorlint // the plain end of the context
		err = cause
	}
	return commands, err
}

package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/initiator"
)

const (
	piece   = 16 << 10
	pieces  = 2048 // 32 MiB of a volume are used
	clients = 3    // of each volume
)

// counts are what is printed at the end.
type counts struct {
	commands, bytes, verified, reconnects          atomic.Int64
	kills, restarts, outages, snapshots, clones    int
	deleted, collections, collected, serverRestart int
}

// disk is a volume and what it must be. A piece belongs to the client with its number modulo clients, which alone
// touches it, and knows it but for a command that was under way when the connection was lost.
type disk struct {
	name    string
	mode    string
	counts  *counts
	numbers [pieces]uint64
	last    atomic.Uint64

	// commands is held shared by each command, and exclusively by who wants to know what all is at one moment.
	commands sync.RWMutex
	// doubt has the pieces, by clients, that may have been written.
	doubt [clients]*doubtful
}

// doubtful is a write that nobody has acknowledged: each sector of the piece is what it was, or new.
type doubtful struct {
	piece int
	wrote uint64
}

// content is what all pieces of a volume were at one moment.
type content [pieces]uint64

// client is one initiator of a disk, until ctx ends. It connects again whenever it is cut off. An error is one that should not be.
func (d *disk) client(ctx context.Context, gw *harness.Gateway, n int) error {
	portal, target := gw.Portal, gw.IQN(d.name)
	for ctx.Err() == nil {
		s, err := initiator.Dial(ctx, portal, target, uint16(n+1))
		if err != nil { // the daemon is away
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for err == nil && ctx.Err() == nil {
			err = d.step(s, n)
			time.Sleep(rand.N(3 * time.Millisecond))
		}
		_ = s.Close()
		if wrong, ok := errors.AsType[*wrongError](err); ok {
			return wrong
		}
		if refused, ok := errors.AsType[*initiator.StatusError](err); ok {
			return fmt.Errorf("volume %s: %w", d.name, refused)
		}
		d.counts.reconnects.Add(1)
	}
	return nil
}

// step is one command.
func (d *disk) step(s *initiator.Session, n int) error {
	d.commands.RLock()
	defer d.commands.RUnlock()
	d.counts.commands.Add(1)
	if d.doubt[n] != nil {
		return d.resolve(s, n)
	}
	i := rand.IntN(pieces/clients)*clients + n
	if rand.IntN(4) == 0 { // some places are used more than others
		i = rand.IntN(20)*clients + n
	}
	switch k := rand.IntN(20); {
	case k < 8:
		d.counts.verified.Add(1)
		return d.read(s, i, d.numbers[i], d.numbers[i])
	case k == 8:
		return s.Flush()
	case k < 11:
		return d.write(s, n, i, 0, false)
	default:
		return d.write(s, n, i, d.last.Add(1), k == 19)
	}
}

// write gives a piece a number, or zeroes it. If the connection is lost, it is in doubt.
func (d *disk) write(s *initiator.Session, n, i int, number uint64, fua bool) error {
	off := int64(i) * piece
	var err error
	if number == 0 {
		err = s.Zero(off, piece, i%2 == 0)
	} else {
		p := make([]byte, piece)
		initiator.Stamp(p, off/initiator.Sector, number)
		err = s.Write(p, off, fua)
	}
	if err != nil {
		d.doubt[n] = &doubtful{i, number}
		return err
	}
	d.counts.bytes.Add(piece)
	d.numbers[i] = number
	return nil
}

// resolve looks at a write whose answer was lost: it is there, or not, or in part. Then the piece is written anew.
func (d *disk) resolve(s *initiator.Session, n int) error {
	x := d.doubt[n]
	if err := d.read(s, x.piece, d.numbers[x.piece], x.wrote); err != nil {
		return err
	}
	before := *x
	if err := d.write(s, n, x.piece, d.last.Add(1), false); err != nil {
		// What is there now may be of any of the three. So that two are enough, make sure of one.
		return d.settle(before, n, err)
	}
	d.doubt[n] = nil
	return nil
}

// settle is told that the write that was to end a doubt failed, too. The piece is given up: what it must be is unknown.
func (d *disk) settle(x doubtful, n int, err error) error {
	d.numbers[x.piece] = unknown
	d.doubt[n] = &doubtful{x.piece, unknown}
	return err
}

// unknown is the number of a piece of which nothing is known until it is written again.
const unknown = ^uint64(0) - 1

// wrongError is content that must not be there.
type wrongError struct{ text string }

func (e *wrongError) Error() string { return e.text }

// read compares a piece with what it may be.
func (d *disk) read(s *initiator.Session, i int, may, or uint64) error {
	off := int64(i) * piece
	p := make([]byte, piece)
	if err := s.Read(p, off); err != nil {
		return err
	}
	if may == unknown || or == unknown {
		return nil
	}
	for at := int64(0); at < piece; at += initiator.Sector {
		got := initiator.Stamped(p[at:][:initiator.Sector], (off+at)/initiator.Sector)
		if got != may && got != or {
			return &wrongError{fmt.Sprintf("volume %s, piece %d, byte %d: it is of write %d and should be of %d or %d",
				d.name, i, at, int64(got), int64(may), int64(or))}
		}
	}
	d.counts.bytes.Add(piece)
	return nil
}

// freeze calls do while no command is under way, and returns what the volume was then; pieces in doubt are unknown.
func (d *disk) freeze(do func()) content {
	d.commands.Lock()
	defer d.commands.Unlock()
	do()
	now := content(d.numbers)
	for _, x := range d.doubt {
		if x != nil {
			now[x.piece] = unknown
		}
	}
	return now
}

// check reads a volume and compares all of it.
func (c *content) check(t *testing.T, gw *harness.Gateway, name string, n *counts) {
	t.Helper()
	s, err := initiator.Dial(t.Context(), gw.Portal, gw.IQN(name), 99)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d := &disk{name: name, counts: n}
	for i, number := range c {
		if err := d.read(s, i, number, number); err != nil {
			t.Fatal(err)
		}
		n.verified.Add(1)
	}
}

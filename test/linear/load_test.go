package linear

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/test/initiator"
)

const (
	block       = 4096
	areaSectors = 3 * block / initiator.Sector
	areas       = 16
	volumeSize  = 64 << 20
	// fillerFrom is where the filler's part of the volume begins.
	fillerFrom = 32 << 20
)

// area returns the first sector of one of the places that all clients use, far from each other.
func area(n int) int64 { return int64(n) * (fillerFrom / areas) / initiator.Sector }

// load is a volume that several clients use at once.
type load struct {
	portal, target string
	clock          *clock
	numbers        atomic.Uint64
	now            map[int64]uint64 // what sectors are, when all clients are at rest
	commands       atomic.Int64
}

func newLoad() *load { return &load{clock: new(clock), now: map[int64]uint64{}} }

// lost is the error of a client whose connection broke, which is expected of one whose daemon is killed.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// client is one initiator.
type client struct {
	load *load
	id   int
	s    *initiator.Session
	seen histories
	buf  []byte
}

func (l *load) connect(ctx context.Context, id int) (*client, error) {
	s, err := initiator.Dial(ctx, l.portal, l.target, uint16(id+1))
	if err != nil {
		return nil, lost{err}
	}
	return &client{load: l, id: id, s: s, seen: histories{}, buf: make([]byte, areaSectors*initiator.Sector)}, nil
}

// settle tells a failed command from a lost connection.
func settle(err error) error {
	if err == nil {
		return nil
	}
	if refused, ok := errors.AsType[*initiator.StatusError](err); ok {
		return refused
	}
	return lost{err}
}

// write writes or zeroes sectors. When the connection is lost, nobody knows whether it did.
func (c *client) write(first int64, sectors int, do func(number uint64) error, number uint64) error {
	e := event{client: c.id, write: true, number: number, call: c.load.clock.tick()}
	err := settle(do(number))
	e.done = c.load.clock.tick()
	if err != nil {
		e.maybe, e.done = true, unknown
	}
	c.seen.add(first, sectors, e)
	return err
}

// unknown is the time at which a command ended whose answer is lost, until all clients are at rest.
const unknown = -1

func (c *client) read(first int64, sectors int) error {
	p := c.buf[:sectors*initiator.Sector]
	call := c.load.clock.tick()
	if err := settle(c.s.Read(p, first*initiator.Sector)); err != nil {
		return err // in vain
	}
	done := c.load.clock.tick()
	for i := range sectors {
		place := first + int64(i)
		number := initiator.Stamped(p[i*initiator.Sector:][:initiator.Sector], place)
		c.seen.add(place, 1, event{client: c.id, number: number, call: call, done: done})
	}
	return nil
}

// step carries out one command at random. The lower the number of an area, the more often it is used: some are
// left alone for long enough to be evicted.
func (c *client) step() error {
	c.load.commands.Add(1)
	n := min(rand.IntN(areas), rand.IntN(areas))
	from := rand.IntN(areaSectors)
	sectors := 1 + rand.IntN(areaSectors-from)
	if rand.IntN(2) == 0 { // whole blocks
		from, sectors = from&^7, (sectors+7)&^7
		sectors = min(sectors, areaSectors-from)
	}
	first := area(n) + int64(from)
	off, length := first*initiator.Sector, int64(sectors)*initiator.Sector
	switch k := rand.IntN(20); {
	case k < 9:
		return c.read(first, sectors)
	case k < 17:
		return c.write(first, sectors, func(number uint64) error {
			p := c.buf[:length]
			initiator.Stamp(p, first, number)
			return c.s.Write(p, off, k == 16)
		}, c.load.numbers.Add(1))
	case k < 19:
		return c.write(first, sectors, func(uint64) error { return c.s.Zero(off, length, k == 17) }, 0)
	default:
		return settle(c.s.Flush())
	}
}

// fill writes what nobody else looks at, so that segments fill up and others are evicted, and reads it back.
func (c *client) fill(wrote map[int64]uint64) error {
	off := fillerFrom + rand.Int64N((volumeSize-fillerFrom)/initiator.MaxTransfer)*initiator.MaxTransfer
	first := off / initiator.Sector
	p := make([]byte, initiator.MaxTransfer)
	if was, ok := wrote[off]; ok {
		if err := settle(c.s.Read(p, off)); err != nil {
			return err
		}
		for i := range int64(initiator.MaxTransfer / initiator.Sector) {
			if n := initiator.Stamped(p[i*initiator.Sector:][:initiator.Sector], first+i); n != was {
				return fmt.Errorf("sector %d of the filler is of write %d and should be of %d", first+i, int64(n), was)
			}
		}
	}
	number := c.load.numbers.Add(1)
	initiator.Stamp(p, first, number)
	delete(wrote, off)
	if err := settle(c.s.Write(p, off, false)); err != nil {
		return err
	}
	wrote[off] = number
	return nil
}

// round has clients use the volume until each has done its number of commands, or stop ends, or its connection is lost;
// what they saw is added to seen. An error is one that is not a lost connection.
func (l *load) round(ctx context.Context, clients, commands int, filled map[int64]uint64, seen histories) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	run := func(id int, work func(*client) error, more func(done int) bool) {
		c, err := l.connect(ctx, id)
		if err == nil {
			for n := 0; err == nil && more(n) && ctx.Err() == nil; n++ {
				err = work(c)
			}
			_ = c.s.Close() // it may be lost already
			mu.Lock()
			defer mu.Unlock()
			for place, events := range c.seen {
				seen[place] = append(seen[place], events...)
			}
		}
		if _, ok := errors.AsType[lost](err); err != nil && !ok && failed == nil {
			failed = fmt.Errorf("client %d: %w", id, err)
		}
	}
	var busy atomic.Int64
	busy.Store(int64(clients))
	for id := range clients {
		wg.Go(func() {
			defer busy.Add(-1)
			run(id, (*client).step, func(done int) bool { return done < commands })
		})
	}
	wg.Go(func() {
		run(clients, func(c *client) error { return c.fill(filled) }, func(int) bool { return busy.Load() > 0 })
	})
	wg.Wait()
	return failed
}

// verify reads all areas, so that seen ends with what is there now, and checks it.
func (l *load) verify(t *testing.T, seen histories) {
	t.Helper()
	later := l.clock.tick()
	for _, events := range seen {
		for i := range events {
			if events[i].done == unknown {
				events[i].done = later
			}
		}
	}
	c, err := l.connect(t.Context(), 99)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.s.Close() }()
	for n := range areas {
		if err := c.read(area(n), areaSectors); err != nil {
			t.Fatal(err)
		}
	}
	now := map[int64]uint64{}
	for place, events := range c.seen {
		now[place] = events[0].number
		seen[place] = append(seen[place], events...)
	}
	if err := seen.check(l.now); err != nil {
		t.Fatal(err)
	}
	maps.Copy(l.now, now)
}

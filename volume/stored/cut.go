package stored

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/volume"
	"sluice/volume/blockmap"
)

// Hold keeps writes out of a volume while its moment, or that of several volumes, is noted. Reads go on.
type Hold struct {
	v   *Volume
	cut *Cut
}

// Hold waits until no Cut of the volume is unfinished and no write is under way, and then lets none begin until Release.
func (v *Volume) Hold(ctx context.Context) (*Hold, error) {
	select {
	case v.cutting <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another snapshot of the volume: %w", ctx.Err())
	}
	aside, err := asideFile(v.dir) // not while writes wait
	if err != nil {
		<-v.cutting
		return nil, err
	}
	v.gate.Lock()
	if err := v.check(); err != nil {
		v.gate.Unlock()
		<-v.cutting
		return nil, errors.Join(err, aside.Close())
	}
	return &Hold{v: v, cut: &Cut{v: v, aside: aside, where: map[int64]int64{}, given: make(chan struct{})}}, nil
}

// asideFile makes a file without a name, so that nothing is left of it after a crash.
func asideFile(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), "aside"), nil
	}
	f, err := os.CreateTemp(dir, "aside-*") // a file system that cannot do that
	if err != nil {
		return nil, fmt.Errorf("making room for a snapshot: %w", err)
	}
	return f, os.Remove(f.Name())
}

// Release lets writes begin again. A hold without a cut leaves no trace.
func (h *Hold) Release() {
	h.v.gate.Unlock()
	if h.v.cut.Load() != h.cut {
		<-h.v.cutting
		_ = h.cut.aside.Close() // nothing is in it
	}
}

// Cut notes this moment of the volume. A hold has one cut.
func (h *Hold) Cut() *Cut {
	v, c := h.v, h.cut
	c.at, c.size, c.set = time.Now(), v.size.Load(), v.dirty
	v.dirty, v.spare = v.spare, v.dirty
	c.pending = make([]atomic.Uint64, len(c.set.words))
	for i := range c.pending {
		w := c.set.words[i].Load()
		c.pending[i].Store(w)
		c.total += int64(bits.OnesCount64(w)) * ChunkSize
	}
	v.cut.Store(c)
	return c
}

// ErrNoRoom says that a snapshot was given up so that writes could go on: nothing more could be copied aside.
var ErrNoRoom = errors.New("there is no room left for what changed while the snapshot was under way")

// Cut is a moment of a volume on its way to the bucket. Until it is closed no other begins, so the volume's
// newest root in the bucket stays this one, once it is written.
type Cut struct {
	v     *Volume
	at    time.Time
	size  int64
	set   *bitFile     // the chunks that changed since the moment before
	total int64        // bytes in them
	done  atomic.Int64 // of those, what is in the bucket
	fault atomic.Pointer[error]
	begun atomic.Bool
	ended bool // it is published, or there was nothing to publish

	pending []atomic.Uint64 // chunks that are still needed as they were, from the data file
	locks   [64]sync.Mutex  // one is held while a chunk is read or copied aside
	given   chan struct{}   // closed when the cut is given up

	mu    sync.Mutex // protects what follows
	why   error      // the cut is given up
	aside *os.File
	where map[int64]int64 // chunks that were copied aside, and where
	room  []int64         // places that are not used any more
	next  int64
}

// Time returns the moment.
func (c *Cut) Time() time.Time { return c.at }

// Size returns the volume's size at the moment, in bytes.
func (c *Cut) Size() int64 { return c.size }

// Progress returns how many of the bytes that are new since the moment before are in the bucket.
func (c *Cut) Progress() (done, total int64) { return c.done.Load(), c.total }

func (c *Cut) waits(chunk int64) bool { return c.pending[chunk/64].Load()>>(chunk%64)&1 == 1 }

// taken notes that a chunk need not stay as it is. The caller holds its lock.
func (c *Cut) taken(chunk int64) { c.pending[chunk/64].And(^(uint64(1) << (chunk % 64))) }

// spareAll copies those of the chunks aside that are still needed as they are.
func (c *Cut) spareAll(first, last int64, wait bool) error {
	for chunk := first; chunk <= last; chunk++ {
		if !c.waits(chunk) {
			continue
		}
		if !wait {
			return syscall.EAGAIN
		}
		if c.isGivenUp() {
			return nil
		}
		err := c.spareOne(chunk)
		if errors.Is(err, errAside) {
			c.giveUp(err) // a snapshot never stops the volume
		} else if err != nil {
			return fmt.Errorf("keeping a chunk for the snapshot under way: %w", err)
		}
	}
	return nil
}

// errAside is a failure to keep a chunk aside. The volume itself is well.
var errAside = errors.New("copying aside")

// giveUp ends the cut before anything changes that it still needs, and gives back what it kept. Finish fails.
func (c *Cut) giveUp(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.why != nil {
		return
	}
	c.why = fmt.Errorf("%w: %w", ErrNoRoom, err)
	close(c.given)
	if err := c.aside.Truncate(0); err != nil {
		c.v.log.Warn("giving back the room of a snapshot", "error", err)
	}
	c.v.log.Error("a snapshot is given up: what changes meanwhile cannot be kept for it", "error", err)
}

func (c *Cut) isGivenUp() bool {
	select {
	case <-c.given:
		return true
	default:
		return false
	}
}

// givenUp returns why the cut cannot be finished.
func (c *Cut) givenUp() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

func (c *Cut) spareOne(chunk int64) error {
	lock := &c.locks[chunk%int64(len(c.locks))]
	lock.Lock()
	defer lock.Unlock()
	if !c.waits(chunk) { // it was uploaded just now, or copied by another writer
		return nil
	}
	buf := make([]byte, ChunkSize)
	if _, err := c.v.data.ReadAt(buf, chunk*ChunkSize); err != nil {
		return err
	}
	at := c.place()
	if _, err := c.aside.WriteAt(buf, at); err != nil {
		return fmt.Errorf("%w: %w", errAside, err)
	}
	c.mu.Lock()
	c.where[chunk] = at
	c.mu.Unlock()
	c.taken(chunk)
	return nil
}

// place finds room for a chunk.
func (c *Cut) place() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.room); n > 0 {
		at := c.room[n-1]
		c.room = c.room[:n-1]
		return at
	}
	c.next += ChunkSize
	return c.next - ChunkSize
}

// read fills p, ChunkSize long, with a chunk as it was at the moment, and lets it go.
func (c *Cut) read(chunk int64, p []byte) error {
	lock := &c.locks[chunk%int64(len(c.locks))]
	lock.Lock()
	defer lock.Unlock()
	c.mu.Lock()
	at, kept := c.where[chunk]
	c.mu.Unlock()
	var err error
	if kept {
		_, err = c.aside.ReadAt(p, at)
	} else {
		_, err = c.v.data.ReadAt(p, chunk*ChunkSize)
	}
	// Looked at after the read: who changes a chunk that was not kept has found the cut given up before that.
	if why := c.givenUp(); why != nil {
		return why
	}
	if err != nil {
		return fmt.Errorf("reading a chunk for a snapshot: %w", err)
	}
	if kept {
		c.mu.Lock()
		delete(c.where, chunk)
		c.room = append(c.room, at)
		c.mu.Unlock()
	}
	c.taken(chunk)
	return nil
}

// Close ends the cut, whether it was finished or is given up: then what it had is part of the next one. Close may be
// called again, to no effect.
func (c *Cut) Close() {
	v := c.v
	if v.cut.Load() != c {
		return
	}
	v.gate.Lock()
	err := v.settle(c)
	v.cut.Store(nil)
	v.gate.Unlock()
	if err != nil {
		v.fail(err)
	}
	if err := c.aside.Close(); err != nil {
		v.log.Warn("closing a file that is not needed any more", "error", err)
	}
	<-v.cutting
}

// settle empties the cut's set; if it was not published it first gives it back. The caller holds the gate.
func (v *Volume) settle(c *Cut) error {
	if !c.ended {
		if err := v.dirty.addAll(c.set); err != nil {
			return err
		}
	}
	if err := c.set.clear(); err != nil {
		return err
	}
	if !c.ended {
		return nil
	}
	// Regions without a changed chunk need no intent any more. If that gets lost, more is uploaded after a loss of power.
	return v.intents.keep(func(i int64, word uint64) uint64 {
		for w := word; w != 0; w &= w - 1 {
			region := i*64 + int64(bits.TrailingZeros64(w))
			if !v.anyDirty(region) {
				word &^= 1 << (region % 64)
			}
		}
		return word
	})
}

func (v *Volume) anyDirty(region int64) bool {
	first := region * regionChunks / 64
	for i := first; i < min(first+regionChunks/64, int64(len(v.dirty.words))); i++ {
		if v.dirty.words[i].Load() != 0 {
			return true
		}
	}
	return false
}

// Confirm returns nil if the volume was still this gateway's when it was called; see volume.Cut.
func (c *Cut) Confirm(ctx context.Context) error {
	claim, err := c.v.claimNow(ctx)
	if err != nil {
		return err
	}
	return claim.Watch(ctx)
}

// trouble says why the bucket does not take what the cut uploads.
func (c *Cut) trouble() string {
	if err := c.fault.Load(); err != nil && *err != nil {
		return (*err).Error()
	}
	return ""
}

// Finish uploads what changed and publishes the root of the moment. It waits for the bucket as long as it takes, but fails with
// ErrNoRoom where writes could not go on otherwise. It may be called once: of what it has read nothing is kept aside any more. Its errors
// are volume.ErrAborted, too.
func (c *Cut) Finish(ctx context.Context) (blockmap.Root, error) {
	if c.begun.Swap(true) {
		return blockmap.Root{}, fmt.Errorf("%w: it was tried before", volume.ErrAborted)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.given: // it may be waiting for the bucket
			cancel()
		case <-ctx.Done():
		}
	}()
	root, err := c.finish(ctx)
	if why := c.givenUp(); err != nil && why != nil {
		err = why
	}
	if err != nil {
		return root, fmt.Errorf("%w: %w", volume.ErrAborted, err)
	}
	return root, nil
}

package stored

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
)

const (
	// ChunkSize is the unit, in bytes, in which changes are noted and content is fetched.
	ChunkSize = 64 << 10
	// regionChunks is how many chunks one intent covers.
	regionChunks = 1024
)

// ErrStale says that another gateway has served the volume since this one did.
var ErrStale = errors.New("the data on this gateway is old: another one has served the volume since")

// ErrNoData says that the data of a volume is neither here nor in the bucket.
var ErrNoData = errors.New("the data of the volume is not to be had")

// Options are what a volume needs of its gateway.
type Options struct {
	Store   object.Store
	Cache   *cache.Cache // through which content is fetched
	Dir     string       // where stored volumes are, each in a directory of its own
	Gateway string       // identity of this gateway
	Host    string       // its host name, for people
	Boot    string       // identity of this boot of the machine
	Codec   segment.Codec
	Logger  *slog.Logger
	// Patience is how long Open waits for the bucket where the volume can be served without it.
	Patience time.Duration
}

// Volume is a stored volume that this gateway serves. Its methods may be called concurrently. Offsets and lengths of
// Read, Write and Zero are multiples of 512 bytes.
type Volume struct {
	opts Options
	log  *slog.Logger
	id   uuid.UUID
	name string
	dir  string

	size   atomic.Int64
	failed atomic.Pointer[error] // why all I/O fails from now on

	// gate is held, to be read, by who changes the data, and to be written by a Hold.
	gate    sync.RWMutex
	data    *dataFile
	dirty   *bitFile // chunks that changed since the last cut
	spare   *bitFile // the other set: empty, or that of the cut
	intents *bitFile // regions in which a chunk may have changed
	cut     atomic.Pointer[Cut]
	cutting chan struct{} // holds a token while the volume is held or a cut is not closed

	present *presence // nil once all is here
	filled  atomic.Bool

	sync  syncState
	stats counters

	stateMu sync.Mutex // protects state and what follows
	state   state
	claim   *volume.Claim // nil until the bucket was reached
	writer  uint32
	seq     uint32        // of the writer's newest segment
	roots   int           // written by this attachment
	claimed chan struct{} // closed when claim is set
	ended   chan struct{} // closed when the volume has failed

	stop context.CancelFunc
	done sync.WaitGroup
}

// counters are since the volume was opened.
type counters struct {
	readBytes, writeBytes, readOps, writeOps, flushes atomic.Int64
	uploadedBytes, uploadedSegments, roots            atomic.Int64
}

func (v *Volume) chunks() int64 { return (v.size.Load() + ChunkSize - 1) / ChunkSize }

// Close stops serving: it makes all that was written durable.
func (v *Volume) Close() error {
	healthy := v.check() == nil
	var err error
	if healthy {
		err = v.Flush(context.Background())
	}
	v.gate.Lock()
	v.fail(volume.ErrClosed) // from here on nothing is written
	v.gate.Unlock()
	v.stop()
	v.done.Wait()
	if c := v.cut.Load(); c != nil {
		c.Close()
	}
	if healthy && err == nil {
		// Who wrote between the flush and the gate was not promised more than to survive the process; so the
		// bits are synced after the data.
		err = errors.Join(v.data.Sync(), v.dirty.sync(), v.spare.sync())
	}
	if healthy && err == nil {
		v.stateMu.Lock()
		v.state.Clean = true
		err = v.state.save(v.dir)
		v.stateMu.Unlock()
	}
	err = errors.Join(err, v.closeFiles())
	if err != nil {
		return fmt.Errorf("closing volume %q: %w", v.name, err)
	}
	return nil
}

func (v *Volume) closeFiles() error {
	var err error
	if v.data != nil {
		err = v.data.Close()
	}
	for _, b := range []*bitFile{v.dirty, v.spare, v.intents} {
		if b != nil {
			err = errors.Join(err, b.close())
		}
	}
	if v.present != nil {
		err = errors.Join(err, v.present.close())
	}
	return err
}

// errCut is why a volume cannot be given up while a snapshot of it is unfinished.
var errCut = errors.New("a snapshot of the volume is under way")

const (
	watchEvery = 15 * time.Second
	renewEvery = time.Minute
	// reconcileFirst is when the bucket is asked again for the first time by a volume that was opened without it; from then on
	// the pauses double.
	reconcileFirst = 500 * time.Millisecond
)

// fail makes all further I/O return err.
func (v *Volume) fail(err error) {
	if !v.failed.CompareAndSwap(nil, &err) {
		return
	}
	close(v.ended)
	if !errors.Is(err, volume.ErrClosed) {
		v.log.Error("volume stopped: all I/O fails until it is attached again", "error", err)
	}
}

func (v *Volume) check() error {
	if err := v.failed.Load(); err != nil {
		return *err
	}
	return nil
}

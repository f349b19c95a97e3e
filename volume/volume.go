package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// Options are what a volume needs of its gateway. Cache, Buffer and DB are shared by all
// volumes of the gateway.
type Options struct {
	Store   object.Store
	DB      *badger.DB
	Cache   *cache.Cache
	Buffer  *Buffer
	Gateway string // identity of this gateway
	Host    string // its host name, for people
	// Lease, Group and From are about the ownership; see ClaimOptions.
	Lease time.Duration
	Group string
	From  string
	// Mirror is the gateway's peer, and Received is what others mirror here; nil: there is none.
	Mirror   Mirror
	Received Received
	Boot     string // identity of this boot of the machine: what was not synced outlives a process, not a boot
	Codec    segment.Codec
	Logger   *slog.Logger
	// MapBytes bounds the decoded part of the block map in memory; 0 means 128 MiB.
	MapBytes int64
	// SealAfter is the age at which an open segment is sealed for upload; 0 means 5 s.
	SealAfter time.Duration
}

// Volume is a cached volume that this gateway serves. Its methods may be called
// concurrently. Offsets and lengths of Read, Write and Zero are multiples of 512 bytes.
type Volume struct {
	opts Options
	log  *slog.Logger
	id   uuid.UUID
	m    *blockmap.Map

	epoch  uint64 // of this attachment
	writer uint32 // its number
	// history is what came before this attachment.
	history []Span
	size    atomic.Int64
	failed  atomic.Pointer[error] // why all I/O fails from now on

	claim *Claim

	// mu orders the writes: what is appended under it is in the map before it is released.
	mu       sync.Mutex
	open     *openSegment // takes appends; nil until the first write after a rotation without a spare
	last     segment.ID   // the newest segment ID given to a file
	sealed   segment.ID   // the newest sealed segment
	unsynced []*openSegment
	// sealedAppends is what appends was when the newest sealed segment was sealed.
	sealedAppends uint64
	appends       uint64 // counts appends, to tell a flush what it must cover
	frozen        *blockmap.Frozen
	rootDue       bool  // the next rotation freezes the map for a root
	cut           *Cut  // not closed yet
	refused       *wait // the disk has no room for a segment; nil: it has
	checkpointDue bool  // there is a root that the last checkpoint may be older than

	spares  chan spare    // one prepared file, or none yet
	cutting chan struct{} // holds a token while the volume is held or a cut is not closed

	rootMu         sync.Mutex // held while a root is written; protects what follows
	rooted         segment.ID // position of the newest root in the bucket
	uploadedAtRoot int64
	rootsWritten   int

	grown    chan struct{} // wakes the sealer
	advanced chan struct{} // wakes the keeper

	durability atomic.Pointer[Durability] // what flushes wait for
	publishing atomic.Int64               // how many wait for the bucket
	inBucket   rounds
	onPeer     rounds               // protects mirrored and askPeer
	mirrored   map[segment.ID]reach // how far the copies on the peer go; nil: of this attachment there are none
	askPeer    time.Time            // when it may be asked again

	sync  syncState
	queue uploadQueue
	ahead readAhead
	stats counters
	waits waits // for the bucket

	checked checkedReader // adds to stats

	stop context.CancelFunc
	done sync.WaitGroup
}

// ErrClosed is returned for I/O on a volume that is closed.
var ErrClosed = errors.New("the volume is closed")

// ErrAborted says that a snapshot of a volume cannot be completed any more, however often that is tried.
var ErrAborted = errors.New("the snapshot is given up")

// openSegment is a local segment file that still takes appends, or did.
type openSegment struct {
	seg    *cache.Segment
	w      *segment.Writer
	since  time.Time // of the first append
	blocks int64     // appended

	// pending is the number of the first append since the file was synced; it counts while
	// the segment is in Volume.unsynced.
	pending uint64
}

// counters are since the volume was opened.
type counters struct {
	readBytes, writeBytes, readOps, writeOps, flushes atomic.Int64
	uploadedBytes, uploadedSegments, acceptedBlocks   atomic.Int64
	checksumErrors, roots                             atomic.Int64
}

// Stats describe a volume. Sizes are in bytes, counters since it was opened.
type Stats struct {
	ID        uuid.UUID  `json:"id"`
	Name      string     `json:"name"`
	Size      int64      `json:"size"`
	Epoch     uint64     `json:"epoch"`
	Published segment.ID `json:"published"`
	Queued    int64      `json:"queued_bytes"` // accepted and not yet in the bucket
	Segments  int        `json:"queued_segments"`
	Oldest    time.Time  `json:"oldest_queued"` // when the oldest of them was accepted; zero if none

	Durability Durability `json:"durability"`
	Group      string     `json:"group,omitempty"`    // whose standby gateways may take it over
	Takeover   *Takeover  `json:"takeover,omitempty"` // the last one

	// Of stored volumes:
	Path    string `json:"path,omitempty"`          // of the data
	Changed int64  `json:"changed_bytes,omitempty"` // since the last snapshot
	Missing int64  `json:"missing_bytes,omitempty"` // not fetched from the bucket yet

	ReadBytes        int64  `json:"read_bytes"`
	WriteBytes       int64  `json:"write_bytes"`
	ReadOps          int64  `json:"read_ops"`
	WriteOps         int64  `json:"write_ops"`
	Flushes          int64  `json:"flushes"`
	UploadedBytes    int64  `json:"uploaded_bytes"` // as stored, after compression
	UploadedSegments int64  `json:"uploaded_segments"`
	ChecksumErrors   int64  `json:"checksum_errors"`
	Roots            int64  `json:"roots"`
	Error            string `json:"error,omitempty"`        // why I/O fails, if it does
	UploadError      string `json:"upload_error,omitempty"` // why the last upload failed, while it is retried

	Waiting []Waiting `json:"waiting,omitempty"` // for the bucket
}

// Stats returns a snapshot of the volume's state.
func (v *Volume) Stats() Stats {
	head := v.claim.Head()
	st := Stats{
		ID: v.id, Name: head.Name, Size: v.size.Load(), Epoch: head.Epoch, Durability: v.Durability(), Group: v.opts.Group, Takeover: head.Takeover,
		ReadBytes: v.stats.readBytes.Load(), WriteBytes: v.stats.writeBytes.Load(),
		ReadOps: v.stats.readOps.Load(), WriteOps: v.stats.writeOps.Load(), Flushes: v.stats.flushes.Load(),
		UploadedBytes: v.stats.uploadedBytes.Load(), UploadedSegments: v.stats.uploadedSegments.Load(),
		ChecksumErrors: v.stats.checksumErrors.Load(), Roots: v.stats.roots.Load(),
	}
	v.queue.describe(&st)
	st.Waiting = v.waits.list()
	for _, w := range st.Waiting {
		if w.Work == WorkUpload {
			st.UploadError = w.Error
		}
	}
	v.mu.Lock()
	if v.open != nil && v.open.blocks > 0 {
		st.Queued += v.open.blocks * segment.BlockSize
		st.Segments++
		if st.Oldest.IsZero() {
			st.Oldest = v.open.since
		}
	}
	v.mu.Unlock()
	if err := v.failed.Load(); err != nil {
		st.Error = (*err).Error()
	}
	return st
}

// Lease returns the lease of the volume, or nil if its ownership does not end by itself. Who answers for the volume
// looks at it before and after each I/O.
func (v *Volume) Lease() *Lease { return v.claim.Lease() }

// queued returns how many bytes are accepted and not in the bucket.
func (v *Volume) queued() int64 {
	blocks := v.queue.unsent()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.open != nil {
		blocks += v.open.blocks
	}
	return blocks * segment.BlockSize
}

// ID returns the volume's identity.
func (v *Volume) ID() uuid.UUID { return v.id }

// Size returns the capacity in bytes.
func (v *Volume) Size() int64 { return v.size.Load() }

// Resize grows the volume to size bytes.
func (v *Volume) Resize(ctx context.Context, size int64) error {
	if size%segment.BlockSize != 0 || size < v.Size() {
		return fmt.Errorf("resizing to %d bytes: a volume only grows, by whole blocks of %d", size, segment.BlockSize)
	}
	if err := v.claim.Update(ctx, func(h *Head) { h.Size = size }); err != nil {
		return fmt.Errorf("resizing: %w", err)
	}
	v.size.Store(size)
	return nil
}

// fail makes all further I/O return err: the state in memory or on disk can no longer be
// trusted, or is no longer ours.
func (v *Volume) fail(err error) {
	if !v.failed.CompareAndSwap(nil, &err) {
		return
	}
	v.queue.tell()
	if !errors.Is(err, ErrClosed) {
		v.log.Error("volume stopped: all I/O fails until it is attached again", "error", err)
	}
}

func (v *Volume) check() error {
	if err := v.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// checkRange also tells whether I/O is possible at all.
func (v *Volume) checkRange(off, n int64) error {
	if off < 0 || n < 0 || (off|n)%512 != 0 || off+n > v.size.Load() {
		return fmt.Errorf("range of %d bytes at %d is outside the volume or not in sectors of 512", n, off)
	}
	return v.check()
}

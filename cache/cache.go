package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"

	"sluice/volume/segment"
)

// Source is where missing blocks come from: the bucket.
type Source interface {
	// GetRange returns n bytes of an object from offset off, fewer if it ends before.
	GetRange(ctx context.Context, key string, off, n int64) (data []byte, etag string, err error)
}

// Options configure a Cache.
type Options struct {
	Dir    string     // the directory of segment files; made if it is not there
	DB     *badger.DB // the index of what is present
	Source Source
	Bytes  int64 // budget of clean copies; segments not yet in the bucket do not count
	Logger *slog.Logger
}

// Stats are counters since Open and present sizes in bytes.
type Stats struct {
	Bytes    int64 `json:"bytes"`    // of clean copies
	Budget   int64 `json:"budget"`   // for them
	Segments int   `json:"segments"` // clean copies, whole or partial
	Hits     int64 `json:"hits"`     // reads that found all they wanted here
	Misses   int64 `json:"misses"`   // reads that had to wait for the bucket
	Fetched  int64 `json:"fetched"`  // stored bytes of blocks that came from the bucket
	Evicted  int64 `json:"evicted"`  // segments
}

const (
	headersKept   = 256 // parsed object headers in memory
	filesKept     = 16  // preallocated files that wait to be used again
	fetchesAtOnce = 16
	saveEvery     = 64 << 20 // bytes fetched between two saves of the index
)

// Cache holds the local segment files of all volumes of a gateway. All methods may be
// called concurrently. Its locks are taken in the order files, mu, Segment.mu.
type Cache struct {
	opts    Options
	headers *lru.Cache[segment.ID, *segment.ObjectHeader]
	fetches *semaphore.Weighted
	now     func() time.Time
	copies  int // most clean copies, whatever their size: each has an open file
	table   table

	hits, misses, fetched, evicted, unsaved atomic.Int64

	// files orders the changes of the directory, of the index and of the table: a copy
	// comes and goes with its file and its mark.
	files sync.Mutex

	mu    sync.Mutex // protects what follows
	queue *twoQueue  // the clean copies
	spare []string   // paths of preallocated files without content
	names int        // counts names of spare files
}

// Open reads the index and the directory. Copies that the index does not vouch for are
// dropped, except segments that may not be in the bucket yet: see Unsent.
func Open(opts Options) (*Cache, error) {
	headers, err := lru.New[segment.ID, *segment.ObjectHeader](headersKept)
	if err != nil {
		return nil, fmt.Errorf("making header cache: %w", err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("asking for the limit of open files: %w", err)
	}
	c := &Cache{
		opts: opts, headers: headers, fetches: semaphore.NewWeighted(fetchesAtOnce), now: time.Now,
		copies: int(min(limit.Cur/2, 1<<20)), queue: newTwoQueue(),
	}
	c.table.m = map[segment.ID]*Segment{}
	if err := os.MkdirAll(c.spareDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making segment directory: %w", err)
	}
	// Or a loss of power takes the directory, and with it segments that were synced.
	if err := syncDirs(opts.Dir, filepath.Dir(filepath.Clean(opts.Dir))); err != nil {
		return nil, fmt.Errorf("making segment directory: %w", err)
	}
	if err := c.scan(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening cache in %s: %w", opts.Dir, err), c.closeFiles())
	}
	return c, nil
}

// Close saves the index and closes the files. No segment may be in use.
func (c *Cache) Close() error { return errors.Join(c.save(), c.closeFiles()) }

func (c *Cache) closeFiles() error {
	var err error
	for _, s := range c.table.all() {
		err = errors.Join(err, s.File.Close())
	}
	return err
}

func (c *Cache) path(id segment.ID) string {
	return filepath.Join(c.opts.Dir, fmt.Sprintf("%02x", byte(id)), id.String()+".seg")
}

func (c *Cache) spareDir() string { return filepath.Join(c.opts.Dir, "spare") }

// newSegment returns a copy with one reference, for the table.
func (c *Cache) newSegment(id segment.ID, f *os.File) *Segment {
	s := &Segment{ID: id, File: f, cache: c}
	s.refs.Store(1)
	return s
}

// Acquire returns the local copy of a segment with a reference, or nil.
func (c *Cache) Acquire(id segment.ID) *Segment { return c.table.acquire(id) }

// Create makes the file of a new segment, preallocated or a used one. init writes what
// makes it valid; when Create returns, that survives a loss of power. The segment stays
// until Sent, and is returned with a reference. An ID that is here already is an error.
func (c *Cache) Create(id segment.ID, volume [16]byte, init func(*os.File) error) (*Segment, error) {
	for {
		s, err := c.create(id, volume, init)
		if !errors.Is(err, syscall.ENOSPC) || !c.makeRoom() {
			return s, err
		}
	}
}

func (c *Cache) create(id segment.ID, volume [16]byte, init func(*os.File) error) (*Segment, error) {
	f, err := c.createFile(id)
	if err != nil {
		return nil, fmt.Errorf("creating segment %s: %w", id, err)
	}
	path := f.Name()
	if err = init(f); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDirs(filepath.Dir(path), c.opts.Dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating segment %s: %w", id, err), f.Close(), os.Remove(path))
	}
	s := c.newSegment(id, f)
	s.volume, s.whole = volume, true
	s.Retain()
	if !c.table.put(s) {
		return nil, errors.Join(fmt.Errorf("creating segment %s: made twice at once", id), f.Close())
	}
	return s, nil
}

// createFile puts a spare file, or a new one, in the place of a segment.
func (c *Cache) createFile(id segment.ID) (*os.File, error) {
	c.files.Lock()
	defer c.files.Unlock()
	if s := c.Acquire(id); s != nil {
		s.Release()
		return nil, fs.ErrExist
	}
	path := c.path(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if spare := c.takeSpare(); spare != "" {
		if err := os.Rename(spare, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		d, err := os.Open(dir)
		if err != nil {
			return fmt.Errorf("syncing directory: %w", err)
		}
		err = d.Sync()
		if err = errors.Join(err, d.Close()); err != nil {
			return fmt.Errorf("syncing directory: %w", err)
		}
	}
	return nil
}

// Sent tells that a segment is in the bucket: from now on its local copy is only a
// cache, and may be evicted.
func (c *Cache) Sent(id segment.ID) error {
	s := c.Acquire(id)
	if s == nil {
		return fmt.Errorf("segment %s: not here", id)
	}
	defer s.Release()
	if err := c.saveMark(s); err != nil {
		return err
	}
	s.clean.Store(true)
	c.account(s)
	c.evict()
	return nil
}

// Discard drops segments that nobody will read again, sent or not.
func (c *Cache) Discard(ids ...segment.ID) error {
	c.files.Lock()
	defer c.files.Unlock()
	var err error
	for _, id := range ids {
		err = errors.Join(err, c.drop(id))
		c.headers.Remove(id)
	}
	return err
}

// Unsent returns, in order, the segments of a volume that may not be in the bucket: they were
// made by Create, now or before Open, and Sent was not called or did not reach the index.
func (c *Cache) Unsent(volume [16]byte) []segment.ID {
	var ids []segment.ID
	for _, s := range c.table.all() {
		if !s.clean.Load() && s.volume == volume {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// Read fills p, a multiple of 4096 bytes, with the blocks of a segment from slot on, from
// the local copy or through it from the bucket. With wait false it returns EAGAIN
// instead of going to the bucket. The caller checks the blocks' sums.
func (c *Cache) Read(ctx context.Context, id segment.ID, slot uint32, p []byte, wait bool) error {
	if len(p)%segment.BlockSize != 0 || len(p) > segment.FileSize {
		return fmt.Errorf("reading segment %s: %d bytes are not blocks of a segment", id, len(p))
	}
	n := uint32(len(p) / segment.BlockSize)
	if err := checkRange(id, slot, n); err != nil {
		return err
	}
	s := c.Acquire(id)
	if s == nil || !s.holds(slot, n) {
		if !wait {
			if s != nil {
				s.Release()
			}
			return syscall.EAGAIN
		}
		c.misses.Add(1)
		if s == nil {
			var err error
			if s, err = c.copyOf(id); err != nil {
				return err
			}
		}
		if err := c.fetch(ctx, s, slot, n); err != nil {
			s.Release()
			return err
		}
	} else {
		c.hits.Add(1)
	}
	defer s.Release()
	c.touch(s)
	if err := segment.ReadBlocks(s.File, slot, p); err != nil {
		return c.readAgain(ctx, s, slot, p, wait, err)
	}
	return nil
}

// readAgain replaces by what the bucket has, if it has it, what could not be read from disk.
func (c *Cache) readAgain(ctx context.Context, s *Segment, slot uint32, p []byte, wait bool, cause error) error {
	n := uint32(len(p) / segment.BlockSize)
	if !s.forget(slot, n) {
		return fmt.Errorf("reading segment %s: %w", s.ID, cause)
	}
	c.account(s)
	c.opts.Logger.Warn("a local copy cannot be read; it is fetched again", "segment", s.ID, "error", cause)
	if !wait {
		return syscall.EAGAIN
	}
	if err := c.fetch(ctx, s, slot, n); err != nil {
		return err
	}
	if err := segment.ReadBlocks(s.File, slot, p); err != nil {
		return fmt.Errorf("reading segment %s: %w", s.ID, err)
	}
	return nil
}

// Prefetch brings n blocks of a segment from slot on to the local copy, as Read would.
func (c *Cache) Prefetch(ctx context.Context, id segment.ID, slot, n uint32) error {
	if err := checkRange(id, slot, n); err != nil {
		return err
	}
	s, err := c.copyOf(id)
	if err != nil {
		return err
	}
	defer s.Release()
	return c.fetch(ctx, s, slot, n)
}

// Invalidate forgets n slots of a clean copy whose content failed its checksum, so that
// the next Read fetches them again. It reports whether that can be: a segment that is not
// in the bucket yet cannot be fetched.
func (c *Cache) Invalidate(id segment.ID, slot, n uint32) bool {
	if checkRange(id, slot, n) != nil {
		return false
	}
	s := c.Acquire(id)
	if s == nil {
		return true // evicted meanwhile
	}
	defer s.Release()
	if !s.forget(slot, n) {
		return false
	}
	c.account(s)
	return true
}

// checkRange refuses slots that no segment has, as a damaged block map might ask for.
func checkRange(id segment.ID, slot, n uint32) error {
	if uint64(slot)+uint64(n) > segment.Slots {
		return fmt.Errorf("segment %s: %d slots from %d on: it has only %d", id, n, slot, segment.Slots)
	}
	return nil
}

// Stats returns counters and sizes.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Bytes: c.queue.bytes, Budget: c.opts.Bytes, Segments: c.queue.len(),
		Hits: c.hits.Load(), Misses: c.misses.Load(), Fetched: c.fetched.Load(), Evicted: c.evicted.Load(),
	}
}

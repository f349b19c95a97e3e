package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
	Fetched  int64 `json:"fetched"`  // stored bytes that came from the bucket
	Evicted  int64 `json:"evicted"`  // segments
}

const (
	headersKept   = 256 // parsed object headers in memory
	filesKept     = 16  // preallocated files that wait to be used again
	fetchesAtOnce = 16
	saveEvery     = 64 << 20 // bytes fetched between two saves of the index
)

// Cache holds the local segment files of all volumes of a gateway. All methods may be
// called concurrently.
type Cache struct {
	opts    Options
	headers *lru.Cache[segment.ID, *segment.ObjectHeader]
	fetches *semaphore.Weighted
	now     func() time.Time

	hits, misses, fetched, evicted, unsaved atomic.Int64

	table sync.Map // segment.ID -> *Segment; read on every access, so it takes no lock

	mu    sync.Mutex // protects what follows, and every change of table
	queue *twoQueue  // the clean copies
	sizes map[segment.ID]int64
	total int64
	spare []string // paths of preallocated files without content
	names int      // counts names of spare files
}

// Open reads the index and the directory. Copies that the index does not vouch for are
// dropped, except segments that may not be in the bucket yet: see Unsent.
func Open(opts Options) (*Cache, error) {
	headers, err := lru.New[segment.ID, *segment.ObjectHeader](headersKept)
	if err != nil {
		return nil, fmt.Errorf("making header cache: %w", err)
	}
	c := &Cache{
		opts: opts, headers: headers, fetches: semaphore.NewWeighted(fetchesAtOnce), now: time.Now,
		queue: newTwoQueue(), sizes: map[segment.ID]int64{},
	}
	if err := os.MkdirAll(c.spareDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making segment directory: %w", err)
	}
	if err := c.scan(); err != nil {
		return nil, fmt.Errorf("opening cache in %s: %w", opts.Dir, err)
	}
	c.evict()
	return c, nil
}

// Close saves the index and closes the files. No segment may be in use.
func (c *Cache) Close() error {
	err := c.save()
	c.table.Range(func(_, v any) bool {
		err = errors.Join(err, v.(*Segment).File.Close())
		return true
	})
	return err
}

func (c *Cache) path(id segment.ID) string {
	return filepath.Join(c.opts.Dir, fmt.Sprintf("%02x", byte(id)), id.String()+".seg")
}

func (c *Cache) spareDir() string { return filepath.Join(c.opts.Dir, "spare") }

// Acquire returns the local copy of a segment with a reference, or nil.
func (c *Cache) Acquire(id segment.ID) *Segment {
	v, ok := c.table.Load(id)
	if !ok {
		return nil
	}
	s := v.(*Segment)
	for {
		n := s.refs.Load()
		if n == 0 {
			return nil // being freed
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return s
		}
	}
}

// Create makes the file of a new segment, preallocated or a used one. init writes what
// makes it valid; when Create returns, that survives a loss of power. The segment stays
// until Sent, and is returned with a reference.
func (c *Cache) Create(id segment.ID, volume [16]byte, init func(*os.File) error) (*Segment, error) {
	path := c.path(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("creating segment %s: %w", id, err)
	}
	if spare := c.takeSpare(); spare != "" {
		if err := os.Rename(spare, path); err != nil {
			return nil, fmt.Errorf("creating segment %s: %w", id, err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating segment %s: %w", id, err)
	}
	if err = init(f); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDirs(filepath.Dir(path), c.opts.Dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating segment %s: %w", id, err), f.Close(), os.Remove(path))
	}
	s := &Segment{ID: id, File: f, cache: c, volume: volume, whole: true, arrived: make(chan struct{})}
	s.refs.Store(2)
	c.mu.Lock()
	c.table.Store(id, s)
	c.mu.Unlock()
	return s, nil
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
	c.account(s)
	c.evict()
	return nil
}

// account brings the budget and the queue up to date with a clean copy.
func (c *Cache) account(s *Segment) {
	size := s.bytes()
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.table.Load(s.ID); !ok || v != any(s) {
		return // evicted meanwhile
	}
	c.total += size - c.sizes[s.ID]
	c.sizes[s.ID] = size
	c.queue.touch(s.ID, c.now())
}

// touch notes a use, at most once a second for each segment.
func (c *Cache) touch(s *Segment) {
	now := c.now()
	if s.used.Swap(now.Unix()) == now.Unix() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, clean := c.sizes[s.ID]; clean {
		c.queue.touch(s.ID, now)
	}
}

// evict drops clean copies until the rest is within the budget.
func (c *Cache) evict() {
	for {
		c.mu.Lock()
		if c.total <= c.opts.Bytes {
			c.mu.Unlock()
			return
		}
		id, ok := c.queue.victim()
		c.mu.Unlock()
		if !ok {
			return
		}
		c.evicted.Add(1)
		if err := c.drop(id); err != nil {
			c.opts.Logger.Warn("evicting", "error", err)
		}
	}
}

// drop takes a copy out of the table and its file out of its place; the file is freed
// with the last reference.
func (c *Cache) drop(id segment.ID) error {
	c.mu.Lock()
	v, ok := c.table.Load(id)
	if !ok {
		c.mu.Unlock()
		return nil
	}
	s := v.(*Segment)
	// The file leaves its place before its mark goes: a file without a mark looks like a
	// segment that was never sent.
	err := c.moveAway(s)
	c.table.Delete(id)
	c.total -= c.sizes[id]
	delete(c.sizes, id)
	c.queue.remove(id)
	c.mu.Unlock()
	if err == nil {
		err = c.deleteMark(id)
	}
	s.Release()
	if err != nil {
		return fmt.Errorf("dropping segment %s: %w", id, err)
	}
	return nil
}

// moveAway renames the file of a whole segment to a spare one, or removes it. Readers
// that have it open are not disturbed. The caller holds mu.
func (c *Cache) moveAway(s *Segment) error {
	if s.whole && len(c.spare) < filesKept {
		c.names++
		s.spare = filepath.Join(c.spareDir(), fmt.Sprintf("%d.seg", c.names))
		return os.Rename(c.path(s.ID), s.spare)
	}
	return os.Remove(c.path(s.ID))
}

// free closes the file of a dropped segment that nobody reads any more. From now on it
// may be used again.
func (c *Cache) free(s *Segment) {
	if err := s.File.Close(); err != nil {
		c.opts.Logger.Warn("closing a segment file", "segment", s.ID, "error", err)
	}
	if s.spare != "" {
		c.mu.Lock()
		c.spare = append(c.spare, s.spare)
		c.mu.Unlock()
	}
}

// Discard drops segments that nobody will read again, sent or not.
func (c *Cache) Discard(ids ...segment.ID) error {
	var err error
	for _, id := range ids {
		err = errors.Join(err, c.drop(id))
	}
	return err
}

func (c *Cache) takeSpare() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.spare)
	if n == 0 {
		return ""
	}
	path := c.spare[n-1]
	c.spare = c.spare[:n-1]
	return path
}

// Read fills p, a multiple of 4096 bytes, with the blocks of a segment from slot on, from
// the local copy or through it from the bucket. With wait false it returns EAGAIN
// instead of going to the bucket. The caller checks the blocks' sums.
func (c *Cache) Read(ctx context.Context, id segment.ID, slot uint32, p []byte, wait bool) error {
	n := uint32(len(p) / segment.BlockSize)
	s := c.Acquire(id)
	if s == nil || !s.holds(slot, n) {
		if !wait {
			if s != nil {
				s.Release()
			}
			return syscall.EAGAIN
		}
		if s == nil {
			var err error
			if s, err = c.copyOf(id); err != nil {
				return err
			}
		}
		c.misses.Add(1)
		if err := c.fetch(ctx, s, slot, n); err != nil {
			s.Release()
			return err
		}
	} else {
		c.hits.Add(1)
	}
	c.touch(s)
	err := segment.ReadBlocks(s.File, slot, p)
	s.Release()
	if err != nil {
		return fmt.Errorf("reading segment %s: %w", id, err)
	}
	return nil
}

// Stats returns counters and sizes.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Bytes: c.total, Budget: c.opts.Bytes, Segments: c.queue.len(),
		Hits: c.hits.Load(), Misses: c.misses.Load(), Fetched: c.fetched.Load(), Evicted: c.evicted.Load(),
	}
}

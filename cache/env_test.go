package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/goleak"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testBlocks = 64                             // in each segment: four frames
	testBytes  = testBlocks * segment.BlockSize // of a copy that has all of them
	frameBytes = segment.FrameBlocks * segment.BlockSize
)

var testVolume = [16]byte{1, 2, 3}

// env is a cache over a bucket in memory whose n-th segment holds what block says.
type env struct {
	t      testing.TB
	dir    string
	db     *badger.DB
	bucket *memory.Store
	count  *object.Counter
	fault  object.FaultFunc // asked before each request; nil means that all is well
	clock  time.Time
	c      *Cache
}

func newEnv(t testing.TB, budget int64) *env {
	t.Helper()
	opts := badger.DefaultOptions("").WithInMemory(true).WithLogger(nil).WithMetricsEnabled(false)
	opts.MemTableSize, opts.ValueThreshold, opts.NumMemtables, opts.BlockCacheSize = 8<<20, 1<<10, 2, 1<<20
	db, err := badger.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, dir: t.TempDir(), db: db, bucket: memory.New(), clock: time.Unix(1e9, 0)}
	e.count = object.Count(e.bucket)
	e.open(budget)
	t.Cleanup(func() {
		e.close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func (e *env) open(budget int64) {
	e.t.Helper()
	source := object.Fault(e.count, func(c object.Call) object.Outcome {
		if e.fault == nil {
			return object.Outcome{}
		}
		return e.fault(c)
	})
	c, err := Open(Options{Dir: e.dir, DB: e.db, Source: source, Bytes: budget, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		e.t.Fatal(err)
	}
	c.now = func() time.Time { return e.clock }
	e.c = c
}

func (e *env) close() {
	e.t.Helper()
	if err := e.c.Close(); err != nil {
		e.t.Error(err)
	}
}

// kill takes the cache down as the end of the process would, without saving anything.
func (e *env) kill() {
	e.t.Helper()
	if err := e.c.closeFiles(); err != nil {
		e.t.Error(err)
	}
}

func id(n int) segment.ID { return segment.NewID(1, uint32(n)) }

// block returns what the slot of a segment holds.
func block(id segment.ID, slot uint32) []byte {
	p := make([]byte, segment.BlockSize)
	x := (uint64(id)<<16 + uint64(slot) + 1) * 0x9e3779b97f4a7c15
	for i := 0; i < len(p); i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(p[i:], x)
	}
	return p
}

func blocks(id segment.ID, slot, n uint32) []byte {
	var p []byte
	for ; n > 0; slot, n = slot+1, n-1 {
		p = append(p, block(id, slot)...)
	}
	return p
}

// fill makes f the file of a segment with all its blocks.
func fill(f *os.File, id segment.ID) error {
	w, err := segment.Create(f, segment.Header{ID: id, Volume: testVolume, Epoch: 1})
	if err != nil {
		return err
	}
	p := blocks(id, 0, testBlocks)
	crcs := make([]uint32, testBlocks)
	for i := range crcs {
		crcs[i] = segment.Checksum(p[i*segment.BlockSize:][:segment.BlockSize])
	}
	_, err = w.Append([][]byte{p}, []segment.Run{{Start: uint64(id) << 16, Count: testBlocks}}, crcs)
	return err
}

// store puts the objects of segments first to last into the bucket.
func (e *env) store(first, last int) {
	e.t.Helper()
	f, err := os.Create(filepath.Join(e.t.TempDir(), "segment"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	b := segment.NewBuilder(segment.BuilderOptions{Codec: segment.CodecRaw})
	for n := first; n <= last; n++ {
		if err := fill(f, id(n)); err != nil {
			e.t.Fatal(err)
		}
		body, err := b.EncodeFile(nil, f, id(n), 1, time.Time{})
		if err != nil {
			e.t.Fatal(err)
		}
		if _, err := e.bucket.Put(context.Background(), id(n).Key(), body); err != nil {
			e.t.Fatal(err)
		}
	}
}

// create makes a local segment that is in the bucket only if sent.
func (e *env) create(n int, sent bool) {
	e.t.Helper()
	s, err := e.c.Create(id(n), testVolume, func(f *os.File) error { return fill(f, id(n)) })
	if err != nil {
		e.t.Fatal(err)
	}
	s.Release()
	if sent {
		e.store(n, n)
		if err := e.c.Sent(id(n)); err != nil {
			e.t.Fatal(err)
		}
	}
}

// read reads blocks and returns an error also if they are not what they should be.
func (e *env) read(n int, slot, count uint32) error {
	p := make([]byte, count*segment.BlockSize)
	if err := e.c.Read(context.Background(), id(n), slot, p, true); err != nil {
		return err
	}
	if !bytes.Equal(p, blocks(id(n), slot, count)) {
		return errWrong
	}
	return nil
}

type wrong struct{}

func (wrong) Error() string { return "the blocks read are not those of the segment" }

var errWrong error = wrong{}

func (e *env) mustRead(n int, slot, count uint32) {
	e.t.Helper()
	if err := e.read(n, slot, count); err != nil {
		e.t.Fatal(err)
	}
}

// holds tells whether blocks can be read without the bucket.
func (e *env) holds(n int, slot, count uint32) bool {
	s := e.c.Acquire(id(n))
	if s == nil {
		return false
	}
	defer s.Release()
	return s.holds(slot, count)
}

func (e *env) gets() int64 { return e.count.Stats().GetRange.Calls }

func (e *env) pass(d time.Duration) { e.clock = e.clock.Add(d) }

// check compares what the cache believes with its directory.
func (e *env) check() {
	e.t.Helper()
	e.c.files.Lock()
	defer e.c.files.Unlock()
	total := int64(0)
	for _, s := range e.c.table.all() {
		if n := s.refs.Load(); n != 1 {
			e.t.Errorf("segment %s has %d references", s.ID, n)
		}
		if len(s.flights) > 0 {
			e.t.Errorf("segment %s has %d requests under way", s.ID, len(s.flights))
		}
		if _, err := os.Stat(e.c.path(s.ID)); err != nil {
			e.t.Error(err)
		}
		if s.clean.Load() {
			total += s.bytes()
		}
	}
	if got := e.c.Stats().Bytes; got != total {
		e.t.Errorf("%d bytes are accounted for, %d are present", got, total)
	}
	files, err := filepath.Glob(filepath.Join(e.dir, "??", "*.seg"))
	if err != nil {
		e.t.Fatal(err)
	}
	if n := len(e.c.table.all()); len(files) != n {
		e.t.Errorf("%d files for %d segments", len(files), n)
	}
	spares, err := filepath.Glob(filepath.Join(e.c.spareDir(), "*"))
	if err != nil {
		e.t.Fatal(err)
	}
	if len(spares) != len(e.c.spare) {
		e.t.Errorf("%d spare files, %d are known", len(spares), len(e.c.spare))
	}
	marks, err := e.c.marks()
	if err != nil {
		e.t.Fatal(err)
	}
	for id := range marks {
		if e.c.table.m[id] == nil {
			e.t.Errorf("segment %s has a mark and no copy", id)
		}
	}
}

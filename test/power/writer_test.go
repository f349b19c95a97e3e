package power

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"sluice/object"
	"sluice/test/crashfs"
	"sluice/volume"
	"sluice/volume/segment"
)

// orders are what a writer is told, in the environment.
type orders struct {
	Dir    string `json:"dir"`    // of the gateway, on the crashable file system
	Bucket bucket `json:"bucket"` // what is there from the beginning
	Boot   string `json:"boot"`
	Seed   uint64 `json:"seed"`
	Steps  int    `json:"steps"`
	First  uint64 `json:"first"` // the number of the first write
	Create bool   `json:"create"`
	Check  bool   `json:"check"` // only recover, and say on the standard output what the volume holds
}

const ordersVariable = "SLUICE_CRASHFS_WRITER"

// writer is the process whose disk loses its power.
type writer struct {
	orders
	ctx    context.Context //nolint:containedctx // of the process: this is its main function
	marker *crashfs.Marker
	rnd    *rand.Rand
	g      *gateway
	v      *volume.Volume

	seq   uint64        // of the newest write that was begun
	acked atomic.Uint64 // the newest write that was completed
	model []value       // what the volume holds
	bg    sync.WaitGroup
	fail  atomic.Pointer[error] // of a flush in the background
}

// runWriter is the main function of a writer.
func runWriter(text string) error {
	w := &writer{ctx: context.Background(), model: make([]value, blocks)}
	if err := json.Unmarshal([]byte(text), &w.orders); err != nil {
		return err
	}
	if w.Check {
		return w.check()
	}
	w.rnd, w.seq = rand.New(rand.NewPCG(w.Seed, 1)), w.First
	var err error
	if w.marker, err = crashfs.NewMarker(filepath.Dir(w.Dir)); err != nil {
		return err
	}
	if err = w.run(); err != nil {
		return errors.Join(err, w.mark(event{Kind: "error", Key: err.Error()}))
	}
	return w.mark(event{Kind: "done"})
}

func (w *writer) mark(e event) error { return w.marker.Mark(e.encode()) }

func (w *writer) run() error {
	store, err := w.Bucket.load()
	if err != nil {
		return err
	}
	bucket := &recordedStore{Store: store, mark: w.mark}
	if w.g, err = openGateway(w.Dir, w.Boot, bucket); err != nil {
		return err
	}
	if w.Create {
		if _, err := volume.Create(w.ctx, bucket, volume.New{Name: name, Size: blocks * segment.BlockSize, Mode: volume.Cached}); err != nil {
			return err
		}
	}
	if w.v, err = w.g.open(w.ctx); err != nil {
		return err
	}
	if w.model, err = readAll(w.ctx, w.v); err != nil {
		return err
	}
	if err := w.mark(event{Kind: "state", Values: w.model}); err != nil {
		return err
	}
	for i := range w.Steps {
		if err := w.step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	w.bg.Wait()
	if err := w.fail.Load(); err != nil {
		return *err
	}
	if err := w.durably(w.v.Close); err != nil {
		return err
	}
	return w.g.close()
}

// check recovers the volume, on any file system.
func (w *writer) check() error {
	store, err := w.Bucket.load()
	if err != nil {
		return err
	}
	if w.g, err = openGateway(w.Dir, w.Boot, store); err != nil {
		return fmt.Errorf("opening the gateway: %w", err)
	}
	if w.v, err = w.g.open(w.ctx); err != nil {
		return fmt.Errorf("opening the volume: %w", err)
	}
	got, err := readAll(w.ctx, w.v)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if err := w.v.Upload(w.ctx); err != nil {
		return fmt.Errorf("uploading: %w", err)
	}
	if err := errors.Join(w.v.Close(), w.g.close()); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	_, err = os.Stdout.Write(event{Kind: "state", Values: got}.encode())
	return err
}

// step does one thing.
func (w *writer) step() error {
	switch p := w.rnd.IntN(1000); {
	case p < 600:
		return w.write()
	case p < 660:
		return w.zero()
	case p < 720:
		return w.copy()
	case p < 850:
		return w.flush()
	case p < 890:
		return w.upload()
	case p < 910:
		return w.cut()
	case p < 960:
		return w.writeBack()
	case p < 985:
		_, err := readAll(w.ctx, w.v)
		return err
	case p < 995:
		return w.again(w.v.Close)
	default:
		return w.again(func() error { return w.v.Detach(w.ctx) })
	}
}

// extent returns some blocks, mostly few.
func (w *writer) extent() (first, n int) {
	n = 1 + w.rnd.IntN(8)
	if w.rnd.IntN(20) == 0 {
		n = 1 + w.rnd.IntN(128)
	}
	return w.rnd.IntN(blocks - n + 1), n
}

// change marks that blocks are about to get values, and does it.
func (w *writer) change(first int, values []value, do func() error) error {
	if err := w.mark(event{Kind: "write", Seq: w.seq, First: uint32(first), Values: values}); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	copy(w.model[first:], values)
	w.acked.Store(w.seq)
	return nil
}

func (w *writer) write() error {
	first, n := w.extent()
	w.seq++
	values := make([]value, n)
	p := make([]byte, n*segment.BlockSize)
	for i := range values {
		values[i] = value{w.seq, uint32(first + i)}
		values[i].fill(p[i*segment.BlockSize:][:segment.BlockSize])
	}
	return w.change(first, values, func() error {
		return w.v.Write(w.ctx, [][]byte{p}, []int64{int64(first) * segment.BlockSize}, true)
	})
}

func (w *writer) zero() error {
	first, n := w.extent()
	w.seq++
	return w.change(first, make([]value, n), func() error {
		return w.v.Zero(w.ctx, int64(first)*segment.BlockSize, int64(n)*segment.BlockSize, w.rnd.IntN(2) == 0)
	})
}

func (w *writer) copy() error {
	from, n := w.extent()
	to := w.rnd.IntN(blocks - n + 1)
	if to < from+n && from < to+n {
		return nil
	}
	w.seq++
	return w.change(to, slices.Clone(w.model[from:from+n]), func() error {
		return w.v.Copy(w.ctx, int64(to)*segment.BlockSize, int64(from)*segment.BlockSize, int64(n)*segment.BlockSize)
	})
}

// durably marks, when do returns without an error, that what was acknowledged before is safe.
func (w *writer) durably(do func() error) error {
	acked := w.acked.Load()
	if err := do(); err != nil {
		return err
	}
	return w.mark(event{Kind: "durable", Seq: acked})
}

// flush flushes; every other time the writes go on meanwhile.
func (w *writer) flush() error {
	do := func() error { return w.durably(func() error { return w.v.Flush(w.ctx) }) }
	if w.rnd.IntN(2) == 0 {
		return do()
	}
	w.bg.Go(func() {
		if err := do(); err != nil {
			w.fail.Store(&err)
		}
	})
	return nil
}

func (w *writer) upload() error { return w.durably(func() error { return w.v.Upload(w.ctx) }) }

// cut makes a root, as a snapshot does. A checkpoint of the map follows.
func (w *writer) cut() error {
	hold, err := w.v.Hold(w.ctx)
	if err != nil {
		return err
	}
	cut := hold.Cut()
	hold.Release()
	defer cut.Close()
	return w.durably(func() error {
		_, err := cut.Finish(w.ctx)
		return err
	})
}

// again closes or detaches the volume and opens it once more.
func (w *writer) again(end func() error) error {
	w.bg.Wait()
	if err := w.durably(end); err != nil {
		return err
	}
	if w.rnd.IntN(2) == 0 { // the process, too, ends in order
		if err := w.g.close(); err != nil {
			return err
		}
		var err error
		if w.g, err = openGateway(w.Dir, w.Boot, w.g.opts.Store); err != nil {
			return err
		}
	}
	var err error
	if w.v, err = w.g.open(w.ctx); err != nil {
		return err
	}
	got, err := readAll(w.ctx, w.v)
	if err != nil {
		return err
	}
	if !slices.Equal(got, w.model) {
		return errors.New("the volume changed while it was closed")
	}
	return nil
}

// writeBack is the kernel's decision to write what is mapped and dirty, without a sync: only files of the index are mapped.
func (w *writer) writeBack() error {
	paths, err := filepath.Glob(filepath.Join(w.Dir, "index", "*.*"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// recordedStore marks every change of the bucket before it answers.
type recordedStore struct {
	object.Store
	mu   sync.Mutex // the order of the marks is the order of the changes
	mark func(event) error
}

func (s *recordedStore) Put(ctx context.Context, key string, body []byte) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	etag, err := s.Store.Put(ctx, key, body)
	if err == nil {
		err = s.mark(event{Kind: "put", Key: key, body: body})
	}
	return etag, err
}

func (s *recordedStore) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	etag, err := s.Store.PutIf(ctx, key, body, match)
	if err == nil {
		err = s.mark(event{Kind: "put", Key: key, body: body})
	}
	return etag, err
}

func (s *recordedStore) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Store.Delete(ctx, key)
	if err == nil {
		err = s.mark(event{Kind: "delete", Key: key})
	}
	return err
}

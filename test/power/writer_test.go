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
	"syscall"

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
	Mode   string `json:"mode"`  // of the volume, which is created if it is not there
	Die    bool   `json:"die"`   // by kill -9, after the steps at the latest
	GoOn   bool   `json:"go_on"` // in the same boot, after one that died
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
	v      disk
	unit   int // see unitOf

	seq   uint64        // of the newest write that was begun
	acked atomic.Uint64 // the newest write that was completed
	model []value       // what the volume holds
	bg    sync.WaitGroup
	fail  atomic.Pointer[error] // of a flush in the background
}

// runWriter is the main function of a writer.
func runWriter(text string) error {
	w := &writer{ctx: context.Background()}
	if err := json.Unmarshal([]byte(text), &w.orders); err != nil {
		return err
	}
	w.unit = unitOf(volume.Mode(w.Mode))
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
	if _, err := volume.Find(w.ctx, bucket, name); errors.Is(err, volume.ErrNotFound) {
		if _, err := volume.Create(w.ctx, bucket, volume.New{Name: name, Size: size, Mode: volume.Mode(w.Mode)}); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if w.v, err = w.g.open(w.ctx); err != nil {
		return err
	}
	if w.model, err = readAll(w.ctx, w.v, w.unit); err != nil {
		return err
	}
	if err := w.begin(); err != nil {
		return err
	}
	for i := range w.Steps {
		if err := w.step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	if w.Die {
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
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

// begin marks what the volume shows. After a loss of power that stays; after the death of a process, from the first flush on.
func (w *writer) begin() error {
	if !w.GoOn {
		return w.mark(event{Kind: "state", Values: w.model})
	}
	w.acked.Store(w.First) // all that the dead one was told
	return errors.Join(w.mark(event{Kind: "seen", Seq: w.First, Values: w.model}), w.durably(func() error { return w.v.Flush(w.ctx) }))
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
	got, err := readAll(w.ctx, w.v, w.unit)
	if err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	root, err := snapshot(w.ctx, w.v)
	if err != nil {
		return fmt.Errorf("making a snapshot: %w", err)
	}
	kept, err := w.g.readRoot(w.ctx, root, w.unit)
	if err != nil {
		return fmt.Errorf("reading the snapshot: %w", err)
	}
	if !slices.Equal(kept, got) {
		return errors.New("the snapshot differs from the volume")
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
		_, err := readAll(w.ctx, w.v, w.unit)
		return err
	case p < 995:
		return w.again(w.v.Close)
	default:
		return w.again(func() error { return w.v.Detach(w.ctx) })
	}
}

// extent returns some units: whole blocks, mostly few.
func (w *writer) extent() (first, n int) {
	const blocks = size / segment.BlockSize
	n = 1 + w.rnd.IntN(8)
	if w.rnd.IntN(20) == 0 {
		n = 1 + w.rnd.IntN(128)
	}
	units := segment.BlockSize / w.unit
	return w.rnd.IntN(blocks-n+1) * units, n * units
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
	p := make([]byte, n*w.unit)
	for i := range values {
		values[i] = value{w.seq, uint32(first + i)}
		values[i].fill(p[i*w.unit:][:w.unit])
	}
	return w.change(first, values, func() error {
		return w.v.Write(w.ctx, [][]byte{p}, []int64{int64(first) * int64(w.unit)}, true)
	})
}

func (w *writer) zero() error {
	first, n := w.extent()
	w.seq++
	return w.change(first, make([]value, n), func() error {
		return w.v.Zero(w.ctx, int64(first)*int64(w.unit), int64(n)*int64(w.unit), w.rnd.IntN(2) == 0)
	})
}

// copy copies inside of a cached volume, where a unit is a block.
func (w *writer) copy() error {
	v, ok := w.v.(*volume.Volume)
	if !ok {
		return nil
	}
	from, n := w.extent()
	to := w.rnd.IntN(len(w.model) - n + 1)
	if to < from+n && from < to+n {
		return nil
	}
	w.seq++
	return w.change(to, slices.Clone(w.model[from:from+n]), func() error {
		return v.Copy(w.ctx, int64(to)*int64(w.unit), int64(from)*int64(w.unit), int64(n)*int64(w.unit))
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

func (w *writer) upload() error {
	v, ok := w.v.(*volume.Volume)
	if !ok {
		return w.cut()
	}
	return w.durably(func() error { return v.Upload(w.ctx) })
}

// cut makes a snapshot. Of a cached volume, a checkpoint of the map follows; of a stored one, nothing is safe by that.
func (w *writer) cut() error {
	do := func() error {
		_, err := snapshot(w.ctx, w.v)
		return err
	}
	if w.Mode == string(volume.Stored) {
		return do()
	}
	return w.durably(do)
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
	if err := w.mark(event{Kind: "opened"}); err != nil {
		return err
	}
	got, err := readAll(w.ctx, w.v, w.unit)
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

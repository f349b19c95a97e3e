package metamorphic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/cache"
	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
	"sluice/volume/segment"
	"sluice/volume/stored"
)

const (
	mib  = 1 << 20
	size = 4 * mib
)

// disk is a volume of either mode.
type disk interface { //nolint:interfacebloat // a volume has as many
	Read(ctx context.Context, p []byte, off int64, wait bool) error
	Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error
	Zero(ctx context.Context, off, n int64, unmap bool) error
	Flush(ctx context.Context) error
	Detach(ctx context.Context) error
	Abandon(ctx context.Context) error
	Close() error
}

// moment is a cut of either mode's volume.
type moment interface {
	Finish(ctx context.Context) (blockmap.Root, error)
	Close()
}

// served is a volume and what it must read as.
type served struct {
	name  string
	head  *volume.Head
	disk  disk
	model []byte
	was   map[segment.ID][]byte // of a cached volume, at its moments
}

// kept is a snapshot.
type kept struct {
	root  blockmap.Root
	model []byte
}

// world is a bucket, and one gateway that serves volumes from it.
type world struct {
	t         testing.TB
	rt        *rapid.T
	bucket    *memory.Store
	store     object.Store // the bucket, with faults that are tried again
	dir       string
	opts      volume.Options
	stop      func()
	gateways  int
	collector *gc.Collector
	volumes   map[string]*served
	snapshots map[string]*kept
	made      int
	rnd       *rand.Rand
}

func newWorld(t testing.TB, rt *rapid.T) *world {
	w := &world{
		t: t, rt: rt, bucket: memory.New(), volumes: map[string]*served{}, snapshots: map[string]*kept{},
		rnd: rand.New(rand.NewPCG(1, rapid.Uint64().Draw(rt, "seed"))),
	}
	w.store = object.Retry(object.Fault(w.bucket, faults(rapid.Uint64().Draw(rt, "faults"))), object.RetryOptions{
		MinDelay: time.Microsecond, MaxDelay: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	w.begin(t.TempDir(), "boot")
	w.collector = gc.New(gc.Options{Store: w.store, Logger: slog.New(slog.DiscardHandler), Snapshots: func(context.Context) ([]blockmap.Root, error) {
		var roots []blockmap.Root
		for _, k := range w.snapshots {
			roots = append(roots, k.root)
		}
		return roots, nil
	}})
	return w
}

// faults lets one call in twenty fail, before or after it took effect.
func faults(seed uint64) object.FaultFunc {
	return func(c object.Call) object.Outcome {
		rnd := rand.New(rand.NewPCG(seed, uint64(c.N)<<8|uint64(len(c.Op))))
		switch rnd.IntN(40) {
		case 0:
			return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
		case 1:
			return object.Outcome{Lost: true}
		}
		return object.Outcome{}
	}
}

// begin starts a gateway on a data directory.
func (w *world) begin(dir, boot string) {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	index := filepath.Join(dir, "index")
	db, err := blockmap.OpenDB(index, log)
	if errors.Is(err, blockmap.ErrCorrupt) { // a copy of a moment that never was; all of it can be made again
		w.must(os.RemoveAll(index))
		db, err = blockmap.OpenDB(index, log)
	}
	w.must(err)
	c, err := cache.Open(cache.Options{Dir: filepath.Join(dir, "segments"), DB: db, Source: w.store, Bytes: 9 * mib, Logger: log})
	w.must(err)
	w.dir = dir
	w.opts = volume.Options{
		Store: w.store, DB: db, Cache: c, Buffer: volume.NewBuffer(256 * mib),
		Gateway: fmt.Sprint("gw", w.gateways), Host: "test", Boot: boot, Logger: log,
	}
	w.stop = func() { w.must(errors.Join(c.Close(), db.Close())) }
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.rt.Fatal(err)
	}
}

// open attaches a volume.
func (w *world) open(h *volume.Head) disk {
	w.t.Helper()
	if h.Mode == volume.Cached {
		v, err := volume.Open(context.Background(), h.ID, w.opts, false)
		w.must(err)
		return v
	}
	o := w.opts
	v, err := stored.Open(context.Background(), h.ID, stored.Options{
		Store: o.Store, Cache: o.Cache, Dir: filepath.Join(w.dir, "stored"), Gateway: o.Gateway, Host: o.Host, Boot: o.Boot, Logger: o.Logger, Patience: time.Minute,
	}, false)
	w.must(err)
	return v
}

// add makes a volume of either mode, the first two one of each.
func (w *world) add(n volume.New, model []byte) *served {
	w.t.Helper()
	w.made++
	n.Name, n.Size = fmt.Sprint("v", w.made), size
	if n.Mode == "" {
		n.Mode = []volume.Mode{volume.Cached, volume.Stored}[w.made%2]
	}
	if n.Mode == volume.Cached && w.made%4 < 2 {
		n.Window = time.Hour
	}
	h, err := volume.Create(context.Background(), w.store, n)
	w.must(err)
	s := &served{name: n.Name, head: h, disk: w.open(h), model: slices.Clone(model), was: map[segment.ID][]byte{}}
	w.volumes[s.name] = s
	return s
}

// pick chooses one of m; the zero value if there is none.
func pick[T any](rt *rapid.T, m map[string]T) (key string, value T) {
	keys := slices.Sorted(maps.Keys(m))
	if len(keys) == 0 {
		return "", value
	}
	key = rapid.SampledFrom(keys).Draw(rt, "which")
	return key, m[key]
}

func (w *world) expect(what string, d interface {
	Read(ctx context.Context, p []byte, off int64, wait bool) error
}, model []byte,
) {
	w.t.Helper()
	got := make([]byte, len(model))
	w.must(d.Read(context.Background(), got, 0, true))
	if bytes.Equal(got, model) {
		return
	}
	for i := range got {
		if got[i] != model[i] {
			w.rt.Fatalf("%s: byte %d (block %d) is %#x and should be %#x", what, i, i/4096, got[i], model[i])
		}
	}
}

// copyTree copies a data directory as kill -9 leaves it. What stored volumes say of content that arrives in the background is copied
// before the content.
func (w *world) copyTree(from string) string {
	to := w.t.TempDir()
	var first, last []string
	w.must(filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, strings.TrimPrefix(path, from)), 0o700)
		case d.Name() == "LOCK":
		case d.Name() == "volume.json" || d.Name() == "present":
			first = append(first, path)
		default:
			last = append(last, path)
		}
		return nil
	}))
	slices.Reverse(first)
	for _, path := range append(first, last...) {
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		w.must(err)
		w.must(os.WriteFile(filepath.Join(to, strings.TrimPrefix(path, from)), body, 0o600))
	}
	return to
}

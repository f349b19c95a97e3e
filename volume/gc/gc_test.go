package gc_test

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
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sluice/cache"
	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
	"sluice/volume/segment"
)

const (
	mib  = 1 << 20
	size = 4 * mib
)

// gateway serves volumes from one data directory.
type gateway struct {
	t    testing.TB
	dir  string
	opts volume.Options
	stop func()
}

func newGateway(t testing.TB, store object.Store, dir, name string) *gateway {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	index := filepath.Join(dir, "index")
	db, err := blockmap.OpenDB(index, log)
	if errors.Is(err, blockmap.ErrCorrupt) { // a copy of a moment that never was; all of it can be made again
		if err := os.RemoveAll(index); err != nil {
			t.Fatal(err)
		}
		db, err = blockmap.OpenDB(index, log)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(cache.Options{Dir: filepath.Join(dir, "segments"), DB: db, Source: store, Bytes: 9 * mib, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return &gateway{
		t: t, dir: dir,
		opts: volume.Options{
			Store: store, DB: db, Cache: c, Buffer: volume.NewBuffer(256 * mib), Gateway: name, Host: "test", Boot: "boot", Logger: log,
		},
		stop: func() {
			for _, closer := range []func() error{c.Close, db.Close} {
				if err := closer(); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
}

func (g *gateway) open(h *volume.Head) *volume.Volume {
	g.t.Helper()
	v, err := volume.Open(context.Background(), h.ID, g.opts, false)
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}

// served is a volume and what it must read as.
type served struct {
	name  string
	v     *volume.Volume
	model []byte
	was   map[segment.ID][]byte // at moments
}

type kept struct {
	root  blockmap.Root
	model []byte
}

// world is a bucket with volumes and snapshots, all of one gateway.
type world struct {
	t         testing.TB
	rt        *rapid.T
	store     *memory.Store
	g         *gateway
	collector *gc.Collector
	volumes   map[string]*served
	snapshots map[string]*kept
	made      int
	rnd       *rand.Rand
}

func (w *world) add(root *blockmap.Root, model []byte) {
	w.made++
	w.begin(volume.New{Name: fmt.Sprint("v", w.made), Root: root}, model)
}

// begin adds a volume, every other one with a past.
func (w *world) begin(n volume.New, model []byte) {
	n.Size, n.Mode = size, volume.Cached
	if w.made%2 == 1 {
		n.Window = window
	}
	h, err := volume.Create(context.Background(), w.store, n)
	if err != nil {
		w.rt.Fatal(err)
	}
	w.volumes[n.Name] = &served{n.Name, w.g.open(h), slices.Clone(model), map[segment.ID][]byte{}}
}

// window is longer than any test.
const window = time.Hour

// remember uploads all of a volume and remembers what it was like.
func (w *world) remember(rt *rapid.T) {
	if _, s := pick(rt, w.volumes); s != nil {
		if err := s.v.Upload(context.Background()); err != nil {
			rt.Fatal(err)
		}
		s.was[s.v.Head().Published] = slices.Clone(s.model)
	}
}

// goBack makes a volume of a moment of another one that was remembered.
func (w *world) goBack(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil || len(s.was) == 0 || len(w.volumes) > 5 {
		return
	}
	h := s.v.Head()
	moments, err := volume.Moments(context.Background(), w.store, h, time.Now(), 1000)
	if errors.Is(err, volume.ErrNoPast) && h.Window == 0 {
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	m := rapid.SampledFrom(moments).Draw(rt, "moment")
	past, err := volume.At(context.Background(), w.store, h, m.Time)
	if err != nil {
		rt.Fatal(err)
	}
	model := s.was[past.Position]
	if model == nil {
		return // nobody looked
	}
	w.made++
	n := volume.New{Name: fmt.Sprint("v", w.made), Past: past}
	w.begin(n, model)
	w.expect("back", w.volumes[n.Name].v, model)
}

// read reads some of a volume, through caches that may know segments from before they were thinned.
func (w *world) read(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	off := rapid.Int64Range(0, size/4096-1).Draw(rt, "block") * 4096
	p := make([]byte, min(rapid.Int64Range(1, 64).Draw(rt, "blocks")*4096, size-off))
	if err := s.v.Read(context.Background(), p, off, true); err != nil {
		rt.Fatal(err)
	}
	if !bytes.Equal(p, s.model[off:off+int64(len(p))]) {
		rt.Fatalf("%s reads as something else at %d", s.name, off)
	}
}

// pick returns a value of m; the zero value if there is none.
func pick[T any](rt *rapid.T, m map[string]T) (key string, value T) {
	keys := slices.Sorted(maps.Keys(m))
	if len(keys) == 0 {
		return "", value
	}
	key = rapid.SampledFrom(keys).Draw(rt, "which")
	return key, m[key]
}

func (w *world) create(*rapid.T) {
	if len(w.volumes) < 4 {
		w.add(nil, make([]byte, size))
	}
}

func (w *world) write(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	off := rapid.Int64Range(0, size/4096-1).Draw(rt, "block") * 4096
	p := make([]byte, min(rapid.Int64Range(1, 256).Draw(rt, "blocks")*4096, size-off))
	for i := range p {
		p[i] = byte(w.rnd.Uint32())
	}
	if err := s.v.Write(context.Background(), [][]byte{p}, []int64{off}, true); err != nil {
		rt.Fatal(err)
	}
	copy(s.model[off:], p)
}

func (w *world) copy(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	n := rapid.Int64Range(1, size/2/4096).Draw(rt, "blocks") * 4096
	src, dst := int64(0), int64(size/2)
	if rapid.Bool().Draw(rt, "back") {
		src, dst = dst, src
	}
	if err := s.v.Copy(context.Background(), dst, src, n); err != nil {
		rt.Fatal(err)
	}
	copy(s.model[dst:dst+n], s.model[src:src+n])
}

func (w *world) snapshot(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	h, err := s.v.Hold(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	cut := h.Cut()
	h.Release()
	root, err := cut.Finish(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	w.made++
	w.snapshots[fmt.Sprint("s", w.made)] = &kept{root, slices.Clone(s.model)}
	cut.Close()
}

func (w *world) clone(rt *rapid.T) {
	if _, k := pick(rt, w.snapshots); k != nil && len(w.volumes) < 6 {
		w.add(&k.root, k.model)
	}
}

func (w *world) deleteSnapshot(rt *rapid.T) {
	name, _ := pick(rt, w.snapshots)
	delete(w.snapshots, name)
}

func (w *world) deleteVolume(rt *rapid.T) {
	name, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	if err := s.v.Abandon(context.Background()); err != nil {
		rt.Fatal(err)
	}
	if err := volume.Delete(context.Background(), w.store, name); err != nil {
		rt.Fatal(err)
	}
	delete(w.volumes, name)
}

// reopen has a root written, and the segments of one more attachment begun.
func (w *world) reopen(rt *rapid.T) {
	name, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	if err := s.v.Detach(context.Background()); err != nil {
		rt.Fatal(err)
	}
	h, err := volume.Find(context.Background(), w.store, name)
	if err != nil {
		rt.Fatal(err)
	}
	s.v = w.g.open(h)
}

// crash goes on with a copy of the data directory, as kill -9 leaves it.
func (w *world) crash(rt *rapid.T) {
	dir := w.t.TempDir()
	if err := copyTree(dir, w.g.dir); err != nil {
		rt.Fatal(err)
	}
	for _, s := range w.volumes {
		if err := s.v.Close(); err != nil {
			rt.Fatal(err)
		}
	}
	w.g.stop()
	w.g = newGateway(w.t, w.store, dir, w.g.opts.Gateway)
	for name, s := range w.volumes {
		h, err := volume.Find(context.Background(), w.store, name)
		if err != nil {
			rt.Fatal(err)
		}
		s.v = w.g.open(h)
		w.expect(name, s.v, s.model)
	}
}

// copyTree copies files that may be changed and deleted meanwhile.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || d.Name() == "LOCK" {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(target, body, 0o600)
	})
}

func (w *world) collect(rt *rapid.T) {
	if _, err := w.collector.Collect(context.Background()); err != nil {
		rt.Fatal(err)
	}
}

// check reads all volumes and all snapshots from the bucket alone, on a gateway with an empty disk.
func (w *world) check() {
	for _, s := range w.volumes {
		if err := s.v.Detach(context.Background()); err != nil {
			w.rt.Fatal(err)
		}
	}
	w.g.stop()
	w.made++
	w.g = newGateway(w.t, w.store, w.t.TempDir(), fmt.Sprint("gw", w.made))
	for name, s := range w.volumes {
		h, err := volume.Find(context.Background(), w.store, name)
		if err != nil {
			w.rt.Fatal(err)
		}
		s.v = w.g.open(h)
		w.expect(name, s.v, s.model)
	}
	for name, k := range w.snapshots {
		w.add(&k.root, k.model)
		clone := fmt.Sprint("v", w.made)
		w.expect(name, w.volumes[clone].v, k.model)
		if err := w.volumes[clone].v.Abandon(context.Background()); err != nil {
			w.rt.Fatal(err)
		}
		if err := volume.Delete(context.Background(), w.store, clone); err != nil {
			w.rt.Fatal(err)
		}
		delete(w.volumes, clone)
	}
}

func (w *world) expect(what string, v *volume.Volume, model []byte) {
	got := make([]byte, size)
	if err := v.Read(context.Background(), got, 0, true); err != nil {
		w.rt.Fatalf("%s: %v", what, err)
	}
	if !bytes.Equal(got, model) {
		w.rt.Fatalf("%s reads as something else", what)
	}
}

func newWorld(t testing.TB, rt *rapid.T) *world {
	w := &world{
		t: t, rt: rt, store: memory.New(), volumes: map[string]*served{}, snapshots: map[string]*kept{},
		rnd: rand.New(rand.NewPCG(1, rapid.Uint64().Draw(rt, "seed"))),
	}
	w.g = newGateway(t, w.store, t.TempDir(), "gw")
	w.collector = gc.New(gc.Options{Store: w.store, Logger: slog.New(slog.DiscardHandler), Snapshots: func(context.Context) ([]blockmap.Root, error) {
		var roots []blockmap.Root
		for _, k := range w.snapshots {
			roots = append(roots, k.root)
		}
		return roots, nil
	}})
	return w
}

// objects counts what the collector may delete.
func objects(t testing.TB, store object.Store) (n int) {
	for info, err := range store.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != "writers.json" {
			n++
		}
	}
	return n
}

// TestNothingNeededIsDeleted makes volumes, snapshots and clones, changes and deletes them in random order, and
// collects in between. All that is left reads as it must, and when all is deleted the bucket is empty.
func TestNothingNeededIsDeleted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		defer func() { w.g.stop() }()
		w.create(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"create": w.create, "write": w.write, "write2": w.write, "write3": w.write, "copy": w.copy, "snapshot": w.snapshot, "snapshot2": w.snapshot,
			"clone": w.clone, "delete snapshot": w.deleteSnapshot, "delete volume": w.deleteVolume, "reopen": w.reopen, "crash": w.crash,
			"collect": w.collect, "collect2": w.collect, "remember": w.remember, "go back": w.goBack, "read": w.read, "read2": w.read,
		})
		w.collect(rt)
		w.check()
		clear(w.snapshots)
		for len(w.volumes) > 0 {
			w.deleteVolume(rt)
		}
		w.collect(rt)
		if n := objects(t, w.store); n > 0 {
			rt.Fatalf("%d objects are left when all is deleted", n)
		}
	})
}

// TestSpaceComesBack overwrites a volume many times: the bucket does not grow with it.
func TestSpaceComesBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		defer func() { w.g.stop() }()
		w.begin(volume.New{Name: "v"}, make([]byte, size))
		_, s := pick(rt, w.volumes)
		for range 5 {
			for off := int64(0); off < size; off += mib {
				p := bytes.Repeat([]byte{byte(w.rnd.Uint32())}, mib)
				if err := s.v.Write(context.Background(), [][]byte{p}, []int64{off}, true); err != nil {
					rt.Fatal(err)
				}
				copy(s.model[off:], p)
			}
			w.reopen(rt) // a root
			w.collect(rt)
		}
		// head, name, segment, root
		if n := objects(t, w.store); n > 5 {
			rt.Fatalf("%d objects for one segment's worth of data", n)
		}
		w.check()
		w.deleteVolume(rt)
	})
}

// TestDoubt shows that a head that cannot be read stops everything.
func TestDoubt(t *testing.T) {
	store := memory.New()
	c := gc.New(gc.Options{Store: store, Logger: slog.New(slog.DiscardHandler), Snapshots: func(context.Context) ([]blockmap.Root, error) { return nil, nil }})
	put := func(key string) {
		if _, err := store.Put(context.Background(), key, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	put("segments/01/0000008000001")
	put("segments/readme")
	put("volumes/5f0c3a52-4a0f-4f40-9c57-3a3f3c5b9b6a/head.json")
	if _, err := c.Collect(context.Background()); err == nil || objects(t, store) != 3 {
		t.Fatalf("a damaged head: %v, %d objects are left", err, objects(t, store))
	}
	if err := store.Delete(context.Background(), "volumes/5f0c3a52-4a0f-4f40-9c57-3a3f3c5b9b6a/head.json"); err != nil {
		t.Fatal(err)
	}
	rep, err := c.Collect(context.Background())
	if err != nil || rep.Deleted != 1 || objects(t, store) != 1 {
		t.Fatalf("%+v, %v: only the segment that no volume has is garbage", rep, err)
	}
}

// TestHorizon shows that garbage is deleted when a second pass finds it again, not sooner.
func TestHorizon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		c := gc.New(gc.Options{
			Store: store, Horizon: time.Hour, Logger: slog.New(slog.DiscardHandler),
			Snapshots: func(context.Context) ([]blockmap.Root, error) { return nil, nil },
		})
		if _, err := store.Put(context.Background(), "segments/01/0000008000001", nil); err != nil {
			t.Fatal(err)
		}
		for pass, want := range []int{1, 1, 0} { // at the beginning, after 59 minutes, after 118
			if _, err := c.Collect(context.Background()); err != nil {
				t.Fatal(err)
			}
			if n := objects(t, store); n != want {
				t.Fatalf("%d objects are left after pass %d, and should be %d", n, pass+1, want)
			}
			time.Sleep(59 * time.Minute)
		}
	})
}

// TestCloneWhileCollecting makes a clone of a snapshot and deletes that while the collector is at work: when it lists the snapshots
// that one is gone, and when it read the heads the clone was not there.
func TestCloneWhileCollecting(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	g := newGateway(t, store, t.TempDir(), "gw")
	defer func() { g.stop() }()
	h, err := volume.Create(ctx, store, volume.New{Name: "v", Size: size, Mode: volume.Cached})
	if err != nil {
		t.Fatal(err)
	}
	v := g.open(h)
	want := bytes.Repeat([]byte{7}, mib)
	if err := v.Write(ctx, [][]byte{want}, []int64{0}, true); err != nil {
		t.Fatal(err)
	}
	hold, err := v.Hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cut := hold.Cut()
	hold.Release()
	root, err := cut.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cut.Close()
	if err := v.Abandon(ctx); err != nil {
		t.Fatal(err)
	}
	if err := volume.Delete(ctx, store, "v"); err != nil {
		t.Fatal(err)
	}
	var clone *volume.Head
	c := gc.New(gc.Options{Store: store, Logger: slog.New(slog.DiscardHandler), Snapshots: func(context.Context) (roots []blockmap.Root, err error) {
		clone, err = volume.Create(ctx, store, volume.New{Name: "clone", Size: size, Mode: volume.Cached, Root: &root})
		return nil, err
	}})
	if _, err := c.Collect(ctx); err != nil {
		t.Fatal(err)
	}
	if v, err = volume.Open(ctx, clone.ID, g.opts, false); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, mib)
	if err := v.Read(ctx, got, 0, true); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the clone lost its data: %v", err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

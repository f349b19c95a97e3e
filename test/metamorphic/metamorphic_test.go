package metamorphic

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/volume"
	"sluice/volume/stored"
)

// TestMain keeps the test short unless more is asked for.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "10"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func (w *world) create(*rapid.T) {
	if len(w.volumes) < 5 {
		w.add(volume.New{}, make([]byte, size))
	}
}

// part draws a range in sectors.
func (w *world) part(rt *rapid.T) (off, n int64) {
	off = rapid.Int64Range(0, size/512-1).Draw(rt, "sector") * 512
	n = rapid.SampledFrom([]int64{512, 4096, 65536, 65536 + 512, mib}).Draw(rt, "bytes")
	return off, min(n, size-off)
}

func (w *world) write(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	off, n := w.part(rt)
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(w.rnd.Uint32())
	}
	w.must(s.disk.Write(context.Background(), [][]byte{p}, []int64{off}, true))
	copy(s.model[off:], p)
}

func (w *world) zero(rt *rapid.T) {
	if _, s := pick(rt, w.volumes); s != nil {
		off, n := w.part(rt)
		w.must(s.disk.Zero(context.Background(), off, n, rapid.Bool().Draw(rt, "unmap")))
		clear(s.model[off : off+n])
	}
}

func (w *world) flush(rt *rapid.T) {
	if _, s := pick(rt, w.volumes); s != nil {
		w.must(s.disk.Flush(context.Background()))
	}
}

func (w *world) read(rt *rapid.T) {
	if _, s := pick(rt, w.volumes); s != nil {
		w.expect(s.name, s.disk, s.model)
	}
}

// begin notes a moment.
func (w *world) cut(d disk) moment {
	ctx := context.Background()
	if v, ok := d.(*volume.Volume); ok {
		h, err := v.Hold(ctx)
		w.must(err)
		defer h.Release()
		return h.Cut()
	}
	h, err := d.(*stored.Volume).Hold(ctx)
	w.must(err)
	defer h.Release()
	return h.Cut()
}

// snapshot takes one while the volume changes.
func (w *world) snapshot(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	cut, then := w.cut(s.disk), slices.Clone(s.model)
	off, n := w.part(rt)
	w.must(s.disk.Zero(context.Background(), off, n, true))
	clear(s.model[off : off+n])
	root, err := cut.Finish(context.Background())
	w.must(err)
	w.made++
	w.snapshots[fmt.Sprint("s", w.made)] = &kept{root, then}
	cut.Close()
}

func (w *world) clone(rt *rapid.T) {
	if _, k := pick(rt, w.snapshots); k != nil && len(w.volumes) < 6 {
		w.add(volume.New{Root: &k.root}, k.model)
	}
}

// remember notes what a cached volume is like at a moment that it can go back to.
func (w *world) remember(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil {
		return
	}
	if v, ok := s.disk.(*volume.Volume); ok {
		w.must(v.Upload(context.Background()))
		s.was[v.Head().Published] = slices.Clone(s.model)
	}
}

func (w *world) goBack(rt *rapid.T) {
	_, s := pick(rt, w.volumes)
	if s == nil || len(s.was) == 0 || len(w.volumes) > 5 {
		return
	}
	h := s.disk.(*volume.Volume).Head()
	moments, err := volume.Moments(context.Background(), w.store, h, time.Now(), 1000)
	if errors.Is(err, volume.ErrNoPast) && h.Window == 0 {
		return
	}
	w.must(err)
	m := rapid.SampledFrom(moments).Draw(rt, "moment")
	past, err := volume.At(context.Background(), w.store, h, m.Time)
	w.must(err)
	if model := s.was[past.Position]; model != nil {
		back := w.add(volume.New{Mode: volume.Cached, Past: past}, model)
		w.expect("back", back.disk, model)
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
	w.must(s.disk.Abandon(context.Background()))
	w.must(volume.Delete(context.Background(), w.store, name))
	delete(w.volumes, name)
}

func (w *world) detach(rt *rapid.T) {
	if _, s := pick(rt, w.volumes); s != nil {
		w.must(s.disk.Detach(context.Background()))
		s.disk = w.open(s.head)
	}
}

func (w *world) collect(*rapid.T) {
	_, err := w.collector.Collect(context.Background())
	w.must(err)
}

// restart closes the gateway in order, and goes on.
func (w *world) restart(*rapid.T) {
	for _, s := range w.volumes {
		w.must(s.disk.Close())
	}
	w.stop()
	w.begin(w.dir, w.opts.Boot)
	w.openAll()
}

// crash goes on with a copy of the data directory.
func (w *world) crash(*rapid.T) {
	dir := w.copyTree(w.dir)
	for _, s := range w.volumes {
		w.must(s.disk.Close())
	}
	w.stop()
	w.begin(dir, w.opts.Boot)
	w.openAll()
}

func (w *world) openAll() {
	for _, s := range w.volumes {
		s.disk = w.open(s.head)
		w.expect(s.name, s.disk, s.model)
	}
}

// move gives everything up and goes on with another gateway that has an empty disk.
func (w *world) move(*rapid.T) {
	for _, s := range w.volumes {
		w.must(s.disk.Detach(context.Background()))
	}
	w.stop()
	w.gateways++
	w.begin(w.t.TempDir(), "boot")
	w.openAll()
}

// TestMetamorphic is the whole story; see the package's documentation.
func TestMetamorphic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		defer func() { w.stop() }()
		w.create(rt)
		w.create(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"create": w.create, "write": w.write, "write2": w.write, "write3": w.write, "zero": w.zero, "flush": w.flush, "read": w.read,
			"snapshot": w.snapshot, "snapshot2": w.snapshot, "clone": w.clone, "remember": w.remember, "go back": w.goBack,
			"delete snapshot": w.deleteSnapshot, "delete volume": w.deleteVolume, "detach": w.detach,
			"collect": w.collect, "collect2": w.collect, "restart": w.restart, "crash": w.crash, "move": w.move,
		})
		w.collect(rt)
		w.move(rt)
		for _, k := range w.snapshots {
			w.expect("snapshot", w.add(volume.New{Root: &k.root}, k.model).disk, k.model)
		}
		clear(w.snapshots)
		for len(w.volumes) > 0 {
			w.deleteVolume(rt)
		}
		w.collect(rt)
		for info, err := range w.bucket.List(context.Background(), "", "") {
			w.must(err)
			if info.Key != "writers.json" {
				rt.Fatalf("%s is left when all is deleted", info.Key)
			}
		}
	})
}

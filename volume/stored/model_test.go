package stored_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/stored"
)

const size = 4 * mib

// world is a stored volume, its clones, and what all of them must read as.
type world struct {
	t     testing.TB
	rt    *rapid.T
	store *memory.Store
	g     *gateway
	h     *volume.Head
	v     *stored.Volume
	model []byte
	boots int
	made  int
	cut   *stored.Cut // not finished yet
	then  []byte      // what it must hold
	roots []blockmap.Root
	was   [][]byte
}

func (w *world) write(rt *rapid.T) {
	off := rapid.Int64Range(0, size/512-1).Draw(rt, "sector") * 512
	n := min(rapid.SampledFrom([]int64{512, 4096, chunk, 3*chunk + 512, mib}).Draw(rt, "bytes"), size-off)
	p := bytes.Repeat([]byte{rapid.Byte().Draw(rt, "byte")}, int(n))
	write(w.rt, w.v, off, p)
	copy(w.model[off:], p)
}

func (w *world) zero(rt *rapid.T) {
	off := rapid.Int64Range(0, size/512-1).Draw(rt, "sector") * 512
	n := min(rapid.SampledFrom([]int64{512, 4096, chunk, mib}).Draw(rt, "bytes"), size-off)
	if err := w.v.Zero(context.Background(), off, n, true); err != nil {
		rt.Fatal(err)
	}
	clear(w.model[off : off+n])
}

func (w *world) flush(rt *rapid.T) {
	if err := w.v.Flush(context.Background()); err != nil {
		rt.Fatal(err)
	}
}

func (w *world) begin(*rapid.T) {
	if w.cut == nil {
		w.cut, w.then = cutNow(w.rt, w.v), slices.Clone(w.model)
	}
}

func (w *world) finish(*rapid.T) {
	if w.cut == nil {
		return
	}
	root := finish(w.rt, w.cut)
	w.g.expectRoot(w.store, root, w.then)
	w.roots, w.was = append(w.roots, root), append(w.was, w.then)
	w.cut = nil
}

func (w *world) giveUp(*rapid.T) {
	if w.cut != nil {
		w.cut.Close()
		w.cut = nil
	}
}

func (w *world) reopen(*rapid.T) {
	w.giveUp(nil)
	closeVolume(w.rt, w.v)
	w.v = w.g.open(w.h.ID)
}

// crash goes on with a copy of the data directory: as after kill -9, or after a loss of power that took with it all marks that
// were not synced.
func (w *world) crash(rt *rapid.T) {
	reboot := rapid.Bool().Draw(rt, "reboot")
	if reboot {
		if err := w.v.Flush(context.Background()); err != nil { // the data is there
			rt.Fatal(err)
		}
	}
	dir := copyTree(w.t, w.g.opts.Dir)
	if reboot {
		loseMarks(w.t, dir, w.h.ID)
	}
	w.reopenIn(dir, reboot)
}

// loseMarks does to a data directory what a loss of power may do to marks that are not synced.
func loseMarks(t testing.TB, dir string, id uuid.UUID) {
	t.Helper()
	for _, name := range []string{"dirty.0", "dirty.1"} {
		if err := os.Truncate(filepath.Join(dir, id.String(), name), 4096); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) reopenIn(dir string, reboot bool) {
	w.giveUp(nil)
	closeVolume(w.rt, w.v)
	w.g.stop()
	boot := w.g.opts.Boot
	w.g = newGateway(w.t, w.store, dir, w.g.opts.Gateway)
	w.g.opts.Boot = boot
	if reboot {
		w.boots++
		w.g.opts.Boot = fmt.Sprint("reboot-", w.boots)
	}
	w.v = w.g.open(w.h.ID)
	expect(w.rt, w.v, w.model)
}

// restore goes on with a volume that begins as one of the snapshots, on another gateway.
func (w *world) restore(rt *rapid.T) {
	if len(w.roots) == 0 {
		return
	}
	w.giveUp(nil)
	i := rapid.IntRange(0, len(w.roots)-1).Draw(rt, "which")
	closeVolume(w.rt, w.v)
	w.g.stop()
	w.made++
	w.h = create(w.t, w.store, volume.New{Name: fmt.Sprint("clone", w.made), Size: size, Root: &w.roots[i]})
	w.g = newGateway(w.t, w.store, w.t.TempDir(), fmt.Sprint("gw", w.made))
	if err := stored.Place(w.g.opts.Dir, w.h.ID, stored.Placement{Rate: int64(rapid.SampledFrom([]int{1, 0}).Draw(rt, "rate"))}); err != nil {
		rt.Fatal(err)
	}
	w.v = w.g.open(w.h.ID)
	w.model = slices.Clone(w.was[i])
}

func (w *world) check(rt *rapid.T) {
	off := rapid.Int64Range(0, size/512-1).Draw(rt, "sector") * 512
	p := make([]byte, min(chunk, size-off))
	if err := w.v.Read(context.Background(), p, off, true); err != nil {
		rt.Fatal(err)
	}
	same(w.rt, p, w.model[off:off+int64(len(p))])
}

// TestModel drives a stored volume at random and compares it, and every snapshot of it, with a model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: t, rt: rt, store: memory.New(), model: make([]byte, size)}
		w.g = newGateway(t, w.store, t.TempDir(), "gw")
		w.h = create(t, w.store, volume.New{Size: size})
		w.v = w.g.open(w.h.ID)
		rt.Repeat(map[string]func(*rapid.T){
			"write": w.write, "write2": w.write, "write3": w.write, "zero": w.zero, "flush": w.flush, "read": w.check,
			"cut": w.begin, "finish": w.finish, "finish2": w.finish, "give up": w.giveUp, "reopen": w.reopen, "crash": w.crash, "restore": w.restore,
		})
		w.finish(rt)
		expect(rt, w.v, w.model)
		for i, root := range w.roots {
			w.g.expectRoot(w.store, root, w.was[i])
		}
		closeVolume(t, w.v)
		w.g.stop()
	})
}

// TestFlushAfterKill writes to a volume that is not all here yet; the process dies, the next one is told to flush, and then the power
// fails: that flush was for what the dead process had acknowledged.
func TestFlushAfterKill(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	old, model := bytes.Repeat([]byte{1}, size), bytes.Repeat([]byte{1}, size)
	a := newGateway(t, store, t.TempDir(), "a")
	defer a.stop()
	v := a.open(create(t, store, volume.New{Size: size}).ID)
	write(t, v, 0, old)
	root := finish(t, cutNow(t, v))
	closeVolume(t, v)

	b := newGateway(t, store, t.TempDir(), "b")
	defer b.stop()
	h := create(t, store, volume.New{Name: "clone", Size: size, Root: &root})
	if err := stored.Place(b.opts.Dir, h.ID, stored.Placement{Rate: 1}); err != nil {
		t.Fatal(err)
	}
	v = b.open(h.ID)
	write(t, v, mib, old[:mib/2])
	write(t, v, 2*mib, bytes.Repeat([]byte{2}, mib))
	copy(model[2*mib:], bytes.Repeat([]byte{2}, mib))
	killed := copyTree(t, b.opts.Dir)
	closeVolume(t, v)
	b.opts.Dir = killed
	v = b.open(h.ID)
	if err := v.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	dark := copyTree(t, b.opts.Dir)
	closeVolume(t, v)
	loseMarks(t, dark, h.ID)
	b.opts.Dir, b.opts.Boot = dark, "boot-2"
	v = b.open(h.ID)
	expect(t, v, model)
	closeVolume(t, v)
}

// TestDetach gives a volume up and attaches it elsewhere: all of it is there. The first gateway's data is old from then on.
func TestDetach(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	a := newGateway(t, store, t.TempDir(), "a")
	defer a.stop()
	b := newGateway(t, store, t.TempDir(), "b")
	defer b.stop()
	h := create(t, store, volume.New{Size: size})
	v := a.open(h.ID)
	model := bytes.Repeat([]byte("stored"), size/6+1)[:size]
	write(t, v, 0, model)
	if _, err := stored.Open(ctx, h.ID, b.opts, false); !errors.Is(err, volume.ErrOwned) {
		t.Fatalf("attached twice: %v", err)
	}
	if _, err := stored.Open(ctx, h.ID, b.opts, true); !errors.Is(err, stored.ErrNoData) {
		t.Fatalf("served without any data: %v", err)
	}
	if err := v.Detach(ctx); err != nil {
		t.Fatal(err)
	}
	w := b.open(h.ID)
	expect(t, w, model)
	copy(model, "changed")
	write(t, w, 0, append([]byte("changed"), model[7:512]...))
	if err := w.Detach(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := stored.Open(ctx, h.ID, a.opts, false); !errors.Is(err, stored.ErrStale) {
		t.Fatalf("old data was served: %v", err)
	}
	v, err := stored.Open(ctx, h.ID, a.opts, true)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, v, model)
	if err := v.Abandon(ctx); err != nil {
		t.Fatal(err)
	}
}

package stored_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/stored"
)

// smallDisk returns a directory on a file system of its own, of n bytes.
func smallDisk(t *testing.T, n string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+n); err != nil {
		t.Skipf("mounting a small file system, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk fills the file system of a volume with its own data: what does not fit fails, all else is as it was written, the
// marks have their room, and there is room again for what is zeroed.
func TestFullDisk(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	g := newGateway(t, store, smallDisk(t, "4m"), "gw")
	defer g.stop()
	h := create(t, store, volume.New{Size: 8 * mib})
	v := g.open(h.ID)
	model := make([]byte, 8*mib)
	refused := 0
	for off := int64(0); off < 8*mib; off += chunk {
		p := bytes.Repeat([]byte{byte(off/chunk + 1)}, chunk)
		err := v.Write(ctx, [][]byte{p}, []int64{off}, true)
		if err == nil {
			copy(model[off:], p)
			continue
		}
		if refused++; !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a write to a full disk: %v", err)
		}
		// Any part of it may be there.
		if err := v.Read(ctx, model[off:off+chunk], off, true); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Fatal("8 MiB fit into 4")
	}
	expect(t, v, model)
	if err := v.Zero(ctx, 0, mib, true); err != nil {
		t.Fatal(err)
	}
	clear(model[:mib])
	g.expectRoot(store, finish(t, cutNow(t, v)), model)
	write(t, v, 7*mib, bytes.Repeat([]byte{5}, 512<<10))
	copy(model[7*mib:], bytes.Repeat([]byte{5}, 512<<10))
	g.opts.Dir = copyTree(t, g.opts.Dir) // as kill -9 leaves it, on a larger disk
	closeVolume(t, v)
	v = g.open(h.ID)
	expect(t, v, model)
	g.expectRoot(store, finish(t, cutNow(t, v)), model)
	closeVolume(t, v)
}

// TestNoRoomAside overwrites a volume while a snapshot waits, until the disk is full: not the writes fail but the snapshot, and
// the next one is right. The data is on the same disk or on another one.
func TestNoRoomAside(t *testing.T) {
	for _, place := range []string{"same", "other"} {
		t.Run(place, func(t *testing.T) {
			ctx, store := context.Background(), memory.New()
			away := &outage{Store: store}
			g := newGateway(t, away, smallDisk(t, "6m"), "gw")
			defer g.stop()
			h := create(t, store, volume.New{Size: 8 * mib})
			used := int64(5 * mib)
			if place == "other" {
				path := filepath.Join(t.TempDir(), "disk")
				if err := stored.Place(g.opts.Dir, h.ID, stored.Placement{Path: path}); err != nil {
					t.Fatal(err)
				}
				used = 8 * mib
			}
			v := g.open(h.ID)
			model := make([]byte, 8*mib)
			fill := func(value byte, off, n int64) {
				p := bytes.Repeat([]byte{value}, int(n))
				write(t, v, off, p)
				copy(model[off:], p)
			}
			fill(1, 0, used)
			finish(t, cutNow(t, v))
			fill(2, 0, used)
			away.set(true)
			cut := cutNow(t, v) // it waits for the newest root, before it reads anything
			finished := make(chan error)
			go func() {
				_, err := cut.Finish(ctx)
				finished <- err
			}()
			if place == "same" { // there is room to keep some chunks, until the data itself needs it
				fill(3, 0, 512<<10)
				fill(4, used, 768<<10)
			} else {
				for off := int64(0); off < used; off += chunk {
					fill(3, off, chunk)
				}
			}
			if err := <-finished; !errors.Is(err, stored.ErrNoRoom) || !errors.Is(err, volume.ErrAborted) {
				t.Fatalf("a snapshot without room ended with: %v", err)
			}
			if _, err := cut.Finish(ctx); !errors.Is(err, volume.ErrAborted) {
				t.Fatalf("it was finished after all: %v", err)
			}
			expect(t, v, model)
			cut.Close()
			away.set(false)
			fill(5, mib, mib)
			g.expectRoot(store, finish(t, cutNow(t, v)), model)
			closeVolume(t, v)
			if _, err := os.Stat(filepath.Join(g.opts.Dir, h.ID.String(), "volume.json")); err != nil {
				t.Error(err)
			}
		})
	}
}

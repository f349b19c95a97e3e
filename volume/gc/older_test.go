package gc_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
)

// atHead is a store that does something before a head is written.
type atHead struct {
	object.Store
	before func()
}

func (s *atHead) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	if strings.HasSuffix(key, "/head.json") && s.before != nil {
		s.before()
	}
	return s.Store.PutIf(ctx, key, body, match)
}

// TestMapOlderThanTheRoot crashes a gateway whose local map has not seen the newest root yet, after the segments
// between the two were collected: the map is made anew from the root, not from them.
func TestMapOlderThanTheRoot(t *testing.T) {
	ctx, store := context.Background(), &atHead{Store: memory.New()}
	dir, old := t.TempDir(), t.TempDir()
	g := newGateway(t, store, dir, "gw")
	h, err := volume.Create(ctx, store, volume.New{Name: "v", Size: size, Mode: volume.Cached})
	if err != nil {
		t.Fatal(err)
	}
	fill := func(v *volume.Volume, b byte) {
		t.Helper()
		if err := v.Write(ctx, [][]byte{bytes.Repeat([]byte{b}, 4096)}, []int64{0}, true); err != nil {
			t.Fatal(err)
		}
		if err := v.Upload(ctx); err != nil {
			t.Fatal(err)
		}
	}
	v := g.open(h)
	fill(v, 1)
	if err := v.Close(); err != nil { // a checkpoint
		t.Fatal(err)
	}
	v = g.open(h)
	for b := range byte(3) { // the first of them is checkpointed
		fill(v, 2+b)
	}
	store.before = func() { // the last moment before the root is published: no checkpoint has seen it
		if err := copyTree(old, dir); err != nil {
			t.Error(err)
		}
	}
	hold, err := v.Hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cut := hold.Cut()
	hold.Release()
	if _, err := cut.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	cut.Close()
	store.before = nil
	c := gc.New(gc.Options{Store: store, Logger: slog.New(slog.DiscardHandler), Snapshots: func(context.Context) ([]blockmap.Root, error) { return nil, nil }})
	if rep, err := c.Collect(ctx); err != nil || rep.Deleted != 3 {
		t.Fatalf("%+v, %v: three segments are garbage", rep, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	g.stop()

	if err := os.RemoveAll(filepath.Join(old, "segments")); err != nil { // as if all were evicted
		t.Fatal(err)
	}
	g = newGateway(t, store, old, "gw")
	defer g.stop()
	v = g.open(h)
	p := make([]byte, 4096)
	if err := v.Read(ctx, p, 0, true); err != nil || p[0] != 4 {
		t.Fatalf("reads %d: %v", p[0], err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

package volume_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"sluice/cache"
	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/blockmap"
)

const mib = 1 << 20

// gateway is what a volume needs around it: an index, a cache and a buffer in one data
// directory.
type gateway struct {
	t     testing.TB
	dir   string
	name  string
	store object.Store
	db    *badger.DB
	cache *cache.Cache
	opts  volume.Options
	v     *volume.Volume
}

type gatewayOptions struct {
	name   string
	dir    string
	cache  int64
	buffer int64
}

func newGateway(t testing.TB, store object.Store, o gatewayOptions) *gateway {
	t.Helper()
	if o.name == "" {
		o.name = "gw-a"
	}
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if o.cache == 0 {
		o.cache = 64 * mib
	}
	if o.buffer == 0 {
		o.buffer = 256 * mib
	}
	g := &gateway{t: t, dir: o.dir, name: o.name, store: store}
	log := slog.New(slog.DiscardHandler)
	var err error
	g.db, err = blockmap.OpenAnew(filepath.Join(o.dir, "index"), log)
	if err != nil {
		t.Fatal(err)
	}
	g.cache, err = cache.Open(cache.Options{
		Dir: filepath.Join(o.dir, "segments"), DB: g.db, Source: store, Bytes: o.cache, Logger: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.opts = volume.Options{
		Store: store, DB: g.db, Cache: g.cache, Buffer: volume.NewBuffer(o.buffer),
		Gateway: o.name, Host: "test", Boot: "boot-1", Logger: log,
	}
	return g
}

func (g *gateway) attach(h *volume.Head, force bool) *volume.Volume {
	g.t.Helper()
	v, err := volume.Open(context.Background(), h.ID, g.opts, force)
	if err != nil {
		g.t.Fatal(err)
	}
	g.v = v
	return v
}

// stop closes everything in order.
func (g *gateway) stop() {
	g.t.Helper()
	if g.v != nil {
		if err := g.v.Close(); err != nil {
			g.t.Fatal(err)
		}
	}
	g.abandon()
}

// abandon closes the gateway's files without closing the volume in order.
func (g *gateway) abandon() {
	g.t.Helper()
	if err := g.cache.Close(); err != nil {
		g.t.Fatal(err)
	}
	if err := g.db.Close(); err != nil {
		g.t.Fatal(err)
	}
}

// crashed returns a copy of the data directory as kill -9 would leave it at this moment.
func (g *gateway) crashed() string {
	g.t.Helper()
	to := g.t.TempDir()
	err := filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(g.dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		body, err := os.ReadFile(path)
		if os.IsNotExist(err) || d.Name() == "LOCK" {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), body, 0o600)
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return to
}

func create(t testing.TB, store object.Store, size int64) *volume.Head {
	t.Helper()
	h, err := volume.Create(context.Background(), store, volume.New{Name: "vol", Size: size, Mode: volume.Cached})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func write(t testing.TB, v *volume.Volume, off int64, p []byte) {
	t.Helper()
	if err := v.Write(context.Background(), [][]byte{p}, []int64{off}, true); err != nil {
		t.Fatal(err)
	}
}

// expect reads and compares.
func expect(t testing.TB, v *volume.Volume, off int64, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if err := v.Read(context.Background(), got, off, true); err != nil {
		t.Fatal(err)
	}
	if i := firstDifference(got, want); i >= 0 {
		t.Fatalf("byte %d is %#x and should be %#x", off+int64(i), got[i], want[i])
	}
}

func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func newStore(t testing.TB) *memory.Store {
	t.Helper()
	return memory.New()
}

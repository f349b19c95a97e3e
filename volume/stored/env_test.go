package stored_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/target/sbc"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/stored"
)

const (
	mib   = 1 << 20
	chunk = stored.ChunkSize
)

var _ sbc.Disk = (*stored.Volume)(nil)

// gateway is a data directory for stored volumes.
type gateway struct {
	t    testing.TB
	opts stored.Options
	stop func()
}

func newGateway(t testing.TB, store object.Store, dir, name string) *gateway {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := blockmap.OpenDB(filepath.Join(t.TempDir(), "index"), log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(cache.Options{Dir: t.TempDir(), DB: db, Source: store, Bytes: 64 * mib, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, opts: stored.Options{Store: store, Cache: c, Dir: dir, Gateway: name, Host: "test", Boot: "boot-1", Logger: log, Patience: time.Minute}}
	g.stop = func() {
		for _, closer := range []func() error{c.Close, db.Close} {
			if err := closer(); err != nil {
				t.Error(err)
			}
		}
	}
	return g
}

func (g *gateway) open(id uuid.UUID) *stored.Volume {
	g.t.Helper()
	v, err := stored.Open(context.Background(), id, g.opts, false)
	if err != nil {
		g.t.Fatal(err)
	}
	return v
}

// failer is a test, or one try of a property of it.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func create(t testing.TB, store object.Store, n volume.New) *volume.Head {
	t.Helper()
	n.Mode = volume.Stored
	if n.Name == "" {
		n.Name = "vol"
	}
	h, err := volume.Create(context.Background(), store, n)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func closeVolume(t failer, v interface{ Close() error }) {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

func write(t failer, v *stored.Volume, off int64, p []byte) {
	t.Helper()
	if err := v.Write(context.Background(), [][]byte{p}, []int64{off}, true); err != nil {
		t.Fatal(err)
	}
}

type reader interface {
	Read(ctx context.Context, p []byte, off int64, wait bool) error
}

func expect(t failer, v reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if err := v.Read(context.Background(), got, 0, true); err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
}

func same(t failer, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %d (of chunk %d) is %#x and should be %#x", i, i/chunk, got[i], want[i])
		}
	}
}

func cutNow(t failer, v *stored.Volume) *stored.Cut {
	t.Helper()
	h, err := v.Hold(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	return h.Cut()
}

func finish(t failer, c *stored.Cut) blockmap.Root {
	t.Helper()
	root, err := c.Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return root
}

// expectRoot reads a root from the bucket alone.
func (g *gateway) expectRoot(store object.Store, root blockmap.Root, want []byte) {
	g.t.Helper()
	view, err := volume.OpenView(context.Background(), root, int64(len(want)), volume.Options{Store: store, Cache: g.opts.Cache, Logger: g.opts.Logger})
	if err != nil {
		g.t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := view.Read(context.Background(), got, 0); err != nil {
		g.t.Fatal(err)
	}
	same(g.t, got, want)
}

// copyTree copies a data directory as kill -9 leaves it at this moment. Meanwhile content may arrive in the background, so
// what says that it is there is copied first.
func copyTree(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	var first, last []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if d.Name() == "present" || d.Name() == "volume.json" {
			first = append(first, path)
		} else {
			last = append(last, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(first, last...) {
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(target), 0o700)
		}
		if err == nil {
			err = os.WriteFile(target, body, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

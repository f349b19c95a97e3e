package blockmap

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/volume/segment"
)

// copyIndex copies an index that is in use, as kill -9 would leave it.
func copyIndex(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(filepath.Join(from, "*"))
	must(t, err)
	for _, f := range files {
		if filepath.Base(f) != "LOCK" {
			b, err := os.ReadFile(f)
			must(t, err, os.WriteFile(filepath.Join(to, filepath.Base(f)), b, 0o600))
		}
	}
	return to
}

// What a checkpoint covers survives the process; what came later is not required to.
func TestCheckpointOnDisk(t *testing.T) {
	dir := t.TempDir()
	db := diskDB(t, dir)
	defer func() { must(t, db.Close()) }()
	m := open(t, db, 1, Options{})
	want := blocks{}
	for i := range uint64(3000) { // more than one memtable's worth of pages
		crcs := crcsFor(int(i), pageBlocks)
		must(t, m.Set(t.Context(), i*pageBlocks, name1+segment.Name(i*pageBlocks), crcs))
		want.set(i*pageBlocks, name1+segment.Name(i*pageBlocks), crcs)
	}
	must(t, m.Checkpoint(t.Context(), 42))
	must(t, m.Set(t.Context(), 1<<20, name1, crcsFor(1, 1)))

	db2 := diskDB(t, copyIndex(t, dir))
	defer func() { must(t, db2.Close()) }()
	m2 := open(t, db2, 1, Options{})
	if pos, ok := m2.Position(); pos != 42 || !ok {
		t.Errorf("position %s, %v", pos, ok)
	}
	if got, want := m2.Stats().DirtyPages, int64(3000); got != want {
		t.Errorf("%d pages are dirty, want %d", got, want)
	}
	want.check(t, m2, [][2]uint64{{0, 3001 * pageBlocks}})
	must(t, m.Close(), m2.Close())
}

// An index that lost a table, or has rubbish in its manifest, is ErrCorrupt; one that cannot
// be opened for another reason is not.
func TestOpenDBErrors(t *testing.T) {
	dir := t.TempDir()
	db := diskDB(t, dir)
	m := open(t, db, 1, Options{})
	must(t, m.Set(t.Context(), 0, name1, crcsFor(1, 1)), m.Checkpoint(t.Context(), 1), m.Close())
	_, busy := OpenDB(dir, slog.New(slog.DiscardHandler))
	must(t, db.Close())
	notDir := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(notDir, nil, 0o600))
	_, file := OpenDB(filepath.Join(notDir, "index"), slog.New(slog.DiscardHandler))
	for what, err := range map[string]error{"in use": busy, "below a file": file} {
		if err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, harm := range map[string]func(dir string) error{
		"table lost": func(dir string) error {
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatalf("no tables: %v", err)
			}
			return os.Remove(tables[0])
		},
		"manifest": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "MANIFEST"), []byte("rubbish, certainly"), 0o600)
		},
	} {
		bad := copyIndex(t, dir)
		must(t, harm(bad))
		if db, err := OpenDB(bad, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				must(t, db.Close())
			}
		}
		anew, err := OpenAnew(bad, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, ok := open(t, anew, 1, Options{}).Position(); ok {
			t.Errorf("%s: the new index has a position", what)
		}
		must(t, anew.Close())
		if kept, err := filepath.Glob(bad + ".damaged-*/MANIFEST"); err != nil || len(kept) != 1 {
			t.Errorf("%s: kept are %q, %v", what, kept, err)
		}
	}
}

// Volumes in one index do not see each other, and Drop takes one of them only.
func TestDrop(t *testing.T) {
	db := testDB(t)
	a, b := open(t, db, 1, Options{}), open(t, db, 2, Options{})
	must(t, a.Set(t.Context(), 0, name1, crcsFor(1, 600)), a.Checkpoint(t.Context(), 1), a.Close())
	must(t, b.Set(t.Context(), 0, name1, crcsFor(2, 600)), b.Checkpoint(t.Context(), 2), b.Close())
	must(t, Drop(db, [16]byte{1}))
	if _, ok := open(t, db, 1, Options{}).Position(); ok {
		t.Error("a dropped map has a position")
	}
	blocks{}.check(t, open(t, db, 1, Options{}), [][2]uint64{{0, 1000}})
	want := blocks{}
	want.set(0, name1, crcsFor(2, 600))
	want.check(t, open(t, db, 2, Options{}), [][2]uint64{{0, 1000}})
}

// The settings that the design relies on.
func TestDBOptions(t *testing.T) {
	o := dbOptions("/x")
	got := map[string]any{"sync": o.SyncWrites, "memtable": o.MemTableSize, "inline": o.ValueThreshold > maxPageBytes, "cache": o.IndexCacheSize}
	want := map[string]any{"sync": false, "memtable": int64(8 << 20), "inline": true, "cache": int64(16 << 20)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

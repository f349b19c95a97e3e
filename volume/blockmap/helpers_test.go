package blockmap

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"sluice/volume/segment"
)

// testDB opens an index in memory, with the settings of the real one otherwise.
func testDB(t testing.TB) *badger.DB {
	t.Helper()
	o := dbOptions("").WithInMemory(true).WithLogger(bridge{slog.New(slog.DiscardHandler)})
	db, err := badger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// diskDB opens an index in a directory.
func diskDB(t testing.TB, dir string) *badger.DB {
	t.Helper()
	db, err := OpenDB(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func open(t testing.TB, db *badger.DB, vol byte, opts Options) *Map {
	t.Helper()
	m, err := Open(db, [16]byte{vol}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// must fails the test at the first error.
func must(t fataler, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%v", err)
	}
}

// blocks is the simplest block map there is.
type blocks map[uint64]segment.Entry

func (b blocks) set(block uint64, first segment.Name, crcs []uint32) {
	for i, crc := range crcs {
		b[block+uint64(i)] = segment.Entry{Name: first + segment.Name(i), CRC: crc}
	}
}

func (b blocks) clear(block, count uint64) {
	maps.DeleteFunc(b, func(k uint64, _ segment.Entry) bool { return k >= block && k-block < count })
}

// check compares a map with the model, in the given ranges (start, count).
func (b blocks) check(t fataler, m *Map, ranges [][2]uint64) {
	t.Helper()
	for _, r := range ranges {
		out := make([]segment.Entry, r[1])
		must(t, m.Lookup(context.Background(), r[0], out, true))
		for i, got := range out {
			if want := b[r[0]+uint64(i)]; got != want {
				t.Fatalf("block %d: %+v, want %+v", r[0]+uint64(i), got, want)
			}
		}
	}
}

// crcsFor makes up n checksums that tell blocks apart.
func crcsFor(seed, n int) []uint32 {
	crcs := make([]uint32, n)
	for i := range crcs {
		crcs[i] = uint32(seed*2654435761 + i*40503)
	}
	return crcs
}

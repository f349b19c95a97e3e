package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"sluice/object/memory"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// world is a volume of which only the bucket is real: segments, made as an uploader makes them, and roots that name their
// blocks. It remembers what each block holds.
type world struct {
	store   *memory.Store
	m       *blockmap.Map
	size    int64
	seq     uint32
	entries map[uint64]segment.Entry
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func openDB(t testing.TB) *badger.DB {
	t.Helper()
	db, err := blockmap.OpenDB(t.TempDir(), slog.New(slog.DiscardHandler))
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

// newWorld returns an empty volume of so many blocks.
func newWorld(t fataler, db *badger.DB, blocks int64) *world {
	t.Helper()
	w := &world{store: memory.New(), size: blocks * segment.BlockSize, entries: map[uint64]segment.Entry{}}
	var err error
	if w.m, err = blockmap.Open(db, uuid.New(), blockmap.Options{Store: w.store, CacheBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	return w
}

// write writes one segment that holds runs of blocks: pairs of the first block and their number.
func (w *world) write(t fataler, runs ...uint64) segment.ID {
	t.Helper()
	w.seq++
	id := segment.NewID(1, w.seq)
	var l segment.Layout
	file := make([]byte, segment.SlotOffset(0))
	slot := uint32(0)
	for i := 0; i < len(runs); i += 2 {
		e := segment.Extent{Op: segment.OpWrite, Run: segment.Run{Start: runs[i], Count: uint32(runs[i+1])}, Slot: slot}
		for b := runs[i]; b < e.End(); b++ {
			block := content(b, w.seq)
			file = append(file, block...)
			e.CRCs = append(e.CRCs, segment.Checksum(block))
			w.entries[b] = segment.Entry{Name: segment.NewName(id, slot), CRC: segment.Checksum(block)}
			slot++
		}
		l.Live = append(l.Live, e)
		if err := w.m.Set(context.Background(), e.Start, segment.NewName(id, e.Slot), e.CRCs); err != nil {
			t.Fatal(err)
		}
	}
	body, err := segment.NewBuilder(segment.BuilderOptions{}).Encode(nil, segment.Header{ID: id, Epoch: 1}, &l, bytes.NewReader(file))
	if err == nil {
		_, err = w.store.Put(context.Background(), id.Key(), body)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// name gives blocks new names, in a segment that is not in the bucket.
func (w *world) name(t fataler, block uint64, n int) {
	t.Helper()
	w.seq++
	if err := w.m.Set(context.Background(), block, segment.NewName(segment.NewID(1, w.seq), 0), make([]uint32, n)); err != nil {
		t.Fatal(err)
	}
}

// content is what a block holds after the write of a sequence number: half of it does not compress.
func content(block uint64, seq uint32) []byte {
	b := make([]byte, segment.BlockSize)
	x := block<<20 + uint64(seq)
	for i := 0; i < len(b)/2; i += 8 {
		x = x*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(b[i:], x^x>>29)
	}
	return b
}

// copy gives blocks the names of others, as a copy inside the volume does.
func (w *world) copy(t fataler, from, to, n uint64) {
	t.Helper()
	for i := range n {
		e := w.entries[from+i]
		if err := w.m.Set(context.Background(), to+i, e.Name, []uint32{e.CRC}); err != nil {
			t.Fatal(err)
		}
		w.entries[to+i] = e
	}
}

func (w *world) unmap(t fataler, block, n uint64) {
	t.Helper()
	if err := w.m.Clear(context.Background(), block, n); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(w.entries, func(k uint64, _ segment.Entry) bool { return k >= block && k-block < n })
}

// snapshot keeps this moment.
func (w *world) snapshot(t fataler) *Snapshot {
	t.Helper()
	w.seq++
	f := w.m.Freeze(segment.NewID(1, w.seq))
	root, err := f.WriteRoot(context.Background(), w.store, fmt.Sprintf("volumes/v/roots/000001-%d", w.seq))
	if err != nil {
		t.Fatal(err)
	}
	f.Done()
	return &Snapshot{Format: 1, ID: uuid.New(), VolumeName: "demo", Mode: "cached", Size: w.size, Root: root}
}

func (w *world) body(t fataler, key string) []byte {
	t.Helper()
	body, _, err := w.store.GetRange(context.Background(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (w *world) put(t fataler, key string, body []byte) {
	t.Helper()
	if _, err := w.store.Put(context.Background(), key, body); err != nil {
		t.Fatal(err)
	}
}

// blocksOf returns the blocks of the volume that a segment holds.
func (w *world) blocksOf(id segment.ID) map[uint64]bool {
	out := map[uint64]bool{}
	for b, e := range w.entries {
		if e.Name.Segment() == id {
			out[b] = true
		}
	}
	return out
}

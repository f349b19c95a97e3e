package scrub_test

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/object/memory"
	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

const (
	block = segment.BlockSize
	size  = 4 << 20
)

// scene is the bucket of a volume with a snapshot and a segment behind its root, and what both are to read as.
type scene struct {
	t     *testing.T
	store *memory.Store
	cache *cache.Cache // of the gateway that wrote it all
	empty *cache.Cache // for the reader of the bucket alone
	head  *volume.Head
	snap  *snapshot.Snapshot

	then, now []byte // content at the snapshot, and with the segment behind it

	named    segment.ID // that the snapshot and the volume's root name
	replayed segment.ID // that is behind the root
}

func newScene(t *testing.T) *scene { return newPastScene(t, 0) }

// newPastScene returns a scene of a volume whose past is kept for a time: all of its segments are to be replayed.
func newPastScene(t *testing.T, window time.Duration) *scene {
	t.Helper()
	s := &scene{t: t, store: memory.New(), now: make([]byte, size)}
	db, c := newCache(t, s.store)
	s.cache = c
	_, s.empty = newCache(t, s.store)
	log := slog.New(slog.DiscardHandler)
	ctx := t.Context()
	h, err := volume.Create(ctx, s.store, volume.New{Name: "demo", Size: size, Mode: volume.Cached, Window: window})
	s.check(err)
	v, err := volume.Open(ctx, h.ID, volume.Options{
		Store: s.store, DB: db, Cache: c, Buffer: volume.NewBuffer(64 << 20), Gateway: "gw", Host: "test", Boot: "boot", Logger: log,
	}, false)
	s.check(err)

	s.write(v, 0, 100)
	s.write(v, 300, 60)
	s.check(v.Copy(ctx, 500*block, 10*block, 5*block))
	copy(s.now[500*block:], s.now[10*block:15*block])
	s.snap = s.snapshot(v, h.ID)
	s.then = bytes.Clone(s.now)
	s.named = segment.NewID(s.snap.Root.Position.Writer(), 1)

	s.write(v, 40, 70)
	s.check(v.Zero(ctx, 310*block, 20*block, true))
	clear(s.now[310*block : 330*block])
	s.check(v.Upload(ctx))
	s.replayed = v.Head().Published
	s.check(v.Close())
	s.head, err = volume.Find(ctx, s.store, "demo")
	s.check(err)
	if s.head.Root == nil || s.head.Root.Position != s.snap.Root.Position || s.replayed <= s.named {
		t.Fatalf("not the scene that the tests expect: %+v", s.head)
	}
	return s
}

// newCache returns an empty cache.
func newCache(t *testing.T, store object.Store) (*badger.DB, *cache.Cache) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := blockmap.OpenDB(t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(cache.Options{Dir: t.TempDir(), DB: db, Source: store, Bytes: 64 << 20, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, closer := range []func() error{c.Close, db.Close} {
			if err := closer(); err != nil {
				t.Error(err)
			}
		}
	})
	return db, c
}

func (s *scene) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// write writes so many blocks, half of each random.
func (s *scene) write(v *volume.Volume, first, n int) {
	s.t.Helper()
	p := s.now[first*block : (first+n)*block]
	r := rand.NewChaCha8([32]byte{byte(first), byte(n)})
	for b := 0; b < len(p); b += block {
		_, _ = r.Read(p[b : b+block/2])
	}
	s.check(v.Write(context.Background(), [][]byte{p}, []int64{int64(first) * block}, true))
}

func (s *scene) snapshot(v *volume.Volume, id uuid.UUID) *snapshot.Snapshot {
	s.t.Helper()
	h, err := v.Hold(s.t.Context())
	s.check(err)
	cut := h.Cut()
	h.Release()
	defer cut.Close()
	root, err := cut.Finish(s.t.Context())
	s.check(err)
	snap := &snapshot.Snapshot{
		Format: 1, ID: uuid.New(), Volume: id, VolumeName: "demo", Mode: string(volume.Cached), Size: size, Root: root, Created: cut.Time(),
	}
	s.check(snapshot.NewCatalogue(s.store).Put(s.t.Context(), snap))
	return snap
}

func (s *scene) body(key string) []byte {
	s.t.Helper()
	body, _, err := s.store.GetRange(context.Background(), key, 0, -1)
	s.check(err)
	return body
}

// put stores an object; nil: it is deleted.
func (s *scene) put(key string, body []byte) {
	s.t.Helper()
	if body == nil {
		s.check(s.store.Delete(context.Background(), key))
		return
	}
	_, err := s.store.Put(context.Background(), key, body)
	s.check(err)
}

// unreadable returns the blocks of the snapshot that cannot be read from the bucket alone. Those that can be must be right.
func (s *scene) unreadable() map[int64]bool {
	s.t.Helper()
	s.check(s.empty.Discard(s.named, s.replayed))
	view, err := volume.OpenView(s.t.Context(), s.snap.Root, size, volume.Options{Store: s.store, Cache: s.empty, Logger: slog.New(slog.DiscardHandler)})
	s.check(err)
	out := map[int64]bool{}
	p := make([]byte, block)
	for off := int64(0); off < size; off += block {
		if view.Read(s.t.Context(), p, off) != nil {
			out[off/block] = true
		} else if !bytes.Equal(p, s.then[off:off+block]) {
			s.t.Errorf("block %d is wrong", off/block)
		}
	}
	return out
}

// replays tells whether the volume can be opened from the bucket alone as what it was. It may be opened as what it was at the root.
func (s *scene) replays() bool {
	s.t.Helper()
	db, c := newCache(s.t, s.store)
	v, err := volume.Open(s.t.Context(), s.head.ID, volume.Options{
		Store: s.store, DB: db, Cache: c, Buffer: volume.NewBuffer(64 << 20), Gateway: "other", Host: "test", Boot: "boot", Logger: slog.New(slog.DiscardHandler),
	}, true)
	if err != nil {
		return false
	}
	defer func() { s.check(v.Close()) }()
	p := make([]byte, block)
	for off := int64(0); off < size; off += block {
		if err := v.Read(s.t.Context(), p, off, true); err != nil {
			return false
		}
		if !bytes.Equal(p, s.now[off:off+block]) {
			if !bytes.Equal(p, s.then[off:off+block]) {
				s.t.Errorf("block %d is wrong in the opened volume", off/block)
			}
			return false
		}
	}
	return true
}

// blocksOf returns the blocks of ranges.
func blocksOf(ranges []verify.Lost) map[int64]bool {
	out := map[int64]bool{}
	for _, l := range ranges {
		for off := l.Offset; off < l.Offset+l.Length; off += block {
			out[off/block] = true
		}
	}
	return out
}

// clone returns a copy of the bucket.
func (s *scene) clone() *memory.Store {
	s.t.Helper()
	out := memory.New()
	for info, err := range s.store.List(context.Background(), "", "") {
		s.check(err)
		_, err := out.Put(context.Background(), info.Key, s.body(info.Key))
		s.check(err)
	}
	return out
}

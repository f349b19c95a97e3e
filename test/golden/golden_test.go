package golden

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/object/memory"
	"sluice/scrub"
	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// options are those of a gateway that never saw the bucket.
func options(t *testing.T, store object.Store) volume.Options {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := blockmap.OpenDB(t.TempDir(), log)
	check(t, err)
	c, err := cache.Open(cache.Options{Dir: t.TempDir(), DB: db, Source: store, Bytes: 64 << 20, Logger: log})
	check(t, err)
	t.Cleanup(func() {
		for _, closer := range []func() error{c.Close, db.Close} {
			if err := closer(); err != nil {
				t.Error(err)
			}
		}
	})
	return volume.Options{
		Store: store, DB: db, Cache: c, Buffer: volume.NewBuffer(64 << 20), Gateway: "golden", Host: "test", Boot: "boot", Logger: log,
	}
}

// load returns the bucket of an archive.
func load(t *testing.T, path string) *memory.Store {
	t.Helper()
	body, err := os.ReadFile(path)
	check(t, err)
	zip, err := gzip.NewReader(bytes.NewReader(body))
	check(t, err)
	store := memory.New()
	for files := tar.NewReader(zip); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return store
		}
		check(t, err)
		body, err := io.ReadAll(files)
		check(t, err)
		_, err = store.Put(t.Context(), header.Name, body)
		check(t, err)
	}
}

// buckets returns the names of all golden buckets.
func buckets(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("testdata/*.tar.gz")
	check(t, err)
	if len(list) == 0 {
		t.Fatal("there is no golden bucket")
	}
	for i, path := range list {
		list[i] = strings.TrimSuffix(path, ".tar.gz")
	}
	return list
}

// TestBuckets reads all of each golden bucket, in every way in which it may be read.
func TestBuckets(t *testing.T) {
	for _, path := range buckets(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			body, err := os.ReadFile(path + ".json")
			check(t, err)
			var want contents
			check(t, json.Unmarshal(body, &want))
			store := load(t, path+".tar.gz")
			r := reader{t, store, options(t, store)}
			r.checkAll(want)
			r.snapshots(want.Snapshots)
			r.moments(want.Moments)
			r.volumes(want.Volumes)
		})
	}
}

// reader reads a bucket.
type reader struct {
	t     *testing.T
	store *memory.Store
	opts  volume.Options
}

// checkAll looks at every object.
func (r *reader) checkAll(want contents) {
	rep, err := scrub.Run(r.t.Context(), scrub.Options{Store: r.store, Orphans: true, Logger: r.opts.Logger})
	check(r.t, err)
	if !rep.OK() || rep.Volumes != len(want.Volumes) || rep.Snapshots != len(want.Snapshots) || rep.Points < 2 {
		r.t.Errorf("%+v", rep)
	}
	schedules, err := snapshot.NewSchedules(r.store).List(r.t.Context())
	if err != nil || len(schedules) == 0 {
		r.t.Errorf("%d schedules: %v", len(schedules), err)
	}
	thinned := 0
	for info, err := range r.store.List(r.t.Context(), "segments/", "") {
		check(r.t, err)
		id, _ := segment.ParseKey(info.Key)
		h, err := segment.FetchHeader(r.t.Context(), r.store, id)
		check(r.t, err)
		if h.Thinned {
			thinned++
		}
	}
	if thinned < want.Thinned {
		r.t.Errorf("%d thinned segments instead of %d", thinned, want.Thinned)
	}
}

func (r *reader) snapshots(want map[string]string) {
	for id, sha := range want {
		s, err := snapshot.NewCatalogue(r.store).Get(r.t.Context(), uuid.MustParse(id))
		check(r.t, err)
		view, err := volume.OpenView(r.t.Context(), s.Root, s.Size, r.opts)
		check(r.t, err)
		p := make([]byte, s.Size)
		check(r.t, view.Read(r.t.Context(), p, 0))
		if got := sum(p); got != sha {
			r.t.Errorf("snapshot %s has the sum %s instead of %s", id, got, sha)
		}
	}
}

// moments makes a volume of each moment of the past.
func (r *reader) moments(want []pastMoment) {
	for i, m := range want {
		h, err := volume.Find(r.t.Context(), r.store, m.Volume)
		check(r.t, err)
		past, err := volume.At(r.t.Context(), r.store, h, m.Time)
		check(r.t, err)
		name := fmt.Sprint("past", i)
		_, err = volume.Create(r.t.Context(), r.store, volume.New{Name: name, Size: h.Size, Mode: volume.Cached, Past: past})
		check(r.t, err)
		r.volume(name, m.SHA256)
	}
}

func (r *reader) volumes(want map[string]string) {
	for name, sha := range want {
		r.volume(name, sha)
	}
}

func (r *reader) volume(name, sha string) {
	r.t.Helper()
	h, err := volume.Find(r.t.Context(), r.store, name)
	check(r.t, err)
	v, err := volume.Open(r.t.Context(), h.ID, r.opts, true)
	if err != nil {
		r.t.Errorf("volume %s: %v", name, err)
		return
	}
	p := make([]byte, v.Size())
	for off := int64(0); off < v.Size(); off += 1 << 20 {
		check(r.t, v.Read(r.t.Context(), p[off:off+1<<20], off, true))
	}
	if got := sum(p); got != sha {
		r.t.Errorf("volume %s has the sum %s instead of %s", name, got, sha)
	}
	check(r.t, v.Detach(context.Background()))
}

// TestNewer shows that each object of a later version is refused by whoever reads it, with a line that says why.
func TestNewer(t *testing.T) {
	path := buckets(t)[0] + ".tar.gz"
	for name, test := range map[string]struct {
		change func(t *testing.T, store *memory.Store, h *volume.Head, s *snapshot.Snapshot)
		read   func(t *testing.T, store *memory.Store, h *volume.Head, s *snapshot.Snapshot) error
		says   string
	}{
		"bucket": {
			func(t *testing.T, store *memory.Store, _ *volume.Head, _ *snapshot.Snapshot) {
				put(t, store, "format.json", []byte(`{"format":2}`))
			},
			func(t *testing.T, store *memory.Store, _ *volume.Head, _ *snapshot.Snapshot) error {
				return volume.ClaimFormat(t.Context(), store, "test")
			}, "format.json has format 2 and this sluice knows formats up to 1: use a newer sluice",
		},
		"head": {
			func(t *testing.T, store *memory.Store, h *volume.Head, _ *snapshot.Snapshot) {
				bump(t, store, "volumes/"+h.ID.String()+"/head.json", 4)
			}, openDisk, "head.json has format 4 and this sluice knows formats up to 3: use a newer sluice",
		},
		"snapshot": {
			func(t *testing.T, store *memory.Store, _ *volume.Head, s *snapshot.Snapshot) {
				bump(t, store, "snapshots/"+s.ID.String()+".json", 2)
			},
			func(t *testing.T, store *memory.Store, _ *volume.Head, s *snapshot.Snapshot) error {
				_, err := snapshot.NewCatalogue(store).Get(t.Context(), s.ID)
				return err
			}, "has format 2 and this sluice knows formats up to 1: use a newer sluice",
		},
		"root": {
			func(t *testing.T, store *memory.Store, h *volume.Head, _ *snapshot.Snapshot) {
				newerRoot(t, store, h)
			}, openDisk, "it has format version 2; this program reads version 1: unknown format version: was it written by a newer program?",
		},
		"segment": {
			func(t *testing.T, store *memory.Store, h *volume.Head, _ *snapshot.Snapshot) {
				for id := range h.Behind(h.Root.Position) {
					t.Fatal("published ", id) // else it would be the one to change
				}
				id := h.Root.Position.Next()
				body := get(t, store, id.Key())
				body[8] = segment.ObjectVersion + 1
				put(t, store, id.Key(), body)
			}, openDisk, "version 3: unknown format version: was it written by a newer program?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := load(t, path)
			h, err := volume.Find(t.Context(), store, "disk")
			check(t, err)
			list, err := snapshot.NewCatalogue(store).List(t.Context())
			check(t, err)
			test.change(t, store, h, list[0])
			if err := test.read(t, store, h, list[0]); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v; it should say %q", err, test.says)
			}
		})
	}
}

func openDisk(t *testing.T, store *memory.Store, h *volume.Head, _ *snapshot.Snapshot) error {
	v, err := volume.Open(t.Context(), h.ID, options(t, store), true)
	if err == nil {
		check(t, v.Close())
	}
	return err
}

func get(t *testing.T, store *memory.Store, key string) []byte {
	t.Helper()
	body, _, err := store.GetRange(t.Context(), key, 0, -1)
	check(t, err)
	return body
}

func put(t *testing.T, store *memory.Store, key string, body []byte) {
	t.Helper()
	_, err := store.Put(t.Context(), key, body)
	check(t, err)
}

// bump raises the format of a record.
func bump(t *testing.T, store *memory.Store, key string, format int) {
	t.Helper()
	put(t, store, key, bytes.Replace(get(t, store, key), []byte(`"format": 1`), fmt.Appendf(nil, `"format": %d`, format), 1))
}

// newerRoot raises the version of a volume's newest root, and has the head name it with its new checksum.
func newerRoot(t *testing.T, store *memory.Store, h *volume.Head) {
	t.Helper()
	object := get(t, store, h.Root.Key)
	root := object[h.Root.Offset:][:h.Root.Length]
	root[0]++
	put(t, store, h.Root.Key, object)
	key := "volumes/" + h.ID.String() + "/head.json"
	var record map[string]json.RawMessage
	check(t, json.Unmarshal(get(t, store, key), &record))
	changed := *h.Root
	changed.CRC = crc32.Checksum(root, crc32.MakeTable(crc32.Castagnoli))
	var err error
	record["root"], err = json.Marshal(changed)
	check(t, err)
	body, err := json.Marshal(record)
	check(t, err)
	put(t, store, key, body)
}

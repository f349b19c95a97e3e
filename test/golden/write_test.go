package golden

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/dir"
	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
	"sluice/volume/segment"
)

var write = flag.String("write", "", "write a bucket of this name, which there must not be yet")

// contents say what is to be found in a bucket.
type contents struct {
	Volumes   map[string]string `json:"volumes"`   // name: SHA-256
	Snapshots map[string]string `json:"snapshots"` // ID: SHA-256
	Moments   []pastMoment      `json:"moments"`
	Thinned   int               `json:"thinned"` // segments
}

type pastMoment struct {
	Volume string    `json:"volume"`
	Time   time.Time `json:"time"`
	SHA256 string    `json:"sha256"`
}

const (
	block = segment.BlockSize
	size  = 8 << 20
)

func sum(p []byte) string {
	h := sha256.Sum256(p)
	return hex.EncodeToString(h[:])
}

// TestWrite writes a bucket, if it is told to, but never in the place of one that is there.
func TestWrite(t *testing.T) {
	if err := free(buckets(t)[0]); err == nil {
		t.Fatal("a bucket would be overwritten")
	}
	if *write == "" {
		return
	}
	path := filepath.Join("testdata", *write)
	archive, list := path+".tar.gz", path+".json"
	check(t, free(path))
	root := t.TempDir()
	store, err := dir.Open(root)
	check(t, err)
	a := author{t: t, store: store, found: contents{Volumes: map[string]string{}, Snapshots: map[string]string{}}}
	a.write()
	check(t, store.Close())
	check(t, os.WriteFile(archive, pack(t, root), 0o644))
	body, err := json.MarshalIndent(a.found, "", "  ")
	check(t, err)
	check(t, os.WriteFile(list, append(body, '\n'), 0o644))
}

// free returns an error if there is a bucket of that path.
func free(path string) error {
	for _, suffix := range []string{".tar.gz", ".json"} {
		if _, err := os.Stat(path + suffix); err == nil {
			return fmt.Errorf("%s is there: golden buckets are not written again", path+suffix)
		}
	}
	return nil
}

// author writes a bucket.
type author struct {
	t     *testing.T
	store object.Store
	found contents
}

// work is a volume that is being written.
type work struct {
	a     *author
	name  string
	v     *volume.Volume
	model []byte
}

func (a *author) write() {
	ctx := a.t.Context()
	check(a.t, volume.ClaimFormat(ctx, a.store, "sluice"))
	disk := a.begin(volume.New{Name: "disk", Window: 2 * time.Minute}, make([]byte, size))
	disk.write(0, 30)
	disk.write(500, 10)
	check(a.t, disk.v.Copy(ctx, 1000*block, 3*block, 7*block))
	copy(disk.model[1000*block:], disk.model[3*block:10*block])
	disk.remember()
	check(a.t, disk.v.Zero(ctx, 10*block, 5*block, false))
	check(a.t, disk.v.Zero(ctx, 505*block, 100*block, true))
	clear(disk.model[10*block : 15*block])
	clear(disk.model[505*block : 605*block])
	snap, then := disk.snapshot(), bytes.Clone(disk.model)
	disk.remember()
	disk.write(5, 12)
	disk.remember()

	clone := a.begin(volume.New{Name: "clone", Root: &snap.Root, Origin: &volume.Origin{Volume: "disk", Snapshot: snap.ID, Time: snap.Created}}, then)
	clone.write(700, 3)
	clone.write(2, 2)
	clone.end()
	disk.write(1500, 4) // behind the newest root
	check(a.t, disk.v.Upload(ctx))
	a.found.Volumes["disk"] = sum(disk.model)
	check(a.t, disk.v.Abandon(ctx)) // as a gateway that is gone leaves it

	thinned := a.begin(volume.New{Name: "thinned"}, make([]byte, size))
	thinned.write(0, 48)
	thinned.root()
	thinned.write(4, 40)
	thinned.end()
	a.collect()
	check(a.t, snapshot.NewSchedules(a.store).Put(ctx, &snapshot.Schedule{
		Volume: thinned.v.ID(), Every: snapshot.Duration(24 * time.Hour), Zone: "UTC",
	}))
}

func (a *author) begin(n volume.New, model []byte) *work {
	n.Size, n.Mode = size, volume.Cached
	h, err := volume.Create(a.t.Context(), a.store, n)
	check(a.t, err)
	v, err := volume.Open(a.t.Context(), h.ID, options(a.t, a.store), false)
	check(a.t, err)
	return &work{a, n.Name, v, model}
}

// write writes so many blocks, half of each random.
func (w *work) write(first, n int) {
	w.a.t.Helper()
	p := w.model[first*block : (first+n)*block]
	r := rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, w.name, first, n)))
	for b := 0; b < len(p); b += block {
		_, _ = r.Read(p[b : b+block/2])
	}
	check(w.a.t, w.v.Write(context.Background(), [][]byte{p}, []int64{int64(first) * block}, true))
}

// root has a root written.
func (w *work) root() blockmap.Root {
	w.a.t.Helper()
	h, err := w.v.Hold(w.a.t.Context())
	check(w.a.t, err)
	cut := h.Cut()
	h.Release()
	defer cut.Close()
	root, err := cut.Finish(w.a.t.Context())
	check(w.a.t, err)
	return root
}

func (w *work) snapshot() *snapshot.Snapshot {
	s := &snapshot.Snapshot{
		ID: uuid.New(), Volume: w.v.ID(), VolumeName: w.name, Mode: string(volume.Cached), Size: size, Root: w.root(),
		Created: time.Now().UTC(), Description: "golden", Tags: map[string]string{"a": "b"},
	}
	check(w.a.t, snapshot.NewCatalogue(w.a.store).Put(w.a.t.Context(), s))
	w.a.found.Snapshots[s.ID.String()] = sum(w.model)
	return s
}

// remember makes the present a moment that can be gone back to, and a root a while later.
func (w *work) remember() {
	w.a.t.Helper()
	check(w.a.t, w.v.Upload(w.a.t.Context()))
	time.Sleep(1100 * time.Millisecond) // moments are told apart by their times, and roots are kept so far apart
	w.a.found.Moments = append(w.a.found.Moments, pastMoment{w.name, time.Now().UTC(), sum(w.model)})
	w.root()
}

func (w *work) end() {
	w.a.found.Volumes[w.name] = sum(w.model)
	check(w.a.t, w.v.Detach(w.a.t.Context()))
}

// collect collects garbage until segments are thinned.
func (a *author) collect() {
	records := snapshot.NewCatalogue(a.store)
	c := gc.New(gc.Options{Store: a.store, Logger: slog.New(slog.DiscardHandler), Snapshots: func(ctx context.Context) ([]blockmap.Root, error) {
		list, err := records.List(ctx)
		var roots []blockmap.Root
		for _, s := range list {
			roots = append(roots, s.Root)
		}
		return roots, err
	}})
	for range 10 {
		rep, err := c.Collect(a.t.Context())
		check(a.t, err)
		a.found.Thinned += rep.Thinned
	}
	if a.found.Thinned == 0 {
		a.t.Fatal("no segment was thinned")
	}
}

// pack makes an archive of the objects under a directory.
func pack(t *testing.T, root string) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	files := tar.NewWriter(zip)
	store, err := dir.Open(root)
	check(t, err)
	defer func() { check(t, store.Close()) }()
	for info, err := range store.List(t.Context(), "", "") {
		check(t, err)
		body, _, err := store.GetRange(t.Context(), info.Key, 0, -1)
		check(t, err)
		check(t, files.WriteHeader(&tar.Header{Name: info.Key, Size: int64(len(body)), Mode: 0o644, ModTime: info.ModTime}))
		_, err = files.Write(body)
		check(t, err)
	}
	check(t, files.Close())
	check(t, zip.Close())
	return out.Bytes()
}

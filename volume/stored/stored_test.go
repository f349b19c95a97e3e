package stored_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/stored"
)

// TestWritersDuringSnapshot overwrites everything while snapshots are uploaded: each holds its moment.
func TestWritersDuringSnapshot(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	g := newGateway(t, store, t.TempDir(), "gw")
	defer g.stop()
	h := create(t, store, volume.New{Size: 4 * size})
	v := g.open(h.ID)
	defer closeVolume(t, v)
	var model sync.Map // of each sector, the newest value; a writer has sectors of its own
	stop := make(chan struct{})
	var writers sync.WaitGroup
	const sectors = 4 * size / 512
	for w := range 4 {
		writers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			for n := uint64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				sector := rnd.Int64N(sectors/4)*4 + int64(w)
				p := bytes.Repeat([]byte{byte(n), byte(w)}, 256)
				err := v.Write(ctx, [][]byte{p}, []int64{sector * 512}, n%2 == 0)
				if errors.Is(err, syscall.EAGAIN) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				model.Store(sector, p)
			}
		})
	}
	for range 5 {
		hold, err := v.Hold(ctx)
		if err != nil {
			t.Fatal(err)
		}
		then := make([]byte, 4*size) // writes wait, so the volume itself says what the moment is
		if err := v.Read(ctx, then, 0, true); err != nil {
			t.Fatal(err)
		}
		cut := hold.Cut()
		hold.Release()
		g.expectRoot(store, finish(t, cut), then)
	}
	close(stop)
	writers.Wait()
	want := make([]byte, 4*size)
	model.Range(func(sector, p any) bool {
		copy(want[sector.(int64)*512:], p.([]byte))
		return true
	})
	expect(t, v, want)
}

// TestIncremental shows that a snapshot uploads what changed, and nothing else.
func TestIncremental(t *testing.T) {
	store := memory.New()
	g := newGateway(t, store, t.TempDir(), "gw")
	defer g.stop()
	v := g.open(create(t, store, volume.New{Size: 64 * mib}).ID)
	defer closeVolume(t, v)
	rnd := rand.NewChaCha8([32]byte{})
	noise := func(n int) []byte {
		p := make([]byte, n)
		_, _ = rnd.Read(p)
		return p
	}
	write(t, v, 0, noise(32*mib))
	finish(t, cutNow(t, v))
	first := v.Stats().UploadedBytes
	write(t, v, 5*mib, noise(mib))
	cut := cutNow(t, v)
	if _, total := cut.Progress(); total != mib {
		t.Errorf("%d bytes changed, %d are to be uploaded", mib, total)
	}
	finish(t, cut)
	if n := v.Stats().UploadedBytes - first; n > mib*11/10 {
		t.Errorf("%d bytes were uploaded for a MiB", n)
	}
	before := v.Stats().UploadedBytes
	finish(t, cutNow(t, v))
	if n := v.Stats().UploadedBytes; n != before {
		t.Errorf("%d bytes were uploaded for nothing", n-before)
	}
}

// TestPlaces shows which files a new volume accepts.
func TestPlaces(t *testing.T) {
	const volumeSize = mib
	content := bytes.Repeat([]byte{7}, 4096)
	for name, c := range map[string]struct {
		there    []byte
		preserve bool
		fails    string
		reads    []byte
	}{
		"none":            {},
		"empty":           {there: []byte{}},
		"old data":        {there: content, fails: "not empty"},
		"preserved":       {there: content, preserve: true, reads: content},
		"too large":       {there: make([]byte, 2*mib), preserve: true, fails: "would be lost"},
		"preserved, none": {preserve: true},
	} {
		t.Run(name, func(t *testing.T) {
			store := memory.New()
			g := newGateway(t, store, t.TempDir(), "gw")
			defer g.stop()
			h := create(t, store, volume.New{Size: volumeSize})
			path := filepath.Join(t.TempDir(), "disk")
			if c.there != nil {
				if err := os.WriteFile(path, c.there, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := stored.Place(g.opts.Dir, h.ID, stored.Placement{Path: path, Preserve: c.preserve}); err != nil {
				t.Fatal(err)
			}
			v, err := stored.Open(context.Background(), h.ID, g.opts, false)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("error %v", err)
				}
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, c.there) {
					t.Fatalf("the file was changed: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer closeVolume(t, v)
			want := make([]byte, volumeSize)
			copy(want, c.reads)
			expect(t, v, want)
			g.expectRoot(store, finish(t, cutNow(t, v)), want) // what was preserved goes to the bucket, too
			if _, err := stored.Open(context.Background(), h.ID, g.opts, false); err == nil || !strings.Contains(err.Error(), "in use") {
				t.Fatalf("opened twice: %v", err)
			}
		})
	}
}

// TestBucketAway opens a volume while the bucket cannot be reached, serves it, and goes on with snapshots when the bucket is back.
func TestBucketAway(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	away := &outage{Store: store}
	g := newGateway(t, away, t.TempDir(), "gw")
	defer g.stop()
	h := create(t, store, volume.New{Size: size})
	v := g.open(h.ID)
	model := bytes.Repeat([]byte{1}, size)
	write(t, v, 0, model)
	away.set(true)
	cut := cutNow(t, v)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := cut.Finish(canceled); err == nil {
		t.Fatal("finished without a bucket")
	}
	cut.Close()
	closeVolume(t, v)
	v = g.open(h.ID)
	expect(t, v, model)
	write(t, v, 0, []byte(strings.Repeat("x", 512)))
	copy(model, strings.Repeat("x", 512))
	if v.Stats().UploadError == "" {
		t.Error("the status does not say that the bucket is away")
	}
	away.set(false)
	if err := stored.Reconcile(ctx, v); err != nil {
		t.Fatal(err)
	}
	g.expectRoot(store, finish(t, cutNow(t, v)), model)
	closeVolume(t, v)

	// Another gateway takes it over meanwhile: no I/O any more once that is known.
	away.set(true)
	v = g.open(h.ID)
	b := newGateway(t, store, t.TempDir(), "b")
	defer b.stop()
	w, err := stored.Open(ctx, h.ID, b.opts, true)
	if err != nil {
		t.Fatal(err)
	}
	defer closeVolume(t, w)
	expect(t, w, model)
	away.set(false)
	if err := stored.Reconcile(ctx, v); !errors.Is(err, volume.ErrOwned) {
		t.Fatalf("took it back: %v", err)
	}
	if err := v.Read(ctx, make([]byte, 512), 0, true); !errors.Is(err, volume.ErrLost) {
		t.Fatalf("I/O after another gateway took over: %v", err)
	}
	closeVolume(t, v)
}

// outage is a store that can be cut off.
type outage struct {
	object.Store
	mu  sync.Mutex
	off bool
}

func (o *outage) set(off bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.off = off
}

func (o *outage) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.off {
		return &object.Error{Op: object.OpGetRange, Err: errors.New("no route"), Transient: true}
	}
	return nil
}

func (o *outage) GetRange(ctx context.Context, key string, off, n int64) ([]byte, string, error) {
	if err := o.err(); err != nil {
		return nil, "", err
	}
	return o.Store.GetRange(ctx, key, off, n)
}

func (o *outage) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	if err := o.err(); err != nil {
		return "", err
	}
	return o.Store.PutIf(ctx, key, body, match)
}

// TestGrow grows a volume, also one that is not filled yet.
func TestGrow(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	g := newGateway(t, store, t.TempDir(), "gw")
	defer g.stop()
	v := g.open(create(t, store, volume.New{Size: mib}).ID)
	model := bytes.Repeat([]byte{3}, mib)
	write(t, v, 0, model)
	if err := v.Resize(ctx, 3*mib); err != nil {
		t.Fatal(err)
	}
	write(t, v, 2*mib, model)
	model = slices.Concat(model, make([]byte, mib), model)
	expect(t, v, model)
	root := finish(t, cutNow(t, v))
	g.expectRoot(store, root, model)
	closeVolume(t, v)

	h := create(t, store, volume.New{Name: "clone", Size: 3 * mib, Root: &root})
	if err := stored.Place(g.opts.Dir, h.ID, stored.Placement{Rate: 1}); err != nil {
		t.Fatal(err)
	}
	v = g.open(h.ID)
	if err := v.Resize(ctx, 5*mib); err != nil {
		t.Fatal(err)
	}
	model = append(model, make([]byte, 2*mib)...)
	expect(t, v, model)
	write(t, v, 5*mib-512, bytes.Repeat([]byte{9}, 512))
	copy(model[5*mib-512:], bytes.Repeat([]byte{9}, 512))
	if err := v.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	closeVolume(t, v)
	v = g.open(h.ID)
	expect(t, v, model)
	g.expectRoot(store, finish(t, cutNow(t, v)), model)
	closeVolume(t, v)
}

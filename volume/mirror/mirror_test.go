package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/cache"
	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/mirror"
	"sluice/volume/segment"
)

const mib = 1 << 20

// peer is a gateway's mirror for others, reached over HTTP.
type peer struct {
	store  *mirror.Store
	client *mirror.Client
	calls  atomic.Int64
	fail   atomic.Int64 // the number of the call whose answer is lost; 0: none
}

func newPeer(t *testing.T, limit int64) *peer {
	t.Helper()
	p := &peer{}
	var err error
	if p.store, err = mirror.OpenStore(filepath.Join(t.TempDir(), "mirror"), limit); err != nil {
		t.Fatal(err)
	}
	handler := mirror.Handler(p.store, slog.New(slog.DiscardHandler))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := p.calls.Add(1)
		if n == -p.fail.Load() { // the request is lost
			panic(http.ErrAbortHandler)
		}
		if n == p.fail.Load() { // the answer is
			handler.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.client = mirror.NewClient(server.URL, server.Client())
	return p
}

// away is a store that takes no segments while it is told so.
type away struct {
	object.Store
	on atomic.Bool
}

func (s *away) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	if s.on.Load() && bytes.HasPrefix([]byte(key), []byte("segments/")) {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.Store.PutIf(ctx, key, body, match)
}

// options are those of a gateway with a data directory.
func options(t *testing.T, store object.Store, dir, name string) volume.Options {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := blockmap.OpenDB(filepath.Join(dir, "index"), log)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(cache.Options{Dir: filepath.Join(dir, "segments"), DB: db, Source: store, Bytes: 64 * mib, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return volume.Options{
		Store: store, DB: db, Cache: c, Buffer: volume.NewBuffer(256 * mib), Gateway: name, Host: name, Boot: "boot", Logger: log,
	}
}

func open(t *testing.T, id uuid.UUID, o volume.Options, force bool) *volume.Volume {
	t.Helper()
	v, err := volume.Open(context.Background(), id, o, force)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func create(t *testing.T, store object.Store) *volume.Head {
	t.Helper()
	h, err := volume.Create(context.Background(), store, volume.New{Name: "v", Size: 32 * mib, Mode: volume.Cached, Durability: volume.OnPeer})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func write(t *testing.T, v *volume.Volume, off int64, p []byte) {
	t.Helper()
	if err := v.Write(context.Background(), [][]byte{p}, []int64{off}, true); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, v *volume.Volume) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := v.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// scene is a volume on gateway a, mirrored on gateway b, with a bucket that takes nothing from a.
type scene struct {
	t      *testing.T
	bucket *memory.Store
	far    *away
	peer   *peer
	head   *volume.Head
	dir    string
	a      volume.Options
	v      *volume.Volume
	model  []byte
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, bucket: memory.New(), peer: newPeer(t, 256*mib), dir: t.TempDir(), model: make([]byte, 32*mib)}
	s.far = &away{Store: s.bucket}
	s.head = create(t, s.bucket)
	s.a = options(t, s.far, s.dir, "a")
	s.a.Mirror = s.peer.client
	s.v = open(t, s.head.ID, s.a, false)
	s.far.on.Store(true)
	return s
}

func (s *scene) write(off int64, b byte, n int) {
	s.t.Helper()
	p := bytes.Repeat([]byte{b}, n)
	write(s.t, s.v, off, p)
	copy(s.model[off:], p)
}

// takeOver attaches the volume to b, which has nothing but the bucket and its mirror, and compares.
func (s *scene) takeOver() *volume.Volume {
	s.t.Helper()
	o := options(s.t, s.bucket, s.t.TempDir(), "b")
	o.Received = s.peer.store
	v := open(s.t, s.head.ID, o, true)
	got := make([]byte, len(s.model))
	if err := v.Read(context.Background(), got, 0, true); err != nil {
		s.t.Fatal(err)
	}
	for i := range got {
		if got[i] != s.model[i] {
			s.t.Fatalf("byte %d is %d and should be %d", i, got[i], s.model[i])
		}
	}
	return v
}

func closeAll(t *testing.T, volumes ...*volume.Volume) {
	t.Helper()
	for _, v := range volumes {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPeerHasWhatWasFlushed loses a gateway whose bucket was away: all that was flushed is on the peer.
func TestPeerHasWhatWasFlushed(t *testing.T) {
	s := newScene(t)
	s.write(0, 1, 8192)
	flush(t, s.v)
	s.write(4096, 2, 8192) // in the same segment
	flush(t, s.v)
	s.write(mib, 3, 12*mib) // over several
	flush(t, s.v)
	if err := s.v.Zero(context.Background(), 0, 4096, true); err != nil {
		t.Fatal(err)
	}
	copy(s.model, make([]byte, 4096))
	flush(t, s.v)
	write(t, s.v, 20*mib, bytes.Repeat([]byte{9}, 4096)) // never flushed
	b := s.takeOver()
	if used, _ := s.peer.store.Usage(); used > 4096 {
		t.Errorf("%d bytes are left in the mirror", used)
	}

	// The first one is fenced off: by its peer, whatever it knows of the bucket.
	write(t, s.v, 0, bytes.Repeat([]byte{8}, 4096))
	if err := s.v.Flush(context.Background()); !errors.Is(err, volume.ErrLost) {
		t.Errorf("the first gateway's flush was told %v", err)
	}
	closeAll(t, s.v, b)
}

// TestPeerAfterARestart restarts the first gateway before it is lost: the mirror is made anew, and never has less than was promised.
func TestPeerAfterARestart(t *testing.T) {
	s := newScene(t)
	s.write(0, 1, 3*mib)
	flush(t, s.v)
	closeAll(t, s.v)
	s.v = open(t, s.head.ID, s.a, false)
	s.write(mib, 2, 4096)
	flush(t, s.v)
	closeAll(t, s.takeOver(), s.v)
}

// TestPeerForgets lets the bucket take what was mirrored: the peer keeps little of it.
func TestPeerForgets(t *testing.T) {
	s := newScene(t)
	s.write(0, 1, 24*mib)
	flush(t, s.v)
	before, _ := s.peer.store.Usage()
	s.far.on.Store(false)
	closeAll(t, s.v) // uploads that hang are given up
	s.v = open(t, s.head.ID, s.a, false)
	if err := s.v.Upload(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.write(0, 2, 4096)
	flush(t, s.v)
	after, _ := s.peer.store.Usage()
	if before < 24*mib || after > mib {
		t.Errorf("the mirror had %d bytes, and %d when the bucket had all but a block", before, after)
	}
	if err := s.v.Detach(context.Background()); err != nil {
		t.Fatal(err)
	}
	if left, _ := s.peer.store.Usage(); left > 4096 {
		t.Errorf("of a detached volume %d bytes are left in the mirror", left)
	}
}

// TestEveryCallFails loses each request to the peer once, and each answer: flushes succeed all the same, and what they promise is there.
func TestEveryCallFails(t *testing.T) {
	for _, sign := range []int64{1, -1} {
		for n := int64(1); n <= 5; n++ {
			t.Run(fmt.Sprint(sign*n), func(t *testing.T) {
				t.Parallel()
				s := newScene(t)
				s.peer.fail.Store(sign * n)
				for i := range 4 {
					s.write(int64(i)*mib, byte(i+1), 4096<<i)
					flush(t, s.v)
				}
				s.write(5*mib, 7, 17*mib)
				flush(t, s.v)
				closeAll(t, s.takeOver(), s.v)
			})
		}
	}
}

// TestPeerAway has flushes wait for a peer that is gone, say so, and go on when somebody decides that the volume may be less durable.
func TestPeerAway(t *testing.T) {
	s := newScene(t)
	s.v.Close() //nolint:errcheck,gosec // it is opened again
	s.a.Mirror = mirror.NewClient("http://127.0.0.1:1", http.DefaultClient)
	s.v = open(t, s.head.ID, s.a, false)
	s.write(0, 1, 4096)
	brief, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := s.v.Flush(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with neither the peer nor the bucket, who gives up is told %v", err)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- s.v.Flush(context.Background()) }()
	for said := false; !said; time.Sleep(time.Millisecond) {
		for _, w := range s.v.Stats().Waiting {
			said = said || w.Work == volume.WorkMirror
		}
	}
	if err := s.v.SetDurability(context.Background(), volume.Local, false); err != nil {
		t.Fatal(err)
	}
	if err := <-flushed; err != nil {
		t.Errorf("the flush was told %v", err)
	}
	closeAll(t, s.v)
}

// TestBucketInsteadOfThePeer loses the peer, and then the gateway: flushes wait for the bucket, and what they promised is there.
func TestBucketInsteadOfThePeer(t *testing.T) {
	s := newScene(t)
	s.far.on.Store(false)
	closeAll(t, s.v)
	s.a.Mirror = mirror.NewClient("http://127.0.0.1:1", http.DefaultClient)
	s.v = open(t, s.head.ID, s.a, false)
	for i := range 3 {
		s.write(int64(i)*mib, byte(i+1), 8192)
		flush(t, s.v)
	}
	closeAll(t, s.takeOver(), s.v)
}

// TestMirrorIsBounded fills a mirror.
func TestMirrorIsBounded(t *testing.T) {
	p := newPeer(t, mib)
	a := volume.MirrorAppend{Volume: uuid.New(), Epoch: 1, Ranges: []volume.MirrorRange{{Segment: segment.NewID(1, 1), Offset: 0, Data: make([]byte, 3*mib)}}}
	if err := p.client.Append(t.Context(), a); err == nil || !bytes.Contains([]byte(err.Error()), []byte("full")) {
		t.Errorf("too much was told %v", err)
	}
	if used, limit := p.store.Usage(); used > limit {
		t.Errorf("%d bytes of %d are used", used, limit)
	}
	again, err := mirror.OpenStore(filepath.Join(t.TempDir(), "x"), mib)
	if err != nil {
		t.Fatal(err)
	}
	if used, _ := again.Usage(); used != 0 {
		t.Errorf("a new mirror has %d bytes", used)
	}
}

// TestStrangeRequests sends what no sender does.
func TestStrangeRequests(t *testing.T) {
	p := newPeer(t, mib)
	server := httptest.NewServer(mirror.Handler(p.store, slog.New(slog.DiscardHandler)))
	defer server.Close()
	id := uuid.New().String()
	for name, test := range map[string]struct {
		path, body string
		want       int
	}{
		"no volume":    {"/v1/mirror/x/1?published=0", "", http.StatusBadRequest},
		"no epoch":     {"/v1/mirror/" + id + "/x?published=0", "", http.StatusBadRequest},
		"no position":  {"/v1/mirror/" + id + "/1", "", http.StatusBadRequest},
		"half a range": {"/v1/mirror/" + id + "/1?published=0", "0123456789", http.StatusBadRequest},
		"garbage":      {"/v1/mirror/" + id + "/1?published=0", string(bytes.Repeat([]byte{0xff}, 100)), http.StatusBadRequest},
		"nothing":      {"/v1/mirror/" + id + "/1?published=0", "", http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := http.Post(server.URL+test.path, "", bytes.NewReader([]byte(test.body)))
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if text, _ := io.ReadAll(answer.Body); answer.StatusCode != test.want {
				t.Errorf("%s: %s", answer.Status, text)
			}
		})
	}
}

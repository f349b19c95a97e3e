package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (r *recorder) HoldVolume(ctx context.Context, volume string, q HoldRequest, use func(context.Context, Hold) error) error {
	if err := r.did("hold %s %+v", volume, q); err != nil {
		return err
	}
	return use(ctx, Hold{Token: "t&k", Size: 1 << 20, Mark: Mark{Done: 7, State: []byte{1, 2}}})
}

func (r *recorder) ReadVolume(_ context.Context, volume string, p []byte, off int64) error {
	for i := range p {
		p[i] = byte(i >> 8)
	}
	return r.did("read %s %d at %d", volume, len(p), off)
}

func (r *recorder) VolumeExtents(_ context.Context, volume string, off, n int64) ([]Extent, error) {
	return []Extent{{off, 4096}}, r.did("extents %s %d %d", volume, off, n)
}

func (r *recorder) WriteVolume(_ context.Context, volume, hold string, p []byte, off int64) error {
	return r.did("write %s %s %x at %d", volume, hold, sha256.Sum256(p), off)
}

func (r *recorder) ZeroVolume(_ context.Context, volume, hold string, off, n int64) error {
	return r.did("zero %s %s %d %d", volume, hold, off, n)
}

func (r *recorder) MarkVolume(_ context.Context, volume, hold string, mark Mark) error {
	return r.did("mark %s %s %+v", volume, hold, mark)
}

func (r *recorder) KeepMoment(ctx context.Context, volume string, use func(context.Context, Snapshot) error) error {
	if err := r.did("moment %s", volume); err != nil {
		return err
	}
	return use(ctx, Snapshot{ID: "5"})
}

func (r *recorder) ReadSnapshot(ctx context.Context, id string, p []byte, off int64) error {
	return r.ReadVolume(ctx, "snapshot "+id, p, off)
}

func (r *recorder) SnapshotExtents(ctx context.Context, id string, off, n int64) ([]Extent, error) {
	return r.VolumeExtents(ctx, "snapshot "+id, off, n)
}

// everyTransfer makes one call of each kind that moves data, and returns what came back.
func everyTransfer(ctx context.Context, b Backend) (got string, err error) {
	fail := func(e error) { err = errors.Join(err, e) }
	note := func(v any) { got += fmt.Sprintf("%+v\n", v) }
	fail(b.HoldVolume(ctx, "de mo", HoldRequest{Image: "i", Resume: true}, func(ctx context.Context, h Hold) error {
		note(h)
		data := bytes.Repeat([]byte{1, 2, 3, 4}, MaxTransfer/4)
		return errors.Join(
			b.WriteVolume(ctx, "de mo", h.Token, data, 8192),
			b.ZeroVolume(ctx, "de mo", h.Token, 4096, 1<<40),
			b.MarkVolume(ctx, "de mo", h.Token, Mark{Done: 9, State: []byte("s"), Finished: true}))
	}))
	fail(b.KeepMoment(ctx, "demo", func(ctx context.Context, s Snapshot) error {
		note(s)
		p := make([]byte, MaxTransfer)
		fail(b.ReadSnapshot(ctx, s.ID, p, 4096))
		note(sha256.Sum256(p))
		x, e := b.SnapshotExtents(ctx, s.ID, 4096, 8192)
		note(x)
		return e
	}))
	p := make([]byte, 4096)
	fail(b.ReadVolume(ctx, "demo", p, 0))
	note(p)
	x, e := b.VolumeExtents(ctx, "demo", 0, 8192)
	note(x)
	fail(e)
	return got, err
}

// TestTransfersAreTransparent: what comes back through the client is what the backend gave.
func TestTransfersAreTransparent(t *testing.T) {
	direct, behind := &recorder{}, &recorder{}
	want, err := everyTransfer(t.Context(), direct)
	if err != nil {
		t.Fatal(err)
	}
	got, err := everyTransfer(t.Context(), serve(t, Handler(behind, slog.New(slog.DiscardHandler)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(direct.calls, behind.calls); diff != "" {
		t.Error(diff)
	}
}

// keeper lets a test see how long a hold lasts.
type keeper struct {
	recorder
	began, ended chan struct{}
	stop         chan struct{} // the daemon ends all holds
}

func (k *keeper) HoldVolume(ctx context.Context, _ string, _ HoldRequest, use func(context.Context, Hold) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		<-k.stop
		cancel()
	}()
	close(k.began)
	defer close(k.ended)
	return use(ctx, Hold{Token: "t"})
}

func newKeeper() *keeper {
	return &keeper{began: make(chan struct{}), ended: make(chan struct{}), stop: make(chan struct{})}
}

// TestHoldLasts as long as the client uses it, and its error is that of the use.
func TestHoldLasts(t *testing.T) {
	k := newKeeper()
	client := serve(t, Handler(k, slog.New(slog.DiscardHandler)), "")
	failure := errors.New("the image is bad")
	err := client.HoldVolume(t.Context(), "demo", HoldRequest{}, func(context.Context, Hold) error {
		<-k.began
		select {
		case <-k.ended:
			t.Error("the hold ended while it was used")
		default:
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
	<-k.ended // or the test hangs
	close(k.stop)
}

// TestHoldEnds: whoever uses a hold that the daemon ends is told, and says so.
func TestHoldEnds(t *testing.T) {
	k := newKeeper()
	client := serve(t, Handler(k, slog.New(slog.DiscardHandler)), "")
	err := client.HoldVolume(t.Context(), "demo", HoldRequest{}, func(ctx context.Context, _ Hold) error {
		close(k.stop)
		<-ctx.Done()
		return ctx.Err()
	})
	if _, ok := errors.AsType[*UnreachableError](err); !ok {
		t.Errorf("%v", err)
	}
}

// TestHoldOutlivesTheServersLimit: neither a hold nor a long request is cut off by the time limit for reading requests.
func TestHoldOutlivesTheServersLimit(t *testing.T) {
	slow := &slowDetach{limit: 300 * time.Millisecond}
	server := httptest.NewUnstartedServer(Handler(slow, slog.New(slog.DiscardHandler)))
	server.Config.ReadTimeout = slow.limit / 3
	server.Start()
	defer server.Close()
	client, err := NewClient(server.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.DetachVolume(t.Context(), "demo", DetachRequest{}); err != nil {
		t.Errorf("detaching: %v", err)
	}
	err = client.HoldVolume(t.Context(), "demo", HoldRequest{}, func(ctx context.Context, _ Hold) error {
		select {
		case <-time.After(slow.limit):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		t.Errorf("holding: %v", err)
	}
}

type slowDetach struct {
	recorder
	limit time.Duration
}

func (s *slowDetach) DetachVolume(ctx context.Context, name string, _ DetachRequest) (*Volume, error) {
	select {
	case <-time.After(s.limit):
		return &Volume{Name: name}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestBadTransfers are refused before the backend hears of them.
func TestBadTransfers(t *testing.T) {
	backend := &recorder{}
	server := httptest.NewServer(Handler(backend, slog.New(slog.DiscardHandler)))
	defer server.Close()
	for _, test := range []struct{ method, path, body string }{
		{"GET", "volumes/demo/data", ""},
		{"GET", "volumes/demo/data?offset=0", ""},
		{"GET", "volumes/demo/data?offset=1&length=4096", ""},
		{"GET", "volumes/demo/data?offset=-4096&length=4096", ""},
		{"GET", "volumes/demo/data?offset=0&length=8392704", ""},
		{"GET", "snapshots/1/data?offset=0&length=x", ""},
		{"GET", "snapshots/1/extents?offset=9223372036854771712&length=9223372036854771712", ""},
		{"PUT", "volumes/demo/data?offset=0", ""},
		{"PUT", "volumes/demo/data?offset=0", "short"},
		{"PUT", "volumes/demo/data?offset=512", strings.Repeat("x", 4096)},
		{"PUT", "volumes/demo/data?offset=0", strings.Repeat("x", MaxTransfer+4096)},
		{"POST", "volumes/demo/zero?offset=0&length=100", ""},
		{"POST", "volumes/demo/hold", "{"},
		{"POST", "volumes/demo/hold", `{"other":1}`},
		{"POST", "volumes/demo/mark?hold=t", `{"done_bytes":"x"}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+"/v1/"+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %s: %s", test.method, test.path, resp.Status)
		}
	}
	if len(backend.calls) > 0 {
		t.Errorf("the backend was asked: %v", backend.calls)
	}
}

// manyExtents has more than fit into one answer.
type manyExtents struct{ recorder }

func (*manyExtents) VolumeExtents(_ context.Context, _ string, off, n int64) ([]Extent, error) {
	var list []Extent
	for at := off; at < off+n; at += 8192 {
		list = append(list, Extent{at, 4096})
	}
	return list, nil
}

func TestManyExtents(t *testing.T) {
	client := serve(t, Handler(&manyExtents{}, slog.New(slog.DiscardHandler)), "")
	const n = 3*MaxExtents*8192 + 8192
	list, err := client.VolumeExtents(t.Context(), "demo", 8192, n)
	if err != nil || len(list) != n/8192 || list[len(list)-1] != (Extent{n, 4096}) {
		t.Errorf("%d extents, %v", len(list), err)
	}
}

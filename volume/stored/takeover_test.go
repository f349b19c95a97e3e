package stored_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/stored"
)

// hanging is a store that takes a head and then says nothing any more.
type hanging struct {
	object.Store
	on bool
}

func (s *hanging) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	etag, err := s.Store.PutIf(ctx, key, body, match)
	if s.on && strings.HasSuffix(key, "head.json") {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return etag, err
}

// TestTakingHangs opens a volume again and again with a bucket that takes the new epoch and does not answer, and the gateway dies
// every time before it is noted: the data here is still the volume's, and nobody takes it for old.
func TestTakingHangs(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	slow := &hanging{Store: store}
	g := newGateway(t, slow, t.TempDir(), "gw")
	defer g.stop()
	h := create(t, store, volume.New{Size: size})
	v := g.open(h.ID)
	model := make([]byte, size)
	write(t, v, 0, bytes.Repeat([]byte{1}, mib))
	copy(model, bytes.Repeat([]byte{1}, mib))
	closeVolume(t, v)

	slow.on = true
	g.opts.Patience = time.Millisecond
	for i := range 4 {
		v = g.open(h.ID)
		if v.Stats().UploadError == "" {
			t.Error("the status does not say that the bucket does not answer")
		}
		p := bytes.Repeat([]byte{byte(i + 2)}, 4096)
		write(t, v, int64(i)*4096, p)
		copy(model[i*4096:], p)
		expect(t, v, model)
		died := copyTree(t, g.opts.Dir)
		closeVolume(t, v)
		g.opts.Dir = died
	}
	slow.on = false
	g.opts.Patience = time.Minute
	v = g.open(h.ID)
	expect(t, v, model)
	g.expectRoot(store, finish(t, cutNow(t, v)), model)
	closeVolume(t, v)

	// Another gateway's epoch is one that this gateway did not see.
	b := newGateway(t, store, t.TempDir(), "b")
	defer b.stop()
	w, err := stored.Open(ctx, h.ID, b.opts, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Detach(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := stored.Open(ctx, h.ID, g.opts, false); !errors.Is(err, stored.ErrStale) {
		t.Fatalf("old data was served: %v", err)
	}
}

// gone is a store that refuses all calls while it is on.
func gone(store object.Store, on *atomic.Bool) object.Store {
	return object.Fault(store, func(c object.Call) object.Outcome {
		if on.Load() {
			return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
		}
		return object.Outcome{}
	})
}

// TestLostWhileAway serves a volume without the bucket while another gateway takes it over: when the bucket is back, all that waits
// for it is told, and so is all I/O.
func TestLostWhileAway(t *testing.T) {
	ctx, store := context.Background(), memory.New()
	var away atomic.Bool
	a := newGateway(t, gone(store, &away), t.TempDir(), "a")
	defer a.stop()
	h := create(t, store, volume.New{Size: size})
	v := a.open(h.ID)
	finish(t, cutNow(t, v))
	closeVolume(t, v)

	away.Store(true)
	v = a.open(h.ID)
	b := newGateway(t, store, t.TempDir(), "b")
	defer b.stop()
	w, err := stored.Open(ctx, h.ID, b.opts, true)
	if err != nil {
		t.Fatal(err)
	}
	defer closeVolume(t, w)
	away.Store(false)
	if err := v.Detach(ctx); !errors.Is(err, volume.ErrLost) {
		t.Errorf("a detach was told %v", err)
	}
	if err := v.Read(ctx, make([]byte, 512), 0, true); !errors.Is(err, volume.ErrLost) {
		t.Errorf("a read was told %v", err)
	}
	_ = v.Close() // it has failed
}

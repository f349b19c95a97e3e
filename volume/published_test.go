package volume_test

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/object"
	"sluice/volume"
)

// TestPublishedGoesForward kills a gateway before it notes that a segment is in the bucket. Another one has the volume for a while, and
// publishes that segment. The first one, when it has the volume again, sends the segment again: until it is through with that, the head
// goes on to say that all up to there must be in the bucket.
func TestPublishedGoesForward(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	head := create(t, store, 16*mib)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	va := a.attach(head, false)
	write(t, va, 0, bytes.Repeat([]byte{1}, 8192))
	killed := a.crashed()
	if err := va.Upload(ctx); err != nil {
		t.Fatal(err)
	}
	b := newGateway(t, store, gatewayOptions{name: "b"})
	if err := b.attach(head, true).Detach(ctx); err != nil {
		t.Fatal(err)
	}
	b.abandon()
	a.stop()

	var away atomic.Bool
	away.Store(true)
	slow := object.Fault(store, func(c object.Call) object.Outcome {
		if away.Load() && c.Op == object.OpPutIf && strings.HasPrefix(c.Key, "segments/") {
			return object.Outcome{Err: object.ErrInjected}
		}
		return object.Outcome{}
	})
	again := newGateway(t, slow, gatewayOptions{name: "a", dir: killed})
	v := again.attach(head, false)
	if v.Stats().Segments == 0 {
		t.Fatal("nothing is sent again: this test shows nothing")
	}
	before := published(t, store, head)
	if err := v.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	if after := published(t, store, head); after.Published < before.Published || after.Published < after.Root.Position {
		t.Errorf("published up to %s, and before up to %s, with a root of %s", after.Published, before.Published, before.Root.Position)
	}
	away.Store(false)
	again.stop()
}

func published(t *testing.T, store object.Store, h *volume.Head) *volume.Head {
	t.Helper()
	now, err := volume.HeadOf(t.Context(), store, h.ID)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

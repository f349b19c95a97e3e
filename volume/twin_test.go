package volume_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/object"
	"sluice/volume"
)

// TestTwin starts a second gateway on a copy of the first one's data directory, while the first is still at work: it has the
// same identity, and believes that it only has to go on. What is on its disk is a part of what the first one went on to write.
func TestTwin(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	head := create(t, store, 16*mib)
	a := newGateway(t, store, gatewayOptions{name: "gw"})
	va := a.attach(head, false)
	write(t, va, 0, bytes.Repeat([]byte{1}, 8192))
	copied := a.crashed()
	write(t, va, 4096, bytes.Repeat([]byte{2}, 8192)) // into the segment that the copy has in part
	if err := va.Upload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := va.Resize(ctx, 32*mib); err != nil { // any change of the head: there is one each minute
		t.Fatal(err)
	}

	twin := newGateway(t, store, gatewayOptions{name: "gw", dir: copied})
	if _, err := volume.Open(ctx, head.ID, twin.opts, false); !errors.Is(err, volume.ErrTwin) {
		t.Fatalf("the copy is let in: %v", err)
	}
	// By force it has what the bucket has, and nothing of its own.
	vt := twin.attach(head, true)
	expect(t, vt, 0, append(bytes.Repeat([]byte{1}, 4096), bytes.Repeat([]byte{2}, 8192)...))
	if h := vt.Head(); h.Takeover == nil || h.Takeover.Gateway != "gw" {
		t.Errorf("the head says nothing of the takeover: %+v", h.Takeover)
	}
	if err := va.Resize(ctx, 48*mib); !errors.Is(err, volume.ErrLost) {
		t.Errorf("the first goes on: %v", err)
	}
	twin.stop()
	a.stop()

	// Each directory that knows the newest head is welcome again, the other one is not.
	if _, err := volume.Open(ctx, head.ID, newGateway(t, store, gatewayOptions{name: "gw", dir: a.dir}).opts, false); !errors.Is(err, volume.ErrTwin) {
		t.Errorf("the first is let in with what it has: %v", err)
	}
	again := newGateway(t, store, gatewayOptions{name: "gw", dir: twin.dir})
	again.attach(head, false)
	again.stop()
}

// TestNotesBegin opens a volume on a gateway that has lost its index, and ends the gateway after the new index has its first note
// and before the head is written. What is noted then must let it go on with the head that it found.
func TestNotesBegin(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	head := create(t, store, 16*mib)
	a := newGateway(t, store, gatewayOptions{name: "gw"})
	write(t, a.attach(head, false), 0, bytes.Repeat([]byte{1}, 8192))
	copied := a.crashed()
	defer a.abandon()
	if err := os.RemoveAll(filepath.Join(copied, "index")); err != nil {
		t.Fatal(err)
	}

	cut := object.Fault(store, func(c object.Call) object.Outcome {
		if c.Op == object.OpPutIf && strings.HasSuffix(c.Key, "head.json") {
			return object.Outcome{Err: object.ErrInjected}
		}
		return object.Outcome{}
	})
	b := newGateway(t, cut, gatewayOptions{name: "gw", dir: copied})
	if _, err := volume.Open(ctx, head.ID, b.opts, false); !errors.Is(err, object.ErrInjected) {
		t.Fatalf("opened, although the head cannot be written: %v", err)
	}
	copied = b.crashed()
	b.abandon()
	again := newGateway(t, store, gatewayOptions{name: "gw", dir: copied})
	expect(t, again.attach(head, false), 0, bytes.Repeat([]byte{1}, 8192))
	again.stop()
}

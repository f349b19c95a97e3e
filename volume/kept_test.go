package volume_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"sluice/volume"
)

// TestKept follows what initiators asked a volume to keep to the gateway that takes it over: it has what was kept last, and the old one
// changes nothing any more.
func TestKept(t *testing.T) {
	ctx, store := context.Background(), newStore(t)
	head := create(t, store, 64<<20)
	a, b := newGateway(t, store, gatewayOptions{name: "a"}), newGateway(t, store, gatewayOptions{name: "b"})
	old := a.attach(head, false)
	for _, state := range []string{`{"first":1}`, `{"second":2}`} {
		if err := old.SetKept(ctx, "reservations", []byte(state)); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.SetKept(ctx, "modes", []byte(`[1]`)); err != nil {
		t.Fatal(err)
	}
	if got := old.Head().Format; got != 3 {
		t.Errorf("the head has format %d, which who does not know of it would write without", got)
	}
	v := b.attach(head, true)
	if err := old.SetKept(ctx, "reservations", []byte(`{"stale":3}`)); !errors.Is(err, volume.ErrLost) {
		t.Errorf("the old owner keeps something: %v", err)
	}
	for what, want := range map[string]string{"reservations": `{"second":2}`, "modes": `[1]`} {
		var got bytes.Buffer
		if err := json.Compact(&got, v.Kept(what)); err != nil || got.String() != want {
			t.Errorf("%s: %s instead of %s, %v", what, v.Kept(what), want, err)
		}
	}
	for _, what := range []string{"reservations", "modes", "nothing"} {
		if err := v.SetKept(ctx, what, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := v.Head(); got.Format != 1 || len(got.Kept) > 0 {
		t.Errorf("nothing is kept and the head has format %d and %v", got.Format, got.Kept)
	}
	a.stop()
	b.stop()
}

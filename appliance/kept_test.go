package appliance

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/uuid"

	"sluice/target/scsi"
)

func TestKeptFile(t *testing.T) {
	dir := t.TempDir()
	one, two := keptOf(dir, keptReservations, uuid.New()), keptOf(dir, keptReservations, uuid.New())
	if state, err := one.Load(); state != nil || err != nil {
		t.Errorf("%q %v", state, err)
	}
	for _, state := range []string{"first", "second", ""} {
		if err := one.Save(t.Context(), []byte(state)); err != nil {
			t.Fatal(err)
		}
		if got, err := one.Load(); string(got) != state || err != nil {
			t.Errorf("%q instead of %q, %v", got, state, err)
		}
	}
	if state, err := two.Load(); state != nil || err != nil {
		t.Errorf("another volume has them: %q %v", state, err)
	}
	for range 2 {
		if err := one.forget(); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(two.path, bytes.Repeat([]byte("a"), maxKept+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Load(); err == nil {
		t.Error("a huge file was read")
	}
}

// keepingHead is a volume that keeps things, unless its bucket is away.
type keepingHead struct {
	kept map[string][]byte
	away error
}

func (h *keepingHead) Kept(what string) []byte { return h.kept[what] }

func (h *keepingHead) SetKept(_ context.Context, what string, state []byte) error {
	if h.away == nil {
		h.kept[what] = state
	}
	return h.away
}

// TestKeptWith follows what a volume keeps through gateways with a lease and without one: whoever serves it next finds what was saved last, and what was
// saved with a lease needs nothing of the gateway that did.
func TestKeptWith(t *testing.T) {
	head, id := &keepingHead{kept: map[string][]byte{}}, uuid.New()
	one, two := t.TempDir(), t.TempDir()
	on := func(dir string, always bool) scsi.Registry {
		return &keptWith{keptFile: keptOf(dir, keptModes, id), volume: head, always: always}
	}
	save := func(r scsi.Registry, state string) {
		t.Helper()
		if err := r.Save(t.Context(), []byte(state)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(r scsi.Registry, want string) {
		t.Helper()
		if got, err := r.Load(); string(got) != want || err != nil {
			t.Errorf("%q, %v instead of %q", got, err, want)
		}
	}
	head.away = errors.New("the bucket is away")
	save(on(one, false), "alone")
	expect(on(two, false), "")
	expect(on(one, true), "alone") // the gateway was started in a group
	if err := on(one, true).Save(t.Context(), []byte("lost")); !errors.Is(err, head.away) {
		t.Errorf("kept, and the bucket has not got it: %v", err)
	}
	expect(on(one, true), "alone")
	head.away = nil
	save(on(one, true), "together")
	expect(on(two, true), "together")
	expect(on(two, false), "together")
	save(on(two, false), "still")
	expect(on(one, true), "still")
	save(on(two, false), "") // from now on it is two's own again
	save(on(two, false), "alone")
	expect(on(one, true), "")
	expect(on(two, false), "alone")
}

package appliance

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/uuid"
)

func TestReservations(t *testing.T) {
	dir := t.TempDir() + "/reservations"
	one, two := reservationsOf(dir, uuid.New()), reservationsOf(dir, uuid.New())
	if state, err := one.Load(); state != nil || err != nil {
		t.Errorf("%q %v", state, err)
	}
	for _, state := range []string{"first", "second", ""} {
		if err := one.Save([]byte(state)); err != nil {
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

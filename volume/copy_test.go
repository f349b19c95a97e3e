package volume_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// TestCopyMovesNoData copies what was just written, overwrites the source in the same moment, and
// loses the gateway: the copy is what it was, and the bucket has the blocks once.
func TestCopyMovesNoData(t *testing.T) {
	store := newStore(t)
	head := create(t, store, 64*mib)
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(head, false)
	old := make([]byte, 4*mib)
	for i := range old {
		old[i] = byte(i * i >> 5)
	}
	write(t, v, 0, old)
	write(t, v, 32*mib, bytes.Repeat([]byte{9}, mib)) // where the source has nothing, nothing is left
	if err := v.Copy(context.Background(), 30*mib, 0, 6*mib); err != nil {
		t.Fatal(err)
	}
	write(t, v, 0, bytes.Repeat([]byte{1}, 4*mib))
	if mapped, _, err := v.Mapped(context.Background(), 34*mib); mapped || err != nil {
		t.Errorf("what the source did not have is mapped: %v", err)
	}
	if err := v.Upload(context.Background()); err != nil {
		t.Fatal(err)
	}
	if used := v.Stats().WriteBytes; used != 9*mib {
		t.Errorf("%d bytes were written, and a copy should write none", used)
	}
	g.stop()

	g = newGateway(t, store, gatewayOptions{name: "gw-b"})
	defer g.stop()
	v = g.attach(head, true)
	expect(t, v, 30*mib, old)
	expect(t, v, 34*mib, make([]byte, 2*mib))
	expect(t, v, 0, bytes.Repeat([]byte{1}, 4*mib))
}

func TestCopyOfWhatItCannotCopy(t *testing.T) {
	store := newStore(t)
	g := newGateway(t, store, gatewayOptions{})
	defer g.stop()
	v := g.attach(create(t, store, 16*mib), false)
	for _, c := range []struct{ dst, src, n int64 }{
		{512, 0, 4096}, {4096, 512, 4096}, {8192, 0, 512}, {4096, 0, 8192}, {0, 4096, 8192}, {0, 0, 4096},
	} {
		if err := v.Copy(context.Background(), c.dst, c.src, c.n); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("copy of %d bytes from %d to %d: %v", c.n, c.src, c.dst, err)
		}
	}
	if err := v.Copy(context.Background(), 12*mib, 0, 8*mib); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a copy beyond the end: %v", err)
	}
}

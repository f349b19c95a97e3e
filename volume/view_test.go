package volume_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"sluice/object/memory"
	"sluice/volume"
	"sluice/volume/blockmap"
)

// rooted writes a volume's moment to the bucket.
func rooted(t *testing.T, v *volume.Volume) (blockmap.Root, int64) {
	t.Helper()
	hold, err := v.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cut := hold.Cut()
	hold.Release()
	defer cut.Close()
	root, err := cut.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return root, cut.Size()
}

// TestView reads a moment while the volume goes on, and again on a gateway that has only the bucket.
func TestView(t *testing.T) {
	store := newStore(t)
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(create(t, store, 64*mib), false)
	random := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 64*mib)
	for range 40 {
		off := random.Int64N(60*mib/4096) * 4096
		p := make([]byte, (1+random.IntN(100))*4096)
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		copy(want[off:], p)
		write(t, v, off, p)
	}
	root, size := rooted(t, v)
	write(t, v, 0, bytes.Repeat([]byte{9}, mib)) // not in the view

	other := newGateway(t, store, gatewayOptions{name: "gw-b"})
	for _, opts := range []volume.Options{g.opts, other.opts} {
		view, err := volume.OpenView(t.Context(), root, size, opts)
		if err != nil {
			t.Fatal(err)
		}
		checkView(t, view, want)
	}
	g.stop()
	other.stop()
}

func checkView(t *testing.T, view *volume.View, want []byte) {
	t.Helper()
	got := bytes.Repeat([]byte{0xff}, len(want))
	for at := 0; at < len(got); at += 3 * mib {
		if err := view.Read(t.Context(), got[at:min(at+3*mib, len(got))], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if i := firstDifference(got, want); i >= 0 {
		t.Fatalf("byte %d is %#x and should be %#x", i, got[i], want[i])
	}
	// What is not mapped is zero, and the extents neither touch nor leave the range.
	holes := slices.Clone(want)
	last := int64(-1)
	for x, err := range view.Mapped(t.Context(), 0, view.Size()) {
		if err != nil {
			t.Fatal(err)
		}
		if x.Offset <= last || x.Length <= 0 {
			t.Fatalf("extent %+v after one that ends at %d", x, last)
		}
		last = x.Offset + x.Length
		clear(holes[x.Offset:last])
	}
	if firstDifference(holes, make([]byte, len(holes))) >= 0 {
		t.Error("data outside of the mapped extents")
	}
	if last < 0 {
		t.Error("nothing is mapped")
	}
}

// TestViewDamaged: a view that lacks an object fails, and says at which byte.
func TestViewDamaged(t *testing.T) {
	store := memory.New()
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(create(t, store, 16*mib), false)
	write(t, v, 8*mib, bytes.Repeat([]byte{7}, 8192))
	root, size := rooted(t, v)
	var segments []string
	for info, err := range store.List(context.Background(), "segments/", "") {
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, info.Key)
	}
	for _, key := range segments {
		if err := store.Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
	other := newGateway(t, store, gatewayOptions{name: "gw-b"})
	view, err := volume.OpenView(t.Context(), root, size, other.opts)
	if err != nil {
		t.Fatal(err)
	}
	err = view.Read(t.Context(), make([]byte, mib), 8*mib-4096)
	failed, ok := errors.AsType[*volume.ReadError](err)
	if !ok || failed.Offset != 8*mib {
		t.Errorf("%v", err)
	}
	for _, bad := range [][2]int64{{-4096, 4096}, {1, 4096}, {16 * mib, 4096}, {0, 100}} {
		if err := view.Read(t.Context(), make([]byte, bad[1]), bad[0]); err == nil {
			t.Errorf("a read of %d bytes at %d is accepted", bad[1], bad[0])
		}
	}
	if _, err := volume.OpenView(t.Context(), blockmap.Root{Key: "none"}, size, other.opts); err == nil {
		t.Error("a root that is not there is opened")
	}
	g.stop()
	other.stop()
}

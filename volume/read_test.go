package volume_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
)

// TestReadSaysWhereItFailed has a segment vanish from the bucket: a read that reaches it fails, and says
// up to where it could be believed.
func TestReadSaysWhereItFailed(t *testing.T) {
	store := newStore(t)
	head := create(t, store, 16*mib)
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(head, false)
	write(t, v, 0, bytes.Repeat([]byte{1}, mib))
	if err := v.Upload(context.Background()); err != nil {
		t.Fatal(err)
	}
	first := v.Stats().Published
	write(t, v, mib, bytes.Repeat([]byte{2}, mib))
	if err := v.Detach(context.Background()); err != nil {
		t.Fatal(err)
	}
	g.v = nil
	g.stop()
	if err := store.Delete(context.Background(), first.Next().Key()); err != nil {
		t.Fatal(err)
	}

	g = newGateway(t, store, gatewayOptions{name: "gw-b"})
	defer g.stop()
	v = g.attach(head, false)
	for _, c := range []struct{ off, n, failed int64 }{
		{0, 2 * mib, mib},
		{mib + 512, 512, mib + 512}, // not where the block begins: nobody asked for that
		{mib - 4096, 8192, mib},
	} {
		err := v.Read(context.Background(), make([]byte, c.n), c.off, true)
		failed, ok := errors.AsType[*volume.ReadError](err)
		if !ok || !errors.Is(err, object.ErrNotFound) || failed.FailedAt() != c.failed {
			t.Errorf("reading %d bytes at %d: %v, and should have failed at %d", c.n, c.off, err, c.failed)
		}
	}
	expect(t, v, 0, bytes.Repeat([]byte{1}, mib))
}

// TestAtomicWrites shows that the longest atomic write is one run of one record, however full the
// segment is that it begins in: recovery keeps a record whole or not at all.
func TestAtomicWrites(t *testing.T) {
	store := newStore(t)
	head := create(t, store, 64*mib)
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(head, false)
	const writes = 70 // more than two segments
	for i := range int64(writes) {
		write(t, v, i*v.MaxAtomic()+4096, make([]byte, v.MaxAtomic()))
		write(t, v, 0, make([]byte, 4096))
	}
	if err := v.Close(); err != nil { // before anything is uploaded and evicted
		t.Fatal(err)
	}
	whole := 0
	for seq := uint32(1); whole < writes; seq++ {
		s := g.cache.Acquire(segment.NewID(1, seq))
		if s == nil {
			t.Fatalf("%d of %d writes are found", whole, writes)
		}
		got, err := segment.RecoverSynced(s.File, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got.Records {
			for _, run := range r.Runs {
				switch int64(run.Count) * segment.BlockSize {
				case v.MaxAtomic():
					whole++
				case 4096:
				default:
					t.Fatalf("segment %s has a part of a write, %d blocks", s.ID, run.Count)
				}
			}
		}
		s.Release()
	}
	g.v = nil
	g.stop()
}

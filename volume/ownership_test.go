package volume_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sluice/object"
	"sluice/volume"
)

// A gateway from which a volume was taken may neither publish nor serve.
func TestTakeover(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	head := create(t, store, 16*mib)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	va := a.attach(head, false)
	first, second := bytes.Repeat([]byte{1}, 8192), bytes.Repeat([]byte{2}, 8192)
	write(t, va, 0, first)
	if err := va.Upload(ctx); err != nil {
		t.Fatal(err)
	}

	b := newGateway(t, store, gatewayOptions{name: "b"})
	if _, err := volume.Open(ctx, head.ID, b.opts, false); !errors.Is(err, volume.ErrOwned) {
		t.Fatalf("attach without force: %v, want ErrOwned", err)
	}
	vb := b.attach(head, true)
	expect(t, vb, 0, first)

	// The old owner still takes a write, but cannot publish it.
	write(t, va, 0, second)
	if err := va.Upload(ctx); err != nil {
		t.Fatal(err)
	}
	if err := va.Resize(ctx, 32*mib); !errors.Is(err, volume.ErrLost) {
		t.Fatalf("resize by the old owner: %v, want ErrLost", err)
	}
	if err := va.Read(ctx, make([]byte, 512), 0, true); !errors.Is(err, volume.ErrLost) {
		t.Fatalf("read by the old owner: %v, want ErrLost", err)
	}
	b.stop()

	b2 := newGateway(t, store, gatewayOptions{name: "b"})
	expect(t, b2.attach(head, false), 0, first)
	b2.stop()
	a.stop()
}

// Missing metadata is an error, never an empty volume.
func TestMissingMetadata(t *testing.T) {
	ctx := context.Background()
	for _, missing := range []string{"head", "segment", "writers"} {
		t.Run(missing, func(t *testing.T) {
			store := newStore(t)
			head := create(t, store, 16*mib)
			a := newGateway(t, store, gatewayOptions{name: "a"})
			va := a.attach(head, false)
			write(t, va, 0, bytes.Repeat([]byte{1}, 8192))
			if err := va.Detach(ctx); err != nil {
				t.Fatal(err)
			}
			a.abandon()
			key := map[string]string{
				"head": "volumes/" + head.ID.String() + "/head.json", "writers": "writers.json",
			}[missing]
			if missing == "segment" {
				key = firstKey(t, store, "segments/")
			}
			if err := store.Delete(ctx, key); err != nil {
				t.Fatal(err)
			}
			b := newGateway(t, store, gatewayOptions{name: "b"})
			defer b.stop()
			if _, err := volume.Find(ctx, store, "vol"); missing == "head" && !errors.Is(err, volume.ErrDamaged) {
				t.Errorf("find: %v, want ErrDamaged", err)
			}
			v, err := volume.Open(ctx, head.ID, b.opts, false)
			if missing != "segment" {
				if err == nil {
					t.Fatal("the volume opened")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b.v = v
			if err := v.Read(ctx, make([]byte, 8192), 0, true); err == nil {
				t.Fatal("a read of a lost segment succeeded")
			}
		})
	}
}

func firstKey(t *testing.T, store object.Store, prefix string) string {
	t.Helper()
	for info, err := range store.List(context.Background(), prefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		return info.Key
	}
	t.Fatalf("nothing under %s", prefix)
	return ""
}

func TestCreateIsUnique(t *testing.T) {
	store := newStore(t)
	create(t, store, 16*mib)
	if _, err := volume.Create(context.Background(), store, volume.New{Name: "vol", Size: 16 * mib, Mode: volume.Cached}); !errors.Is(err, volume.ErrExists) {
		t.Fatalf("second create: %v, want ErrExists", err)
	}
	heads, err := volume.List(context.Background(), store)
	if err != nil || len(heads) != 1 {
		t.Fatalf("list: %d volumes, %v", len(heads), err)
	}
}

// A volume that is to be deleted is given up without an upload, and leaves nothing behind but garbage,
// which package gc collects.
func TestAbandonAndDelete(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	head := create(t, store, 16*mib)
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(head, false)
	write(t, v, 0, bytes.Repeat([]byte{1}, 9*mib))
	if err := v.Upload(ctx); err != nil {
		t.Fatal(err)
	}
	write(t, v, 0, bytes.Repeat([]byte{2}, mib))
	if err := v.Abandon(ctx); err != nil {
		t.Fatal(err)
	}
	if ids := g.cache.Unsent(head.ID); len(ids) > 0 {
		t.Errorf("unsent segments are left: %v", ids)
	}
	if err := volume.Delete(ctx, store, "vol"); err != nil {
		t.Fatal(err)
	}
	for info, err := range store.List(ctx, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != "writers.json" && !strings.HasPrefix(info.Key, "segments/") {
			t.Errorf("%s is left in the bucket", info.Key)
		}
	}
	g.abandon()
}

// TestTakeFromTheSilent takes a volume from an owner of whom a certain head was the last sign of life: not if there was another one since.
func TestTakeFromTheSilent(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	head := create(t, store, 16*mib)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	va := a.attach(head, false)
	b := newGateway(t, store, gatewayOptions{name: "b"})
	seen := va.Head().Nonce
	if err := va.Resize(ctx, 32*mib); err != nil { // a sign of life
		t.Fatal(err)
	}
	b.opts.From = seen
	if _, err := volume.Open(ctx, head.ID, b.opts, false); !errors.Is(err, volume.ErrOwned) {
		t.Fatalf("the volume was taken from a gateway that lives: %v", err)
	}
	b.opts.From = va.Head().Nonce
	vb := b.attach(head, false)
	if taken := vb.Head().Takeover; taken == nil || taken.Gateway != "a" {
		t.Errorf("the head says of the takeover: %+v", taken)
	}
	b.stop()
	a.stop()
}

// TestFlippedMetadata changes each bit of what the bucket knows of a volume beside its data: that is found out, or means what it did.
func TestFlippedMetadata(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	if err := volume.ClaimFormat(ctx, store, "test"); err != nil {
		t.Fatal(err)
	}
	head := create(t, store, 16*mib)
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(head, false)
	write(t, v, 0, bytes.Repeat([]byte{1}, 8192))
	if err := v.Detach(ctx); err != nil {
		t.Fatal(err)
	}
	g.abandon()
	head, err := volume.Find(ctx, store, "vol")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"names/vol.json", "volumes/" + head.ID.String() + "/head.json", "writers.json", "format.json"} {
		good, _, err := store.GetRange(ctx, key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(good) {
			flipped := bytes.Clone(good)
			flipped[bit/8] ^= 1 << (bit % 8)
			if _, err := store.Put(ctx, key, flipped); err != nil {
				t.Fatal(err)
			}
			now, err := volume.Find(ctx, store, "vol")
			if last, lerr := volume.LastWriter(ctx, store); err == nil && lerr == nil && (!reflect.DeepEqual(now, head) || last != 1) {
				t.Fatalf("bit %d of %s: writer %d, %+v", bit, key, last, now)
			} else if err := errors.Join(err, lerr, volume.CheckFormat(ctx, store)); err != nil && !errors.Is(err, volume.ErrDamaged) {
				t.Fatalf("bit %d of %s: %v", bit, key, err)
			}
		}
		if _, err := store.Put(ctx, key, good); err != nil {
			t.Fatal(err)
		}
	}
}

package volume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
)

func createWithPast(t *testing.T, store object.Store, window time.Duration) *volume.Head {
	t.Helper()
	h, err := volume.Create(context.Background(), store, volume.New{Name: "source", Size: cutSize, Mode: volume.Cached, Window: window})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestGoBack makes a volume of every moment that another one can go back to, on a gateway with an empty disk, and
// compares it with what the other was then.
func TestGoBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx, store := context.Background(), newStore(t)
		g := newGateway(t, store, gatewayOptions{})
		h := createWithPast(t, store, time.Hour)
		v := g.attach(h, false)
		model := make([]byte, cutSize)
		was := map[segment.ID][]byte{0: slices.Clone(model)}
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0: // a root, and another writer
				if err := v.Detach(ctx); err != nil {
					rt.Fatal(err)
				}
				v = g.attach(h, false)
			case 1:
				if err := v.Zero(ctx, cutSize/4, cutSize/2, true); err != nil {
					rt.Fatal(err)
				}
				clear(model[cutSize/4:][:cutSize/2])
			default:
				off := rapid.Int64Range(0, cutSize/4096-1).Draw(rt, "block") * 4096
				p := bytes.Repeat([]byte{rapid.Byte().Draw(rt, "byte")}, int(min(rapid.Int64Range(1, 2*mib/4096).Draw(rt, "blocks")*4096, cutSize-off)))
				write(t, v, off, p)
				copy(model[off:], p)
			}
			if err := v.Upload(ctx); err != nil {
				rt.Fatal(err)
			}
			was[v.Head().Published] = slices.Clone(model)
		}
		moments, err := volume.Moments(ctx, store, v.Head(), time.Now(), 100)
		if err != nil {
			rt.Fatal(err)
		}
		if len(moments) != len(was) {
			rt.Fatalf("%d moments of %d: %v", len(moments), len(was), moments)
		}
		for i, m := range moments {
			past, err := volume.At(ctx, store, v.Head(), m.Time)
			if err != nil {
				rt.Fatal(err)
			}
			if past.Position < m.Position || past.Time.After(m.Time) {
				rt.Fatalf("asked for %v, got %v", m, past.Moment)
			}
			name := fmt.Sprint("back", i)
			clone, err := volume.Create(ctx, store, volume.New{Name: name, Size: cutSize, Mode: volume.Cached, Past: past, Window: time.Hour})
			if err != nil {
				rt.Fatal(err)
			}
			other := newGateway(t, store, gatewayOptions{name: name})
			back := other.attach(clone, false)
			expect(t, back, 0, was[past.Position])
			write(t, back, 0, bytes.Repeat([]byte{0xee}, 8192)) // it goes its own way
			expect(t, back, 8192, was[past.Position][8192:])
			other.stop()
		}
		expect(t, v, 0, model)
		g.stop()
	})
}

// TestPastHasBounds shows what is answered when there is no such past.
func TestPastHasBounds(t *testing.T) {
	ctx, store := context.Background(), newStore(t)
	without := create(t, store, mib)
	if _, err := volume.At(ctx, store, without, time.Now()); !errors.Is(err, volume.ErrNoPast) {
		t.Errorf("a volume without a window: %v", err)
	}
	with := createWithPast(t, store, time.Hour)
	if _, err := volume.At(ctx, store, with, time.Now().Add(-time.Minute)); !errors.Is(err, volume.ErrForgotten) {
		t.Errorf("before it was created: %v", err)
	}
	if past, err := volume.At(ctx, store, with, time.Now()); err != nil || past.Position != 0 {
		t.Errorf("empty as it was created: %+v, %v", past, err)
	}
}

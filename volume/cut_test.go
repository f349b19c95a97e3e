package volume_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/blockmap"
)

func cutNow(t *testing.T, v *volume.Volume) *volume.Cut {
	t.Helper()
	return cutTogether(t, []*volume.Volume{v})[0]
}

const cutSize = 8 * mib

func createNamed(t *testing.T, store object.Store, name string, root *blockmap.Root) *volume.Head {
	t.Helper()
	h, err := volume.Create(context.Background(), store, volume.New{Name: name, Size: cutSize, Mode: volume.Cached, Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// clone opens a new volume that begins with root, on a gateway with an empty disk.
func clone(t *testing.T, store object.Store, name string, root blockmap.Root) *volume.Volume {
	t.Helper()
	g := newGateway(t, store, gatewayOptions{name: "gw-" + name})
	t.Cleanup(g.stop)
	return g.attach(createNamed(t, store, name, &root), false)
}

// TestCut shows that a root is the volume at the moment of the cut, whatever is written before it
// is in the bucket.
func TestCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store := newStore(t)
		g := newGateway(t, store, gatewayOptions{})
		defer g.stop()
		v := g.attach(createNamed(t, store, "source", nil), false)
		model := make([]byte, cutSize)
		change := func() {
			for range rapid.IntRange(0, 40).Draw(rt, "writes") {
				off := int64(rapid.IntRange(0, cutSize/512-1).Draw(rt, "sector")) * 512
				n := min(int64(rapid.IntRange(1, 64).Draw(rt, "sectors"))*512, cutSize-off)
				if rapid.IntRange(0, 4).Draw(rt, "kind") == 0 {
					if err := v.Zero(context.Background(), off, n, true); err != nil {
						rt.Fatal(err)
					}
					clear(model[off : off+n])
					continue
				}
				p := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(rt, "byte"))}, int(n))
				write(t, v, off, p)
				copy(model[off:], p)
			}
		}
		for i := range rapid.IntRange(1, 4).Draw(rt, "cuts") {
			change()
			then := append([]byte(nil), model...)
			cut := cutNow(t, v)
			change()
			root, err := cut.Finish(context.Background())
			if err != nil {
				rt.Fatal(err)
			}
			if done, total := cut.Progress(); done != total {
				rt.Fatalf("finished, but %d of %d bytes are in the bucket", done, total)
			}
			cut.Close()
			expect(t, clone(t, store, fmt.Sprintf("clone%d", i), root), 0, then)
		}
		expect(t, v, 0, model)
	})
}

// TestCutWaitsForItsTurn shows that a second snapshot begins when the first has ended, and
// that a volume is not detached in between.
func TestCutWaitsForItsTurn(t *testing.T) {
	store := newStore(t)
	g := newGateway(t, store, gatewayOptions{})
	defer g.stop()
	v := g.attach(createNamed(t, store, "source", nil), false)
	write(t, v, 0, make([]byte, 4096))
	first := cutNow(t, v)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := v.Hold(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the second cut did not wait: %v", err)
	}
	if err := v.Detach(context.Background()); err == nil {
		t.Fatal("detached in the middle of a snapshot")
	}
	if _, err := first.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	first.Close()
	first.Close()
	cutNow(t, v).Close()
}

// TestCutsTogether shows that volumes cut together have one moment: of a writer that writes
// each number to one volume and then to the other, no cut shows the second further than the first, or
// the first further by more than one.
func TestCutsTogether(t *testing.T) {
	store := newStore(t)
	g := newGateway(t, store, gatewayOptions{})
	var vols [2]*volume.Volume
	for i := range vols {
		vols[i] = g.attach(createNamed(t, store, fmt.Sprint("v", i), nil), false)
	}
	stop, begun := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		p := make([]byte, 4096)
		for n := uint64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			binary.LittleEndian.PutUint64(p, n)
			for _, v := range vols {
				write(t, v, 0, p)
			}
			if n == 10 {
				close(begun)
			}
		}
	})
	<-begun
	for round := range 5 {
		var seen [2]uint64
		for i, c := range cutTogether(t, vols[:]) {
			root, err := c.Finish(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			p := make([]byte, 4096)
			if err := clone(t, store, fmt.Sprintf("c%d-%d", round, i), root).Read(context.Background(), p, 0, true); err != nil {
				t.Fatal(err)
			}
			seen[i] = binary.LittleEndian.Uint64(p)
		}
		if seen[0] != seen[1] && seen[0] != seen[1]+1 {
			t.Fatalf("round %d: the first volume has %d, the second %d", round, seen[0], seen[1])
		}
	}
	close(stop)
	writer.Wait()
	if err := vols[0].Close(); err != nil {
		t.Fatal(err)
	}
	g.stop()
}

// cutTogether cuts volumes at one instant.
func cutTogether(t *testing.T, vols []*volume.Volume) []*volume.Cut {
	t.Helper()
	var cuts []*volume.Cut
	var holds []*volume.Hold
	for _, v := range vols {
		h, err := v.Hold(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		holds = append(holds, h)
	}
	for _, h := range holds {
		cuts = append(cuts, h.Cut())
	}
	for _, h := range holds {
		h.Release()
	}
	return cuts
}

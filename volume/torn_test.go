package volume_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
)

// TestTornTail takes away the end of what was written last, as a loss of power does to what was never flushed: the volume opens all
// the same, with all that was written before the damage.
func TestTornTail(t *testing.T) {
	for damage, harm := range map[string]func(name string, r *segment.Recovered) error{
		"the file's last 100 bytes": func(name string, _ *segment.Recovered) error { return os.Truncate(name, segment.FileSize-100) },
		"the last block": func(name string, r *segment.Recovered) error {
			return os.Truncate(name, segment.SlotOffset(r.Slot)-100)
		},
		"all data":        func(name string, _ *segment.Recovered) error { return os.Truncate(name, segment.MetaSize) },
		"the last record": func(name string, r *segment.Recovered) error { return os.Truncate(name, r.Offset-100) },
		"the header":      func(name string, _ *segment.Recovered) error { return os.Truncate(name, 100) },
		"the file":        func(name string, _ *segment.Recovered) error { return os.Remove(name) },
	} {
		t.Run(damage, func(t *testing.T) {
			store := newStore(t)
			head := create(t, store, 16*mib)
			g := newGateway(t, store, gatewayOptions{})
			v := g.attach(head, false)
			writeRing(t, v, 1, 100)
			if err := v.Upload(context.Background()); err != nil { // from here on another segment
				t.Fatal(err)
			}
			writeRing(t, v, 101, 50)
			dir := g.crashed()
			g.stop()
			if err := harm(newestSegment(t, dir)); err != nil {
				t.Fatal(err)
			}
			again := newGateway(t, store, gatewayOptions{dir: dir})
			defer again.stop()
			again.opts.Boot = "boot-2"
			if c := ringPrefix(t, again.attach(head, true)); c < 100 || c == 150 && damage != "the file's last 100 bytes" {
				t.Errorf("the volume is as after write %d; 1 to 100 were not harmed, the last of 150 was", c)
			}
		})
	}
}

// died is a gateway that dies when it has the ownership, and the new attachment is in the head: the map is not yet saved.
type died struct{ volume.Received }

func (died) Forget(uuid.UUID) error { return object.ErrInjected }

// TestTornTailStays damages one of the last writes, and has the process die that recovers from it: the next one trusts what is on
// disk, as the machine was not started anew, and must end where the first did, not take up again what good records there are behind.
func TestTornTailStays(t *testing.T) {
	ctx := context.Background()
	store := newStore(t)
	head := create(t, store, 16*mib)
	a := newGateway(t, store, gatewayOptions{})
	writeRing(t, a.attach(head, false), 1, 150)
	dir := a.crashed()
	a.abandon()
	name, found := newestSegment(t, dir)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("lost"), segment.SlotOffset(found.Slot-3))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}

	b := newGateway(t, store, gatewayOptions{dir: dir})
	b.opts.Boot, b.opts.Received = "boot-2", died{}
	if _, err := volume.Open(ctx, head.ID, b.opts, false); !errors.Is(err, object.ErrInjected) {
		t.Fatalf("opened: %v", err)
	}
	b.abandon()
	again := newGateway(t, store, gatewayOptions{dir: dir})
	defer again.stop()
	again.opts.Boot = "boot-2"
	if c := ringPrefix(t, again.attach(head, false)); c != 147 {
		t.Errorf("the volume is as after write %d; the data of write 148 was lost", c)
	}
}

// TestCopyOutlivesItsSource loses the last record of a segment, which no flush was for, without a trace, but not the copy of what it
// wrote, in the segment behind it. What the copy was to replace must still be there.
func TestCopyOutlivesItsSource(t *testing.T) {
	ctx := context.Background()
	for lost, want := range map[int]byte{0: 3, 1: 2, 2: 1} { // last records of the source's segment, and what block 0 is then
		var away atomic.Bool
		store := newStore(t)
		head := create(t, store, 16*mib)
		a := newGateway(t, object.Fault(store, func(c object.Call) object.Outcome {
			return object.Outcome{Hang: away.Load() && strings.HasPrefix(c.Key, "segments/")}
		}), gatewayOptions{})
		v := a.attach(head, false)
		block := func(n byte) []byte { return bytes.Repeat([]byte{n}, segment.BlockSize) }
		write(t, v, 0, block(1))
		if err := v.Upload(ctx); err != nil { // from here on another segment
			t.Fatal(err)
		}
		away.Store(true)
		write(t, v, 5*segment.BlockSize, block(2))
		write(t, v, 6*segment.BlockSize, block(3))
		source := a.crashed()
		for _, from := range []int64{5, 6} {
			if err := v.Copy(ctx, 0, from*segment.BlockSize, segment.BlockSize); err != nil {
				t.Fatal(err)
			}
		}
		dir := a.crashed()
		name, found := newestSegment(t, source)
		name, err := filepath.Rel(source, name)
		if err != nil {
			t.Fatal(err)
		}
		found.Cut(len(found.Records) - lost)
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err == nil {
			_, err = segment.Resume(f, found)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			again := newGateway(t, store, gatewayOptions{dir: dir})
			again.opts.Boot = "boot-2"
			expect(t, again.attach(head, false), 0, block(want))
			again.stop()
		}
		a.stop()
	}
}

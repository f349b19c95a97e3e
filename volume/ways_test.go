package volume_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
)

const ring = 16 // blocks

// writeRing writes the numbers from first on, each to the block that follows from it.
func writeRing(t *testing.T, v *volume.Volume, first, n uint64) {
	t.Helper()
	for i := first; i < first+n; i++ {
		write(t, v, int64(i%ring)*segment.BlockSize, bytes.Repeat(binary.LittleEndian.AppendUint64(nil, i), segment.BlockSize/8))
	}
}

// ringPrefix returns c such that the ring is the outcome of the writes 1 to c.
func ringPrefix(t *testing.T, v *volume.Volume) (c uint64) {
	t.Helper()
	p := make([]byte, ring*segment.BlockSize)
	if err := v.Read(context.Background(), p, 0, true); err != nil {
		t.Fatal(err)
	}
	var seen [ring]uint64
	for i := range seen {
		seen[i] = binary.LittleEndian.Uint64(p[i*segment.BlockSize:])
		c = max(c, seen[i])
	}
	for i, got := range seen {
		want := c - (c+ring-uint64(i))%ring // the newest of 1 to c that belongs here
		if c < (c+ring-uint64(i))%ring {
			want = 0
		}
		if got != want {
			t.Fatalf("the newest write is %d, but block %d holds write %d and not %d", c, i, got, want)
		}
	}
	return c
}

// newestSegment returns the file of the segment that was written last, and its records.
func newestSegment(t *testing.T, dir string) (name string, found *segment.Recovered) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "segments"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".seg") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		h, err := segment.ReadHeader(f)
		if err != nil || found != nil && h.ID < found.Header.ID {
			return nil // a file that is not in use
		}
		r, err := segment.Recover(f, h.ID)
		if err == nil && len(r.Records) > 0 {
			name, found = path, r
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == nil {
		t.Fatal("no segment has a record")
	}
	return name, found
}

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

// TestBacklog fills the upload buffer while the bucket takes no data, and dies: the next process opens the volume, serves it, and
// brings it all to the bucket when that takes data again.
func TestBacklog(t *testing.T) {
	ctx := context.Background()
	var away atomic.Bool
	store := newStore(t)
	faulty := object.Fault(store, func(c object.Call) object.Outcome {
		if away.Load() && (c.Op == object.OpPut || c.Op == object.OpPutIf) && strings.HasPrefix(c.Key, "segments/") {
			return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
		}
		return object.Outcome{}
	})
	retried := object.Retry(faulty, object.RetryOptions{MinDelay: time.Millisecond, MaxDelay: time.Millisecond})
	const room = 40 * mib
	head := create(t, retried, 64*mib)
	g := newGateway(t, retried, gatewayOptions{buffer: room})
	v := g.attach(head, false)
	away.Store(true)
	full, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	written := int64(0)
	for full.Err() == nil && written < 64*mib {
		p := bytes.Repeat([]byte{byte(written/mib) + 1}, mib)
		if v.Write(full, [][]byte{p}, []int64{written}, true) == nil {
			written += mib
		}
	}
	if written < room/2 {
		t.Fatalf("only %d bytes were taken by a buffer of %d", written, room)
	}
	dir := g.crashed()
	again := newGateway(t, retried, gatewayOptions{dir: dir, buffer: room})
	w := again.attach(head, false)
	for off := int64(0); off < written; off += mib {
		expect(t, w, off, bytes.Repeat([]byte{byte(off/mib) + 1}, mib))
	}
	away.Store(false)
	if err := w.Upload(ctx); err != nil {
		t.Fatal(err)
	}
	write(t, w, 0, bytes.Repeat([]byte{0xff}, mib))
	if err := w.Upload(ctx); err != nil {
		t.Fatal(err)
	}
	again.stop()
	g.abandon()

	b := newGateway(t, store, gatewayOptions{name: "b"})
	defer b.stop()
	vb := b.attach(head, true)
	expect(t, vb, 0, bytes.Repeat([]byte{0xff}, mib))
	for off := int64(mib); off < written; off += mib {
		expect(t, vb, off, bytes.Repeat([]byte{byte(off/mib) + 1}, mib))
	}
}

// TestDiscardOfMuch unmaps 32 TiB that are empty, and once more with a little in them: it costs what is in them, not what they could
// hold, and is as durable as a write.
func TestDiscardOfMuch(t *testing.T) {
	ctx := context.Background()
	const size = 32 << 40
	store := newStore(t)
	head := create(t, store, size)
	g := newGateway(t, store, gatewayOptions{})
	v := g.attach(head, false)
	discard := func() {
		t.Helper()
		for off := int64(0); off < size; off += 4 << 30 { // what an initiator sends
			if err := v.Zero(ctx, off, 4<<30, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	discard()
	for i := range int64(64) {
		write(t, v, i*(size/64)+4096, bytes.Repeat([]byte{1}, 4096))
	}
	discard()
	if err := v.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if n := v.Stats().UploadedBytes; n > 8*mib {
		t.Errorf("%d bytes were uploaded for blocks that hold nothing", n)
	}
	again := newGateway(t, store, gatewayOptions{dir: g.crashed()})
	defer again.stop()
	w := again.attach(head, false)
	for i := range int64(64) {
		expect(t, w, i*(size/64)+4096, make([]byte, 4096))
	}
	if mapped, _, err := w.Mapped(ctx, 4096); err != nil || mapped {
		t.Errorf("a discarded block is mapped=%t, %v", mapped, err)
	}
	g.abandon()
}

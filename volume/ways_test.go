package volume_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
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

// lossy is a store that takes one object only later than all others.
type lossy struct {
	object.Store
	key string
}

func (s *lossy) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	if key == s.key {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.Store.PutIf(ctx, key, body, match)
}

// TestHistoryEndsAtAGap loses a gateway whose second segment had not arrived when the third had: what is recovered from the bucket
// is the state after the first.
func TestHistoryEndsAtAGap(t *testing.T) {
	bucket := newStore(t)
	head := create(t, bucket, 16*mib)
	store := &lossy{Store: bucket, key: segment.NewID(1, 2).Key()}
	a := newGateway(t, store, gatewayOptions{name: "a"})
	v := a.attach(head, false)
	for n := range uint64(3) {
		writeRing(t, v, 1+5*n, 5)
		brief, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		_ = v.Upload(brief) // of the later ones it cannot end
		cancel()
	}
	for _, id := range []segment.ID{segment.NewID(1, 1), segment.NewID(1, 3)} {
		if _, err := bucket.Stat(context.Background(), id.Key()); err != nil {
			t.Fatalf("segment %s is not in the bucket: the test proves nothing: %v", id, err)
		}
	}
	b := newGateway(t, bucket, gatewayOptions{name: "b"})
	if got := ringPrefix(t, b.attach(head, true)); got != 5 {
		t.Errorf("recovered are the writes up to %d, not 5", got)
	}
	b.stop()
	a.stop()
}

// TestRotOnDisk flips a bit of each block in a local segment file: what the bucket has is fetched again, and what only this disk has is
// an error.
func TestRotOnDisk(t *testing.T) {
	for name, uploaded := range map[string]bool{"in the bucket": true, "only here": false} {
		t.Run(name, func(t *testing.T) {
			ctx, bucket := context.Background(), newStore(t)
			head := create(t, bucket, 16*mib)
			store := object.Store(bucket)
			if !uploaded {
				store = &lossy{Store: bucket, key: segment.NewID(1, 1).Key()}
			}
			g := newGateway(t, store, gatewayOptions{})
			v := g.attach(head, false)
			want := bytes.Repeat([]byte{1}, 8192)
			write(t, v, 0, want)
			brief, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			err := v.Upload(brief)
			cancel()
			if uploaded != (err == nil) {
				t.Fatal(err)
			}
			name, _ := newestSegment(t, g.dir)
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			body, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(body, want)
			for _, off := range []int{at + 100, at + 4096 + 100} {
				if _, err := f.WriteAt([]byte{0x41}, int64(off)); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			err = v.Read(ctx, got, 0, true)
			if uploaded && (err != nil || !bytes.Equal(got, want)) {
				t.Errorf("what the bucket has is not fetched again: %v", err)
			}
			if !uploaded && !errors.Is(err, volume.ErrChecksum) {
				t.Errorf("rot was read: %v", err)
			}
			g.stop()
		})
	}
}

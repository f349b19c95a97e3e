package volume_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sluice/object"
	"sluice/volume"
)

// story is a life of a volume in short: two gateways, data of several segments, zeros, a
// snapshot and its clone, a copy, and everything read back from the bucket alone.
func story(t *testing.T, store object.Store) {
	t.Helper()
	ctx := context.Background()
	head := create(t, store, 64*mib)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	va := a.attach(head, false)
	one, two := bytes.Repeat([]byte("one."), 5*mib/4), bytes.Repeat([]byte("two!"), 6*mib/4)
	write(t, va, 0, one)
	write(t, va, 4*mib, two)
	write(t, va, 512, one[:1024])
	if err := va.Zero(ctx, 8*mib, mib, true); err != nil {
		t.Fatal(err)
	}
	cut := cutNow(t, va)
	write(t, va, 0, two[:4*mib])
	root, err := cut.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cut.Close()
	write(t, va, 0, one[:4*mib])
	write(t, va, 512, one[:1024])
	if err := va.Copy(ctx, 24*mib, 4*mib, 6*mib); err != nil {
		t.Fatal(err)
	}
	if err := va.Resize(ctx, 128*mib); err != nil {
		t.Fatal(err)
	}
	if err := va.Detach(ctx); err != nil {
		t.Fatal(err)
	}
	a.abandon()

	found, err := volume.Find(ctx, store, "vol")
	if err != nil {
		t.Fatal(err)
	}
	b := newGateway(t, store, gatewayOptions{name: "b"})
	vb := b.attach(found, false)
	if vb.Size() != 128*mib {
		t.Fatalf("size is %d", vb.Size())
	}
	want := make([]byte, 16*mib)
	copy(want, one)
	copy(want[4*mib:], two)
	copy(want[512:], one[:1024])
	clear(want[8*mib : 9*mib])
	expect(t, vb, 0, want)
	expect(t, vb, 24*mib, want[4*mib:10*mib])
	b.stop()
	expect(t, clone(t, store, "then", root), 0, want[:cutSize])
}

// TestEveryStoreCallFails fails each call of the object store once, before it takes effect
// or after it with the answer lost: behind the retries nobody notices.
func TestEveryStoreCallFails(t *testing.T) {
	if testing.Short() {
		t.Skip("many rounds")
	}
	for _, lost := range []bool{false, true} {
		for n := int64(0); ; n++ {
			var calls atomic.Int64
			faulty := object.Fault(newStore(t), func(c object.Call) object.Outcome {
				if calls.Add(1)-1 != n {
					return object.Outcome{}
				}
				if lost {
					return object.Outcome{Lost: true}
				}
				return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
			})
			t.Run(fmt.Sprintf("lost=%t/call=%d", lost, n), func(t *testing.T) {
				story(t, object.Retry(faulty, object.RetryOptions{MinDelay: time.Millisecond, MaxDelay: time.Millisecond}))
			})
			if t.Failed() {
				return
			}
			if calls.Load() <= n {
				break // the story needs no more calls
			}
		}
	}
}

// TestBucketAway: without the bucket, local data reads and writes go on until the buffer
// is full; then writes wait, and go on by themselves when the bucket is back.
func TestBucketAway(t *testing.T) {
	ctx := context.Background()
	var away atomic.Bool
	back := make(chan struct{})
	faulty := object.Fault(newStore(t), func(c object.Call) object.Outcome {
		if away.Load() {
			<-back
		}
		return object.Outcome{}
	})
	head := create(t, faulty, 64*mib)
	g := newGateway(t, faulty, gatewayOptions{buffer: 20 * mib})
	v := g.attach(head, false)
	away.Store(true)
	p := bytes.Repeat([]byte{7}, mib)
	for i := range int64(16) {
		write(t, v, i*mib, p)
		expect(t, v, i*mib, p)
	}
	// From here on a write that may not wait is turned away, one that may waits.
	if err := v.Write(ctx, [][]byte{p}, []int64{0}, false); err == nil {
		t.Fatal("a write beyond 80 % of the buffer did not have to wait")
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	for i := int64(16); short.Err() == nil; i++ {
		if err := v.Write(short, [][]byte{p}, []int64{i % 64 * mib}, true); err != nil && short.Err() == nil {
			t.Fatal(err)
		}
	}
	away.Store(false)
	close(back)
	for i := range int64(64) {
		write(t, v, i*mib, p)
	}
	expect(t, v, 0, bytes.Repeat(p, 64))
	g.stop()
}

package volume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/object"
	"sluice/volume"
)

// createDurable makes a volume whose flushes wait for the bucket.
func createDurable(t testing.TB, store object.Store) *volume.Head {
	t.Helper()
	h, err := volume.Create(context.Background(), store, volume.New{Name: "vol", Size: 16 * mib, Mode: volume.Cached, Durability: volume.InBucket})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestFlushToBucket loses the gateway right after a flush.
func TestFlushToBucket(t *testing.T) {
	ctx := context.Background()
	for _, durability := range []volume.Durability{volume.Local, volume.InBucket} {
		t.Run(string(durability), func(t *testing.T) {
			store := newStore(t)
			head := createDurable(t, store)
			a := newGateway(t, store, gatewayOptions{name: "a"})
			v := a.attach(head, false)
			if err := v.SetDurability(ctx, durability, false); err != nil {
				t.Fatal(err)
			}
			p := bytes.Repeat([]byte{1}, 8192)
			write(t, v, 0, p)
			if err := v.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if got := v.Stats().Durability; got != durability {
				t.Errorf("it says that it is %s", got)
			}
			b := newGateway(t, store, gatewayOptions{name: "b"})
			if durability == volume.Local {
				clear(p) // the segment is young, and was not uploaded
			}
			expect(t, b.attach(head, true), 0, p)
			b.stop()
			a.stop()
		})
	}
}

// TestFlushAfterCrash flushes, without a write, what a process acknowledged that died.
func TestFlushAfterCrash(t *testing.T) {
	bucket := newStore(t)
	store := &heldStore{Store: bucket}
	head := createDurable(t, bucket)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	p := bytes.Repeat([]byte{1}, 8192)
	write(t, a.attach(head, false), 0, p)
	dir := a.crashed()
	a.stop()
	for info, err := range bucket.List(context.Background(), "segments/", "") { // as if it had died before that
		if err := errors.Join(err, bucket.Delete(context.Background(), info.Key)); err != nil {
			t.Fatal(err)
		}
	}
	release := store.hold()
	a = newGateway(t, store, gatewayOptions{name: "a", dir: dir})
	v := a.attach(head, false)
	brief, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := v.Flush(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before the bucket has it the flush is told %v", err)
	}
	release()
	if err := v.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	b := newGateway(t, bucket, gatewayOptions{name: "b"})
	expect(t, b.attach(head, true), 0, p)
	b.stop()
	a.stop()
}

// heldStore holds back the objects of segments while it is told to.
type heldStore struct {
	object.Store
	mu   sync.Mutex
	held chan struct{} // closed when they may pass; nil: they may
	seen chan struct{} // closed when one was held back
}

func (s *heldStore) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held, s.seen = held, make(chan struct{})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = nil
		close(held)
	}
}

func (s *heldStore) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	s.mu.Lock()
	held, seen := s.held, s.seen
	if held != nil && strings.HasPrefix(key, "segments/") {
		select {
		case <-seen:
		default:
			close(seen)
		}
		s.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	} else {
		s.mu.Unlock()
	}
	return s.Store.PutIf(ctx, key, body, match)
}

// TestFlushAcrossATakeover has a volume taken over while a flush uploads: the segment arrives after the new owner has looked for it,
// so the flush must not succeed.
func TestFlushAcrossATakeover(t *testing.T) {
	ctx := context.Background()
	bucket := newStore(t)
	store := &heldStore{Store: bucket}
	head := createDurable(t, bucket)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	va := a.attach(head, false)
	write(t, va, 0, bytes.Repeat([]byte{1}, 8192))
	release := store.hold()
	flushed := make(chan error, 1)
	go func() { flushed <- va.Flush(ctx) }()
	<-store.seen
	b := newGateway(t, bucket, gatewayOptions{name: "b"})
	vb := b.attach(head, true)
	release()
	if err := <-flushed; !errors.Is(err, volume.ErrLost) {
		t.Errorf("the flush was told %v", err)
	}
	expect(t, vb, 0, make([]byte, 8192))
	b.stop()
	a.stop()
}

// TestFlushWaitsForTheBucket holds the bucket up: a flush waits, can be given up, and comes back when the bucket does. Reads and
// writes go on.
func TestFlushWaitsForTheBucket(t *testing.T) {
	bucket := newStore(t)
	store := &heldStore{Store: bucket}
	head := createDurable(t, bucket)
	a := newGateway(t, store, gatewayOptions{name: "a"})
	v := a.attach(head, false)
	release := store.hold()
	write(t, v, 0, bytes.Repeat([]byte{1}, 8192))
	brief, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := v.Flush(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who gives up is told %v", err)
	}
	flushed := make(chan error, 1)
	go func() { flushed <- v.Flush(context.Background()) }()
	<-store.seen
	write(t, v, 8192, bytes.Repeat([]byte{2}, 8192))
	expect(t, v, 4096, bytes.Repeat([]byte{1}, 4096))
	select {
	case err := <-flushed:
		t.Errorf("the flush came back: %v", err)
	default:
	}
	release()
	if err := <-flushed; err != nil {
		t.Error(err)
	}
	a.stop()
}

// TestFlushesShareUploads has many flush at once.
func TestFlushesShareUploads(t *testing.T) {
	const writers, each = 16, 20
	counter := object.Count(newStore(t))
	head := createDurable(t, counter)
	a := newGateway(t, counter, gatewayOptions{name: "a"})
	v := a.attach(head, false)
	before := counter.Stats().PutIf.Calls
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				p := bytes.Repeat([]byte{byte(i + 1)}, 4096)
				err := v.Write(context.Background(), [][]byte{p}, []int64{int64(w) * 4096}, true)
				if err == nil {
					err = v.Flush(context.Background())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	puts := counter.Stats().PutIf.Calls - before
	t.Log(fmt.Sprint(writers*each, " flushes took ", puts, " uploads"))
	if puts > writers*each/2 {
		t.Errorf("%d flushes took %d uploads: they do not share", writers*each, puts)
	}
	a.stop()
	b := newGateway(t, counter, gatewayOptions{name: "b"})
	expect(t, b.attach(head, true), 0, bytes.Repeat([]byte{each}, writers*4096))
	b.stop()
}

// TestDurabilityIsAFormat: a program that does not know the durability of a volume must not serve it.
func TestDurabilityIsAFormat(t *testing.T) {
	ctx, store := context.Background(), newStore(t)
	head := createDurable(t, store)
	if head.Format != 2 {
		t.Errorf("with it the head has format %d", head.Format)
	}
	a := newGateway(t, store, gatewayOptions{name: "a"})
	v := a.attach(head, false)
	if err := v.SetDurability(ctx, volume.Local, false); err != nil {
		t.Fatal(err)
	}
	if got := v.Head().Format; got != 1 {
		t.Errorf("without it the head has format %d", got)
	}
	if err := v.SetDurability(ctx, volume.Local, true); err != nil {
		t.Fatal(err)
	}
	if got := v.Head().Format; got != 2 {
		t.Errorf("where writes wait for it the head has format %d", got)
	}
	a.stop()
}

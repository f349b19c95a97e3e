package volume

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// take calls Take in a goroutine, and returns when that is done or waits.
func take(ctx context.Context, b *Buffer, n int64, name string, got chan<- string) {
	go func() {
		if b.Take(ctx, n, true) == nil {
			got <- name
		}
	}()
	time.Sleep(time.Second) // it may be slowed down first
}

// TestBufferIsFair: room is given in the order in which it was asked for, also where a later and
// smaller request would fit at once. So a write that an initiator has given up, and sent again
// over another path, is not carried out after the one that took its place.
func TestBufferIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffer(100)
		b.add(100)
		got := make(chan string, 10)
		for _, name := range []string{"a", "b", "c", "d"} {
			take(t.Context(), b, 30, name, got)
		}
		take(t.Context(), b, 1, "small", got)
		b.Release(29)
		for _, step := range []struct {
			free int64
			want string
		}{{1, "a"}, {30, "b"}, {30, "c"}, {30, "d"}, {1, "small"}} {
			synctest.Wait()
			if len(got) != 0 {
				t.Fatalf("%s has overtaken %s", <-got, step.want)
			}
			b.Release(step.free)
			if name := <-got; name != step.want {
				t.Fatalf("%s has overtaken %s", name, step.want)
			}
		}
		if used, _ := b.Usage(); used != 100 {
			t.Fatalf("%d bytes in use", used)
		}
	})
}

// TestBufferForgetsWhoGaveUp: a request that is given up takes nothing, and holds up nobody.
func TestBufferForgetsWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffer(100)
		b.add(75)
		got := make(chan string, 10)
		ctx, cancel := context.WithCancel(t.Context())
		take(ctx, b, 50, "given up", got)
		take(t.Context(), b, 25, "behind it", got)
		if err := b.Take(t.Context(), 1, false); !errors.Is(err, syscall.EAGAIN) {
			t.Fatalf("without waiting: %v", err)
		}
		cancel()
		synctest.Wait()
		if name := <-got; name != "behind it" {
			t.Fatal(name)
		}
		if used, _ := b.Usage(); used != 100 {
			t.Fatalf("%d bytes in use", used)
		}
		b.Release(100)
		if err := b.Take(t.Context(), 80, false); err != nil {
			t.Fatal(err)
		}
	})
}

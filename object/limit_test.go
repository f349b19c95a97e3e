package object_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/object"
	"sluice/object/memory"
	"sluice/object/storetest"
)

func TestLimitConformance(t *testing.T) {
	storetest.Run(t, func(testing.TB) object.Store {
		return object.Limit(memory.New(), object.LimitOptions{Requests: 2, Up: 4 << 30, Down: 4 << 30})
	})
}

// slowStore takes a second for each request and notes how many run at once.
type slowStore struct {
	object.Store
	mu        sync.Mutex
	now, most int
}

func (s *slowStore) Stat(context.Context, string) (object.Info, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	time.Sleep(time.Second)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return object.Info{}, nil
}

func TestLimitOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{}
		s := object.Limit(slow, object.LimitOptions{Requests: 4})
		began := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := s.Stat(t.Context(), "key"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if slow.most != 4 || time.Since(began) != 5*time.Second {
			t.Errorf("%d at once, all in %v; want 4 and 5 s", slow.most, time.Since(began))
		}
	})
}

// TestLimitOfBytes sends and receives bodies much larger than what the limiter lets
// through in one go.
func TestLimitOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := object.Limit(memory.New(), object.LimitOptions{Up: 1 << 20, Down: 2 << 20})
		body := make([]byte, 10<<20)
		took := func(f func() error) time.Duration {
			began := time.Now()
			if err := f(); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		between := func(what string, got, least, most time.Duration) {
			t.Helper()
			if got < least || got > most {
				t.Errorf("%s took %v, want %v to %v", what, got, least, most)
			}
		}
		up := func() error { _, err := s.Put(t.Context(), "key", body); return err }
		down := func() error { _, _, err := s.GetRange(t.Context(), "key", 0, -1); return err }
		between("10 MiB at 1 MiB/s", took(up), 9800*time.Millisecond, 10*time.Second)
		between("10 MiB at 2 MiB/s", took(down), 4800*time.Millisecond, 5*time.Second)
		// Asking for more than there is costs no more.
		between("4 KiB", took(func() error { _, _, err := s.GetRange(t.Context(), "key", 10<<20-4096, 1<<40); return err }), 0, 10*time.Millisecond)
		s.SetRates(0, 0)
		between("without limit", took(up)+took(down), 0, 0)
		s.SetRates(10<<20, 0)
		between("10 MiB at 10 MiB/s", took(up), 800*time.Millisecond, time.Second)
	})
}

func TestLimitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := object.Limit(memory.New(), object.LimitOptions{Requests: 1, Up: 1 << 20})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2 { // one waits for bandwidth, the other for its slot
			wg.Go(func() {
				_, err := s.Put(ctx, "key", make([]byte, 100<<20))
				if !errors.Is(err, context.Canceled) || object.Transient(err) {
					t.Errorf("got %v", err)
				}
			})
		}
		time.Sleep(time.Second)
		cancel()
		wg.Wait()
		if _, err := s.Stat(t.Context(), "key"); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("afterwards: %v, want a free slot and no object", err)
		}
	})
}

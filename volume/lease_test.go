package volume_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume"
)

// memNotes are Notes in memory.
type memNotes struct{ nonces []string }

func (n *memNotes) Load() ([]string, error) { return n.nonces, nil }
func (n *memNotes) Save(s []string) error   { n.nonces = slices.Clone(s); return nil }

// farStore answers after a while, or not at all.
type farStore struct {
	object.Store
	away  atomic.Bool
	delay atomic.Int64 // of a PutIf, before it takes effect and after, each
}

func (s *farStore) PutIf(ctx context.Context, key string, body []byte, match string) (string, error) {
	if s.away.Load() {
		return "", errors.New("away")
	}
	time.Sleep(time.Duration(s.delay.Load()))
	defer time.Sleep(time.Duration(s.delay.Load()))
	return s.Store.PutIf(ctx, key, body, match)
}

const term = 15 * time.Second

// leased is a claim with a lease that is kept.
func leased(ctx context.Context, t *testing.T, store object.Store, h *volume.Head, gateway string, force bool) (*volume.Claim, *error) {
	t.Helper()
	lost := new(error)
	c, err := volume.NewClaim(ctx, volume.ClaimOptions{
		Store: store, Volume: h.ID, Gateway: gateway, Lease: term, Group: "g", Force: force, Notes: &memNotes{},
		Lost: func(err error) { *lost = err },
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Lease().Held() {
		t.Error("the lease is held before the ownership is taken")
	}
	if err := c.Take(ctx); err != nil {
		t.Fatal(err)
	}
	go c.KeepLease(ctx, slog.New(slog.DiscardHandler))
	return c, lost
}

// TestLease follows a lease through the life of a gateway that loses touch with the bucket, finds it again, and is superseded.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store := &farStore{Store: memory.New()}
		h := create(t, store, 16*mib)
		a, lost := leased(ctx, t, store, h, "a", false)
		for range 3600 { // an hour
			time.Sleep(time.Second)
			if !a.Lease().Held() {
				t.Fatal("it runs out although it is renewed")
			}
		}

		store.away.Store(true)
		time.Sleep(term)
		if a.Lease().Held() {
			t.Fatal("it is held without the bucket")
		}
		waited := make(chan error, 1)
		go func() { waited <- a.Lease().Wait(ctx) }()
		time.Sleep(time.Hour)
		select {
		case err := <-waited:
			t.Fatalf("I/O is let in: %v", err)
		default:
		}
		brief, done := context.WithTimeout(ctx, time.Second)
		defer done()
		if err := a.Lease().Wait(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who gives up is told %v", err)
		}
		store.away.Store(false)
		err := <-waited
		synctest.Wait()
		if err != nil || !a.Lease().Held() || *lost != nil {
			t.Fatalf("after the bucket is back: %v, %v", err, *lost)
		}

		leased(ctx, t, store, h, "b", true)
		time.Sleep(term)
		synctest.Wait()
		if a.Lease().Held() || !errors.Is(*lost, volume.ErrLost) {
			t.Errorf("the superseded one goes on: %v", *lost)
		}
		if err := a.Lease().Wait(ctx); !errors.Is(err, volume.ErrLost) {
			t.Errorf("its I/O is told %v", err)
		}
	})
}

// TestLeaseCountsFromTheQuestion has answers come late: what counts is when the bucket was asked, since
// the head may have been written at once.
func TestLeaseCountsFromTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		store := &farStore{Store: memory.New()}
		h := create(t, store, 16*mib)
		store.delay.Store(int64(2 * time.Second))
		a, _ := leased(ctx, t, store, h, "a", false) // the head is written 2 s after the question, the answer comes 2 s later
		store.away.Store(true)
		time.Sleep(term - 4*time.Second - time.Millisecond)
		if !a.Lease().Held() {
			t.Error("it runs out early")
		}
		time.Sleep(2 * time.Millisecond)
		if a.Lease().Held() {
			t.Error("it is held longer than its term after the question")
		}
	})
}

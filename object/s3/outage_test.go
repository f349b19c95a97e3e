package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/object"
	"sluice/object/s3"
	"sluice/test/s3server"
)

// TestOutages kills and freezes a real server under writers that retry. Every write that
// was acknowledged must be there, whole, and none may fail.
func TestOutages(t *testing.T) {
	srv := s3server.Start(t)
	srv.Setenv(t)
	counter := object.Count(open(t, srv, "outages", func(*s3.Options) {}))
	store := object.Retry(counter, object.RetryOptions{
		MinDelay: 5 * time.Millisecond, MaxDelay: 50 * time.Millisecond, AttemptTimeout: 300 * time.Millisecond, MinRate: 1 << 30,
	})

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const writers = 4
	var written [writers]int
	body := func(w, i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%d/%d ", w, i)), 20_000) }
	key := func(w, i int) string { return fmt.Sprintf("writer-%d/%04d", w, i) }
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for ; ; written[w]++ {
				// Its retries meet objects of its own.
				_, err := store.PutIf(ctx, key(w, written[w]), body(w, written[w]), "")
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	awaitWrites(t, counter, 20)
	for range 3 {
		srv.Kill()
		awaitErrors(t, counter, 5)
		srv.Restart()
		awaitWrites(t, counter, 20)
	}
	srv.Freeze()
	awaitErrors(t, counter, writers)
	srv.Thaw()
	awaitWrites(t, counter, 20)
	stop()
	wg.Wait()

	for w := range writers {
		for i := range written[w] {
			got, _, err := store.GetRange(t.Context(), key(w, i), 0, -1)
			if err != nil || !bytes.Equal(got, body(w, i)) {
				t.Errorf("%s: %d bytes, %v", key(w, i), len(got), err)
			}
		}
	}
	t.Logf("written: %v, %+v", written, counter.Stats().PutIf)
}

// awaitWrites waits until so many more writes have succeeded.
func awaitWrites(t *testing.T, c *object.Counter, more int64) {
	t.Helper()
	await(t, c, more, func(s object.OpStats) int64 { return s.Calls - s.Errors })
}

// awaitErrors waits until so many more attempts have failed.
func awaitErrors(t *testing.T, c *object.Counter, more int64) {
	t.Helper()
	await(t, c, more, func(s object.OpStats) int64 { return s.Errors })
}

func await(t *testing.T, c *object.Counter, more int64, of func(object.OpStats) int64) {
	t.Helper()
	goal := of(c.Stats().PutIf) + more
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for of(c.Stats().PutIf) < goal {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after a minute: %+v", c.Stats().PutIf)
		}
	}
}

// TestMissingBucket: a bucket that is not there must never look like an empty one.
func TestMissingBucket(t *testing.T) {
	srv := s3server.Start(t)
	srv.Setenv(t)
	s := open(t, srv, "", func(o *s3.Options) { o.Bucket = "no-such-bucket" })
	for op, call := range operations {
		if err := call(t.Context(), s); !errors.Is(err, object.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", op, err)
		}
	}
}

func TestWrongCredentials(t *testing.T) {
	srv := s3server.Start(t)
	srv.Setenv(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	err := object.Probe(t.Context(), open(t, srv, "", func(*s3.Options) {}))
	if !errors.Is(err, object.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
}

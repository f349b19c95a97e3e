package cache

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"sluice/object"
	"sluice/volume/segment"
)

func TestMissBecomesHit(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.store(1, 1)
	p := make([]byte, segment.BlockSize)
	if err := e.c.Read(context.Background(), id(1), 3, p, false); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("a read that may not wait: %v", err)
	}
	if e.gets() != 0 {
		t.Fatal("it went to the bucket all the same")
	}
	e.mustRead(1, 3, 1)
	if e.gets() != 2 { // header and frame
		t.Fatalf("%d requests", e.gets())
	}
	if err := e.c.Read(context.Background(), id(1), 0, make([]byte, frameBytes), false); err != nil {
		t.Fatalf("the rest of the frame: %v", err)
	}
	st := e.c.Stats()
	if st.Hits != 1 || st.Misses != 1 || st.Segments != 1 || st.Bytes != frameBytes || st.Fetched != frameBytes {
		t.Fatalf("%+v", st)
	}
	e.check()
}

func TestOneRequestForARun(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.store(1, 1)
	e.mustRead(1, 0, 1) // also fetches the header
	for _, step := range []struct {
		slot, n uint32
		gets    int64
	}{
		{16, 16, 1}, // one frame
		{5, 59, 1},  // two more behind it
		{0, 64, 0},
	} {
		before := e.gets()
		e.mustRead(1, step.slot, step.n)
		if got := e.gets() - before; got != step.gets {
			t.Errorf("%d slots from %d: %d requests instead of %d", step.n, step.slot, got, step.gets)
		}
	}
	// A frame in the middle that is present parts a run in two.
	if !e.c.Invalidate(id(1), 0, 1) || !e.c.Invalidate(id(1), 63, 1) {
		t.Fatal("a clean copy cannot be invalidated")
	}
	before := e.gets()
	e.mustRead(1, 0, 64)
	if got := e.gets() - before; got != 2 {
		t.Errorf("two runs: %d requests", got)
	}
	e.check()
}

func TestPrefetch(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.store(1, 1)
	if err := e.c.Prefetch(context.Background(), id(1), 20, 40); err != nil {
		t.Fatal(err)
	}
	if !e.holds(1, 16, 48) || e.holds(1, 0, 1) {
		t.Error("other slots than the frames of those asked for are present")
	}
	if got := e.gets(); got != 2 {
		t.Errorf("%d requests", got)
	}
	e.check()
}

// Many readers of the same cold blocks: one asks the bucket, all get the answer.
func TestReadersShareRequests(t *testing.T) {
	for _, fail := range []int{-1, 0, 1} { // none, the header, the frames
		e := newEnv(t, 1<<30)
		e.store(1, 1)
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			injected := errors.New("no answer")
			e.fault = func(c object.Call) object.Outcome {
				<-release
				if c.N == fail {
					return object.Outcome{Err: injected}
				}
				return object.Outcome{}
			}
			var readers sync.WaitGroup
			errs := make([]error, 20)
			for i := range errs {
				readers.Go(func() { errs[i] = e.read(1, uint32(i), 16) })
			}
			for range 2 {
				synctest.Wait()
				release <- struct{}{}
				synctest.Wait()
				if fail == 0 {
					break
				}
			}
			close(release)
			readers.Wait()
			failed := 0
			for _, err := range errs {
				if errors.Is(err, injected) {
					failed++
				} else if err != nil {
					t.Error(err)
				}
			}
			switch {
			case fail == -1 && failed > 0:
				t.Errorf("%d readers failed", failed)
			case fail == 0 && failed != len(errs):
				t.Errorf("%d of %d readers of a header that failed heard of it", failed, len(errs))
			case fail == 1 && failed == 0:
				t.Error("no reader heard of a frame that failed")
			}
		})
		// Some readers want one frame, others two or three: at most one request for each.
		if max := int64(4); fail == -1 && e.gets() > max {
			t.Errorf("%d requests by 20 readers of three frames", e.gets())
		}
		e.fault = nil
		e.mustRead(1, 0, testBlocks)
		e.check()
	}
}

// That one reader gives up does not fail the others.
func TestCancelledReaderIsReplaced(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.store(1, 1)
	synctest.Test(t, func(t *testing.T) {
		e.fault = func(c object.Call) object.Outcome { return object.Outcome{Hang: c.N == 0} }
		ctx, cancel := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		readers.Go(func() {
			err := e.c.Read(ctx, id(1), 0, make([]byte, segment.BlockSize), true)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the reader that gave up: %v", err)
			}
		})
		synctest.Wait() // it is the first to ask
		for range 5 {
			readers.Go(func() {
				if err := e.read(1, 0, 1); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		readers.Wait()
	})
	if e.gets() != 2 {
		t.Errorf("%d requests reached the bucket", e.gets())
	}
	e.check()
}

func TestInvalidate(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.create(1, true)
	e.create(2, false)
	for _, n := range []int{1, 2} {
		s := e.c.Acquire(id(n))
		if _, err := s.File.WriteAt([]byte("rotten"), segment.SlotOffset(5)); err != nil {
			t.Fatal(err)
		}
		s.Release()
		if err := e.read(n, 5, 1); !errors.Is(err, errWrong) {
			t.Fatalf("the damage is not there: %v", err)
		}
	}
	if e.c.Invalidate(id(2), 5, 1) {
		t.Error("the only copy was given up")
	}
	if !e.c.Invalidate(id(1), 5, 1) {
		t.Fatal("a sent segment cannot be invalidated")
	}
	e.mustRead(1, 0, testBlocks)
	if !e.c.Invalidate(id(3), 5, 1) {
		t.Error("what is not here cannot be fetched")
	}
	e.check()
}

// A reader that held a segment while it was evicted may invalidate it as well.
func TestInvalidateAfterEviction(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.create(1, true)
	s := e.c.Acquire(id(1))
	if err := e.c.Discard(id(1)); err != nil {
		t.Fatal(err)
	}
	if !s.forget(5, 1) {
		t.Error("an evicted copy passes for one that is not in the bucket")
	}
	s.Release()
	e.mustRead(1, 5, 1)
	e.check()
}

// What the disk does not give back comes from the bucket.
func TestLocalReadError(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.create(1, true)
	if err := os.Truncate(e.c.path(id(1)), segment.MetaSize+10); err != nil {
		t.Fatal(err)
	}
	if err := e.c.Read(context.Background(), id(1), 7, make([]byte, segment.BlockSize), false); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a reader that may not wait: %v", err)
	}
	e.mustRead(1, 40, 2)
	e.mustRead(1, 0, testBlocks)
	e.create(2, false)
	if err := os.Truncate(e.c.path(id(2)), segment.MetaSize); err != nil {
		t.Fatal(err)
	}
	if err := e.read(2, 7, 1); err == nil || !strings.Contains(err.Error(), id(2).String()) {
		t.Errorf("the only copy is cut off: %v", err)
	}
	e.check()
}

// A write to the local copy that fails fails the read, and leaves nothing present.
func TestLocalWriteError(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.store(1, 1)
	e.mustRead(1, 0, 1)
	s := e.c.Acquire(id(1))
	good := s.File
	readOnly, err := os.Open(good.Name())
	if err != nil {
		t.Fatal(err)
	}
	s.File = readOnly
	if err := e.read(1, 16, 32); err == nil || !strings.Contains(err.Error(), "caching segment") {
		t.Errorf("a disk that takes no writes: %v", err)
	}
	if e.holds(1, 16, 1) {
		t.Error("a block is present that was never written")
	}
	s.File = good
	s.Release()
	if err := readOnly.Close(); err != nil {
		t.Fatal(err)
	}
	e.mustRead(1, 0, testBlocks)
	e.check()
}

func TestImpossibleRanges(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.store(1, 1)
	e.mustRead(1, 0, 1)
	ctx, p := context.Background(), make([]byte, 2*segment.BlockSize)
	for name, err := range map[string]error{
		"behind the end":     e.c.Read(ctx, id(1), segment.Slots-1, p, true),
		"far behind the end": e.c.Read(ctx, id(1), 1<<32-1, p, true),
		"part of a block":    e.c.Read(ctx, id(1), 0, p[:100], true),
		"never written":      e.c.Read(ctx, id(1), testBlocks-1, p, true),
		"prefetch":           e.c.Prefetch(ctx, id(1), 8000, 1<<31),
	} {
		if err == nil || !strings.Contains(err.Error(), id(1).String()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e.c.Invalidate(id(1), 8000, 1) {
		t.Error("slots were invalidated that no segment has")
	}
	e.check()
}

func BenchmarkReadHit(b *testing.B) {
	e := newEnv(b, 1<<30)
	e.create(1, true)
	p := make([]byte, segment.BlockSize)
	b.ReportAllocs()
	b.SetBytes(segment.BlockSize)
	for i := 0; b.Loop(); i++ {
		if err := e.c.Read(context.Background(), id(1), uint32(i%testBlocks), p, false); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHotPathsDoNotAllocate(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.create(1, true)
	e.store(2, 2)
	e.mustRead(2, 0, 1)
	p := make([]byte, segment.BlockSize)
	for _, c := range []struct {
		name string
		n    int
		slot uint32
		want error
	}{{"whole", 1, 5, nil}, {"partial", 2, 5, nil}, {"partly here", 2, 50, syscall.EAGAIN}, {"not here", 3, 0, syscall.EAGAIN}} {
		n := testing.AllocsPerRun(100, func() {
			if err := e.c.Read(context.Background(), id(c.n), c.slot, p, false); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", c.name, err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

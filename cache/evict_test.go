package cache

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/volume/segment"
)

// A hot set of eight segments in a cache of sixteen survives passes over a hundred others.
func TestScanLeavesTheHotSet(t *testing.T) {
	const hot, all = 8, 100
	e := newEnv(t, 16*testBytes)
	e.store(1, all)
	warm := func() (misses int64) {
		before := e.c.Stats().Misses
		for n := 1; n <= hot; n++ {
			e.mustRead(n, 0, testBlocks)
		}
		return e.c.Stats().Misses - before
	}
	warm()
	e.pass(promoteAfter)
	if n := warm(); n > 0 {
		t.Fatalf("%d misses while the hot set was all there was", n)
	}
	for pass := range 3 {
		misses := int64(0)
		for n := hot + 1; n <= all; n++ {
			e.mustRead(n, 0, 1) // a pass reads each segment in many small steps
			e.mustRead(n, 0, testBlocks)
			e.pass(time.Second)
			if n%10 == 0 {
				misses += warm()
			}
		}
		if misses > 0 {
			t.Errorf("pass %d: %d misses in the hot set", pass, misses)
		}
	}
	e.check()
}

// Whole newcomers, which are large, do not displace partial copies, which are many.
func TestNewcomersDoNotDisplaceSmallCopies(t *testing.T) {
	const hot = 20
	e := newEnv(t, 4*segment.FileSize)
	e.store(1, hot)
	for range 2 {
		for n := 1; n <= hot; n++ {
			e.mustRead(n, 0, testBlocks) // in all less than a quarter of the cache
		}
		e.pass(promoteAfter)
	}
	for n := hot + 1; n <= hot+10; n++ {
		e.create(n, true)
	}
	for n := 1; n <= hot; n++ {
		if !e.holds(n, 0, testBlocks) {
			t.Errorf("segment %d was displaced", n)
		}
	}
	e.check()
}

// What was evicted as a newcomer and comes back soon counts as used again.
func TestReturnerIsPromoted(t *testing.T) {
	e := newEnv(t, 4*testBytes)
	e.store(1, 20)
	for n := 1; n <= 5; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	if e.holds(1, 0, 1) {
		t.Fatal("the oldest newcomer is still here")
	}
	e.mustRead(1, 0, testBlocks)
	for n := 6; n <= 20; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	if !e.holds(1, 0, testBlocks) {
		t.Error("it was displaced again")
	}
	e.check()
}

func TestBudget(t *testing.T) {
	e := newEnv(t, 3*segment.FileSize)
	for n := 1; n <= 8; n++ {
		e.create(n, false)
	}
	e.store(9, 30)
	for n := 9; n <= 30; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	for n := 1; n <= 8; n++ {
		if !e.holds(n, 0, testBlocks) {
			t.Fatalf("unsent segment %d was evicted", n)
		}
	}
	for n := 1; n <= 8; n++ {
		e.store(n, n)
		if err := e.c.Sent(id(n)); err != nil {
			t.Fatal(err)
		}
		if st := e.c.Stats(); st.Bytes > st.Budget {
			t.Errorf("%d bytes with a budget of %d", st.Bytes, st.Budget)
		}
	}
	if st := e.c.Stats(); st.Segments != 3 || st.Evicted == 0 {
		t.Errorf("%+v", st)
	}
	for n := 1; n <= 30; n++ {
		e.mustRead(n, 0, testBlocks)
	}
	e.check()
}

// A cache smaller than what is read at once is of no use, but works.
func TestNoBudget(t *testing.T) {
	e := newEnv(t, 0)
	e.store(1, 2)
	e.mustRead(1, 0, testBlocks)
	e.mustRead(2, 0, testBlocks)
	e.create(3, true)
	e.mustRead(3, 0, testBlocks)
	if st := e.c.Stats(); st.Bytes != 0 || st.Segments != 0 {
		t.Errorf("%+v", st)
	}
	e.check()
}

// The number of open files is bounded even if the copies have nothing in them.
func TestBoundOnCopies(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.c.copies = 5
	for n := 1; n <= 20; n++ {
		if err := e.read(n, 0, 1); err == nil {
			t.Fatal("a segment was read that is nowhere")
		}
	}
	e.store(21, 40)
	for n := 21; n <= 40; n++ {
		e.mustRead(n, 0, 1)
	}
	if n := len(e.c.table.all()); n != 5 {
		t.Errorf("%d copies", n)
	}
	e.check()
}

// A file is used again only when nobody reads it any more.
func TestFilesAreUsedAgain(t *testing.T) {
	e := newEnv(t, segment.FileSize)
	e.create(1, true)
	reader := e.c.Acquire(id(1))
	e.create(2, true) // evicts 1
	if e.c.Acquire(id(1)) != nil {
		t.Fatal("segment 1 was not evicted")
	}
	before, err := reader.File.Stat()
	if err != nil {
		t.Fatal(err)
	}
	e.create(3, false)
	p := make([]byte, segment.BlockSize)
	if err := segment.ReadBlocks(reader.File, 7, p); err != nil || string(p) != string(block(id(1), 7)) {
		t.Fatalf("an evicted segment changed under its reader: %v", err)
	}
	reader.Release()
	e.create(4, false)
	after, err := os.Stat(e.c.path(id(4)))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the file was not used again")
	}
	e.check()
}

func TestCreateThatFails(t *testing.T) {
	e := newEnv(t, segment.FileSize)
	_, err := e.c.Create(id(1), testVolume, func(f *os.File) error { return os.ErrInvalid })
	if err == nil || e.c.Acquire(id(1)) != nil {
		t.Fatalf("created all the same: %v", err)
	}
	e.check()
	e.create(1, false)
	if _, err := e.c.Create(id(1), testVolume, func(f *os.File) error { return nil }); err == nil {
		t.Fatal("a segment was made twice")
	}
	e.mustRead(1, 0, testBlocks)
	// A spare file that somebody removed.
	e.create(2, true)
	if err := e.c.Discard(id(2)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(e.c.spareDir(), "1.seg")); err != nil {
		t.Fatal(err)
	}
	e.create(3, false)
	e.mustRead(3, 0, testBlocks)
	e.check()
}

func TestDiscard(t *testing.T) {
	e := newEnv(t, 1<<30)
	e.create(1, false)
	e.create(2, true)
	e.store(3, 3)
	e.mustRead(3, 0, 1)
	if err := e.c.Discard(id(1), id(2), id(3), id(4)); err != nil {
		t.Fatal(err)
	}
	if st := e.c.Stats(); st.Bytes != 0 || st.Segments != 0 || len(e.c.Unsent(testVolume)) != 0 {
		t.Errorf("%+v", st)
	}
	if err := e.c.Sent(id(1)); err == nil {
		t.Error("a discarded segment was marked as sent")
	}
	e.check()
}

// The queue's sums agree with what it holds, whatever is done to it.
func TestQueueKeepsItsSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, now, sizes := newTwoQueue(), time.Unix(0, 0), map[segment.ID]int64{}
		ids := rapid.Uint64Range(1, 12)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			id := segment.ID(ids.Draw(t, "id"))
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				if id, ok := q.victim(); ok != (len(sizes) > 0) {
					t.Fatalf("victim: %v, of %d", ok, len(sizes))
				} else if ok {
					if _, held := sizes[id]; !held {
						t.Fatalf("victim %d is not held", id)
					}
					delete(sizes, id)
				}
			case 1:
				q.remove(id)
				delete(sizes, id)
			case 2:
				q.touch(id, now)
			default:
				sizes[id] = rapid.Int64Range(0, 100).Draw(t, "size")
				q.put(id, sizes[id], now)
			}
			sum, recents := int64(0), int64(0)
			for _, n := range sizes {
				sum += n
			}
			for _, h := range q.recent.Values() {
				recents += h.size
			}
			if q.bytes != sum || q.recents != recents || q.len() != len(sizes) {
				t.Fatalf("%d bytes, %d recent, in %d; should be %d, %d, %d", q.bytes, q.recents, q.len(), sum, recents, len(sizes))
			}
		}
	})
}

package blockmap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume/segment"
)

var name1 = segment.NewName(segment.NewID(1, 1), 0)

// rooted writes n pages, one block in each, and returns a store with their root.
func rooted(t *testing.T, n int) (*memory.Store, Root, blocks) {
	t.Helper()
	store, want := memory.New(), blocks{}
	m := open(t, testDB(t), 1, Options{Store: store})
	for i := range n {
		block, crcs := uint64(i)*pageBlocks+uint64(i), crcsFor(i, 1)
		must(t, m.Set(t.Context(), block, name1+segment.Name(i), crcs))
		want.set(block, name1+segment.Name(i), crcs)
	}
	f := m.Freeze(7)
	root, err := f.WriteRoot(t.Context(), store, "roots/7")
	must(t, err)
	f.Done()
	must(t, m.Close())
	return store, root, want
}

// A volume that was never written has no position, and reads as zeros.
func TestOpenEmpty(t *testing.T) {
	m := open(t, testDB(t), 1, Options{})
	if pos, ok := m.Position(); ok {
		t.Errorf("a new map has position %s", pos)
	}
	blocks{}.check(t, m, [][2]uint64{{0, 1000}, {MaxBlocks - 1, 1}})
	mapped, end, err := m.Extent(t.Context(), 5)
	if mapped || end <= pageBlocks || err != nil {
		t.Errorf("extent: %v, %d, %v", mapped, end, err)
	}
}

func TestRange(t *testing.T) {
	m := open(t, testDB(t), 1, Options{})
	_, _, extent := m.Extent(t.Context(), MaxBlocks)
	for what, err := range map[string]error{
		"lookup": m.Lookup(t.Context(), MaxBlocks-1, make([]segment.Entry, 2), true),
		"set":    m.Set(t.Context(), MaxBlocks, name1, []uint32{1}),
		"clear":  m.Clear(t.Context(), 1, MaxBlocks),
		"wrap":   m.Clear(t.Context(), 5, 1<<64-3),
		"load":   m.Load(t.Context(), 1<<63, 1, true),
		"nodes":  m.LoadNodes(t.Context(), MaxBlocks+1, 0),
		"extent": extent,
	} {
		if !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v, want ErrRange", what, err)
		}
	}
	if m.Set(t.Context(), 0, 0, []uint32{1}) == nil {
		t.Error("the name 0 was accepted")
	}
	must(t, m.Clear(t.Context(), 0, MaxBlocks), m.Clear(t.Context(), 3, 0), m.LoadNodes(t.Context(), MaxBlocks, 0))
}

// Without waiting, what is in the bucket only is EAGAIN; neighbours come along with what is fetched.
func TestWait(t *testing.T) {
	store, root, want := rooted(t, 100)
	m := open(t, testDB(t), 2, Options{Store: store})
	must(t, m.LoadRoot(t.Context(), root))
	var out [1]segment.Entry
	for _, err := range []error{m.Lookup(t.Context(), 0, out[:], false), m.Load(t.Context(), 0, 1, false)} {
		if !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("got %v, want EAGAIN", err)
		}
	}
	must(t, m.Load(t.Context(), 0, 1, true))
	if n := m.Stats().Fetches; n != 3 { // root, node, pages
		t.Errorf("%d reads from the bucket, want 3", n)
	}
	for i := range uint64(fetchPages) {
		must(t, m.Lookup(t.Context(), i*pageBlocks+i, out[:], false))
		if out[0] != want[i*pageBlocks+i] {
			t.Errorf("page %d: %+v", i, out[0])
		}
	}
}

// Every bit of what is read from the bucket matters: flipped, it is an error that names
// the object, and the next try reads the right thing.
func TestDamagedObject(t *testing.T) {
	store, root, want := rooted(t, 3)
	var flip atomic.Int64
	faulty := object.Fault(store, func(c object.Call) object.Outcome {
		if bit := flip.Load(); bit >= 0 {
			return object.Outcome{Mutate: object.FlipBit(int(bit))}
		}
		return object.Outcome{}
	})
	db := testDB(t)
	var out [1]segment.Entry
	damaged := func(what string, f func() error) {
		t.Helper()
		flip.Store(rand.Int64N(200))
		if err := f(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), root.Key) {
			t.Errorf("%s with bit %d flipped: %v", what, flip.Load(), err)
		}
		flip.Store(-1)
	}
	for range 50 {
		m := open(t, db, 2, Options{Store: faulty})
		damaged("root", func() error { return m.LoadRoot(t.Context(), root) })
		must(t, m.LoadRoot(t.Context(), root))
		damaged("node", func() error { return m.LoadNodes(t.Context(), 10*pageBlocks, 1) })
		must(t, m.LoadNodes(t.Context(), 10*pageBlocks, 1))
		// The last page, since damage to a neighbour that comes along is passed over.
		damaged("page", func() error { return m.Lookup(t.Context(), 2*pageBlocks, out[:], true) })
		want.check(t, m, [][2]uint64{{0, 4 * pageBlocks}})
		must(t, m.Close(), Drop(db, [16]byte{2}))
	}
	wrong := root
	wrong.Position++
	if err := open(t, db, 3, Options{Store: store}).LoadRoot(t.Context(), wrong); !errors.Is(err, ErrDamaged) {
		t.Errorf("a root with another position: %v", err)
	}
}

// Every stored value is checked: with any bit of it flipped, opening or reading is ErrCorrupt.
func TestCorruptLocal(t *testing.T) {
	store, root, _ := rooted(t, 3)
	db := testDB(t)
	m := open(t, db, 2, Options{Store: store})
	must(t, m.LoadRoot(t.Context(), root))
	must(t, m.Set(t.Context(), 0, name1, crcsFor(1, 2)), m.Checkpoint(t.Context(), 8), m.Close())
	l := newLocal(db, [16]byte{2})
	for _, key := range [][]byte{l.kind(kindMeta), l.key(kindPage, 0), l.key(kindDirty, 0)} {
		good, err := l.get(key)
		must(t, err)
		for i := range 8 * (len(good) + 4) {
			if i%7 > 0 && i > 200 {
				continue
			}
			bad := seal(append([]byte(nil), good...), 0)
			bad[i/8] ^= 1 << (i % 8)
			wb := db.NewWriteBatch()
			must(t, wb.Set(key, bad), wb.Flush())
			m, err := Open(db, [16]byte{2}, Options{Store: store})
			if err == nil {
				err = m.Load(t.Context(), 0, 1, true)
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("key %x, bit %d: %v", key, i, err)
			}
		}
		must(t, l.put(key, good))
	}
}

// A page that is emptied while a frozen state still has it must not come back from the
// bucket when that state has become the root.
func TestClearedDuringFreeze(t *testing.T) {
	store := memory.New()
	m := open(t, testDB(t), 1, Options{Store: store})
	must(t, m.Set(t.Context(), 0, name1, crcsFor(1, 1)))
	f := m.Freeze(1)
	must(t, m.Clear(t.Context(), 0, pageBlocks), m.Checkpoint(t.Context(), 1))
	root, err := f.WriteRoot(t.Context(), store, "roots/1")
	must(t, err)
	f.Done()
	must(t, m.Checkpoint(t.Context(), 1), m.Close())
	blocks{}.check(t, open(t, m.local.db, 1, Options{Store: store}), [][2]uint64{{0, pageBlocks}})

	old := open(t, m.local.db, 2, Options{Store: store})
	must(t, old.LoadRoot(t.Context(), root))
	want := blocks{}
	want.set(0, name1, crcsFor(1, 1))
	want.check(t, old, [][2]uint64{{0, pageBlocks}})
}

// Pages that did not change are not written again, and roots share them.
func TestRootsShare(t *testing.T) {
	store := memory.New()
	m := open(t, testDB(t), 1, Options{Store: store})
	write := func(pos segment.ID) (Root, int64) {
		f := m.Freeze(pos)
		defer f.Done()
		root, err := f.WriteRoot(t.Context(), store, fmt.Sprintf("roots/%d", pos))
		must(t, err)
		info, err := store.Stat(t.Context(), root.Key)
		must(t, err)
		return root, info.Size
	}
	for i := range uint64(1000) {
		must(t, m.Set(t.Context(), i*pageBlocks, name1+segment.Name(i*pageBlocks), crcsFor(int(i), pageBlocks)))
	}
	if est := m.DirtyRootBytes(); est < 2_000_000 || est > 8_000_000 {
		t.Errorf("a root of 1000 full pages is estimated at %d bytes", est)
	}
	first, size := write(1)
	if size < 2_000_000 || size > 2_150_000 {
		t.Errorf("1000 full pages take %d bytes", size)
	}
	must(t, m.Set(t.Context(), 0, name1, crcsFor(0, 1)))
	if st := m.Stats(); st.DirtyPages != 1 {
		t.Errorf("%d pages are dirty after one write", st.DirtyPages)
	}
	if _, size := write(2); size > 20_000 {
		t.Errorf("one changed page makes a root of %d bytes", size)
	}
	again, _ := write(2)
	if second, _ := write(2); second != again || second == first {
		t.Errorf("a root of the same state is another one: %v, %v", second, again)
	}
}

func TestSuperseded(t *testing.T) {
	store := memory.New()
	m := open(t, testDB(t), 1, Options{Store: store})
	must(t, m.Set(t.Context(), 0, name1, crcsFor(1, 1)))
	old := m.Freeze(1)
	f := m.Freeze(1)
	if _, err := old.WriteRoot(t.Context(), store, "roots/1"); !errors.Is(err, ErrSuperseded) {
		t.Errorf("the older of two frozen states: %v", err)
	}
	old.Done()
	root, err := f.WriteRoot(t.Context(), store, "roots/1")
	must(t, err)
	f.Done()
	f.Done()
	other := open(t, m.local.db, 2, Options{Store: store})
	must(t, other.LoadRoot(t.Context(), root))
	want := blocks{}
	want.set(0, name1, crcsFor(1, 1))
	want.check(t, other, [][2]uint64{{0, 10}})
	if other.LoadRoot(t.Context(), root) == nil {
		t.Error("a root was loaded over another")
	}
}

// Readers, a writer, checkpoints and roots at once, with a cache that is much too small.
// Each entry names the block that it belongs to, so that a mix-up shows.
func TestConcurrent(t *testing.T) {
	store := memory.New()
	m := open(t, testDB(t), 1, Options{CacheBytes: shards * 700, Store: store})
	const span = 200 * pageBlocks
	entry := func(block uint64, round uint32) segment.Name { return segment.NewName(segment.ID(block+1), round) }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for r := range uint64(2) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(r, 1))
			var out [3]segment.Entry
			for ctx.Err() == nil {
				block := rnd.Uint64N(span)
				if err := m.Lookup(t.Context(), block, out[:], true); err != nil {
					t.Error(err)
					return
				}
				for i, e := range out {
					if e.Name != 0 && (e.Name.Segment() != segment.ID(block+uint64(i)+1) || e.CRC != e.Name.Index()) {
						t.Errorf("block %d has entry %+v", block+uint64(i), e)
					}
				}
			}
		})
	}
	var order sync.Mutex // Freeze comes between writes
	wg.Go(func() {
		for n := segment.ID(1); ctx.Err() == nil; n++ {
			err := m.Checkpoint(t.Context(), n)
			order.Lock()
			f := m.Freeze(n)
			order.Unlock()
			_, err2 := f.WriteRoot(t.Context(), store, fmt.Sprintf("roots/%d", n))
			f.Done()
			if err := errors.Join(err, err2); err != nil {
				t.Error(err)
			}
		}
	})
	rnd := rand.New(rand.NewPCG(9, 9))
	want := blocks{}
	for round := range uint32(4000) {
		block, crcs := rnd.Uint64N(span), []uint32{round}
		order.Lock()
		if round%50 == 49 {
			must(t, m.Clear(t.Context(), block, 3000))
			want.clear(block, 3000)
		} else {
			must(t, m.Set(t.Context(), block, entry(block, round), crcs))
			want.set(block, entry(block, round), crcs)
		}
		order.Unlock()
	}
	cancel()
	wg.Wait()
	want.check(t, m, [][2]uint64{{0, span}})
	must(t, m.Checkpoint(t.Context(), 1<<30), m.Close())
	want.check(t, open(t, m.local.db, 1, Options{Store: store}), [][2]uint64{{0, span}})
}

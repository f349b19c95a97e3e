package blockmap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"pgregory.net/rapid"

	"sluice/object"
	"sluice/object/memory"
	"sluice/volume/segment"
)

// The model test plays a gateway: it appends records to segments and applies them to the map,
// seals, checkpoints, freezes, writes roots, publishes them, dies and comes back, on
// its own disk or with nothing but the bucket. After each step the map must say what a plain
// Go map says.

// record is what a segment's metadata holds.
type record struct {
	seg   segment.ID
	block uint64
	crcs  []uint32 // nil: clear
	first segment.Name
	count uint64
}

// where the test writes: the beginning, both sides of a border between index nodes, the end.
var places = [][2]uint64{
	{0, 3 * pageBlocks},
	{nodePages*pageBlocks - pageBlocks - 5, 2*pageBlocks + 10},
	{70 * pageBlocks, 2 * pageBlocks},
	{MaxBlocks - 2*pageBlocks, 2 * pageBlocks},
}

type gateway struct {
	db    *badger.DB
	vol   [16]byte
	store *memory.Store
	bad   atomic.Bool // the bucket fails

	m     *Map
	want  blocks
	log   []record
	open  segment.ID // takes records
	slot  uint32
	trial int

	frozen     *Frozen
	frozenWant blocks
	head       *Root // published
	headWant   blocks
}

func (g *gateway) options() Options {
	faulty := object.Fault(g.store, func(object.Call) object.Outcome {
		if g.bad.Load() {
			return object.Outcome{Err: &object.Error{Err: object.ErrInjected, Transient: true}}
		}
		return object.Outcome{}
	})
	// So little that most pages are evicted before they are saved.
	return Options{CacheBytes: shards * 1000, Store: faulty}
}

func (g *gateway) apply(t *rapid.T, m *Map, r record) {
	if r.crcs == nil {
		must(t, m.Clear(context.Background(), r.block, r.count))
	} else {
		must(t, m.Set(context.Background(), r.block, r.first, r.crcs))
	}
}

func (g *gateway) replay(t *rapid.T, m *Map, after segment.ID) {
	for _, r := range g.log {
		if r.seg > after {
			g.apply(t, m, r)
		}
	}
}

func (g *gateway) do(t *rapid.T, r record) {
	r.seg = g.open
	g.log = append(g.log, r)
	g.apply(t, g.m, r)
	if r.crcs == nil {
		g.want.clear(r.block, r.count)
	} else {
		g.want.set(r.block, r.first, r.crcs)
	}
}

func (g *gateway) drawBlock(t *rapid.T) uint64 {
	p := rapid.SampledFrom(places).Draw(t, "place")
	return p[0] + rapid.Uint64Range(0, p[1]-1).Draw(t, "block")
}

func (g *gateway) set(t *rapid.T) {
	block := g.drawBlock(t)
	n := rapid.OneOf(rapid.IntRange(1, 3), rapid.IntRange(1, 600)).Draw(t, "count")
	n = int(min(uint64(n), MaxBlocks-block))
	if g.slot+uint32(n) > segment.MaxBlocks {
		g.seal(t)
	}
	g.trial++
	g.do(t, record{block: block, first: segment.NewName(g.open, g.slot), crcs: crcsFor(g.trial, n)})
	g.slot += uint32(n)
}

func (g *gateway) scatter(t *rapid.T) {
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	for range rapid.IntRange(1, 200).Draw(t, "writes") {
		p := places[rnd.IntN(len(places))]
		if g.slot == segment.MaxBlocks {
			g.seal(t)
		}
		g.trial++
		g.do(t, record{block: p[0] + rnd.Uint64N(p[1]), first: segment.NewName(g.open, g.slot), crcs: crcsFor(g.trial, 1)})
		g.slot++
	}
}

func (g *gateway) clear(t *rapid.T) {
	block := g.drawBlock(t)
	count := rapid.OneOf(rapid.Uint64Range(0, 2000), rapid.Uint64Range(0, MaxBlocks)).Draw(t, "count")
	g.do(t, record{block: block, count: min(count, MaxBlocks-block)})
}

func (g *gateway) seal(*rapid.T) { g.open, g.slot = g.open.Next(), 0 }

func (g *gateway) checkpoint(t *rapid.T) { must(t, g.m.Checkpoint(context.Background(), g.open-1)) }

func (g *gateway) freeze(t *rapid.T) {
	g.seal(t)
	g.frozen, g.frozenWant = g.m.Freeze(g.open-1), maps.Clone(g.want)
}

// writeRoot writes the root, in an outage at first, and may die before Done.
func (g *gateway) writeRoot(t *rapid.T) {
	if g.frozen == nil {
		t.Skip("nothing is frozen")
	}
	key := fmt.Sprintf("volumes/v/roots/%s", g.frozen.Position())
	write := func() (Root, error) {
		return g.frozen.WriteRoot(context.Background(), g.m.store, key)
	}
	if rapid.Bool().Draw(t, "outage") {
		g.bad.Store(true)
		_, err := write()
		g.bad.Store(false)
		if err != nil && !errors.Is(err, object.ErrInjected) {
			t.Fatalf("in an outage: %v", err)
		}
		if rapid.Bool().Draw(t, "writes meanwhile") {
			g.scatter(t)
		}
		if rapid.Bool().Draw(t, "give up") {
			g.frozen.Done()
			g.frozen = nil
			return
		}
	}
	root, err := write()
	must(t, err)
	g.head, g.headWant = &root, g.frozenWant
	if rapid.IntRange(0, 4).Draw(t, "die before Done") == 0 {
		g.crash(t)
		return
	}
	g.frozen.Done()
	g.frozen = nil
}

// crash is kill -9: what badger has is kept, what memory has is not.
func (g *gateway) crash(t *rapid.T) {
	must(t, g.m.Close())
	g.frozen = nil
	g.reopen(t)
	pos, ok := g.m.Position()
	if !ok {
		must(t, g.m.Close(), Drop(g.db, g.vol))
		g.reopen(t)
		if g.head != nil {
			must(t, g.m.LoadRoot(context.Background(), *g.head))
			pos = g.head.Position
		}
	}
	g.replay(t, g.m, pos)
}

func (g *gateway) reopen(t *rapid.T) {
	var err error
	g.m, err = Open(g.db, g.vol, g.options())
	must(t, err)
	g.m.partBytes = rapid.SampledFrom([]int{1, maxPartBytes}).Draw(t, "part") // an object for each node, or for all
}

// moveIn opens the published root on another gateway's empty disk.
func (g *gateway) moveIn(t *rapid.T) {
	if g.head == nil {
		t.Skip("no root")
	}
	vol := newVol()
	m, err := Open(g.db, vol, g.options())
	must(t, err)
	must(t, m.LoadRoot(context.Background(), *g.head))
	g.headWant.check(t, m, places) // exactly the state at the position: nothing later
	g.replay(t, m, g.head.Position)
	g.want.check(t, m, places)
	if !rapid.Bool().Draw(t, "stay") {
		must(t, m.Close(), Drop(g.db, vol))
		return
	}
	must(t, g.m.Close(), Drop(g.db, g.vol))
	g.m, g.vol, g.frozen = m, vol, nil
}

func (g *gateway) extents(t *rapid.T) {
	block := g.drawBlock(t)
	mapped, end, err := g.m.Extent(context.Background(), block)
	must(t, err)
	if end <= block || end > MaxBlocks {
		t.Fatalf("the extent of block %d ends at %d", block, end)
	}
	for _, p := range places {
		for b := max(block, p[0]); b < min(end, p[0]+p[1]); b++ {
			if (g.want[b].Name != 0) != mapped {
				t.Fatalf("extent %d-%d is mapped: %v, but block %d is not so", block, end, mapped, b)
			}
		}
	}
}

var volumes atomic.Uint64

func newVol() (vol [16]byte) {
	binary.BigEndian.PutUint64(vol[:], volumes.Add(1))
	return vol
}

func TestModel(t *testing.T) {
	db := testDB(t)
	rapid.Check(t, func(t *rapid.T) {
		g := &gateway{db: db, vol: newVol(), store: memory.New(), want: blocks{}, open: segment.NewID(3, 1)}
		g.reopen(t)
		t.Repeat(map[string]func(*rapid.T){
			"set":        g.set,
			"scatter":    g.scatter,
			"clear":      g.clear,
			"seal":       g.seal,
			"checkpoint": g.checkpoint,
			"freeze":     g.freeze,
			"writeRoot":  g.writeRoot,
			"crash":      g.crash,
			"moveIn":     g.moveIn,
			"extents":    g.extents,
			"":           func(t *rapid.T) { g.want.check(t, g.m, places) },
		})
		must(t, g.m.Close(), Drop(db, g.vol))
	})
}

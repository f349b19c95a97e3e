package blockmap

import (
	"context"
	"flag"
	"math/rand/v2"
	"runtime"
	"testing"

	"sluice/volume/segment"
)

func benchMap(b *testing.B, cache int64) *Map {
	db := diskDB(b, b.TempDir())
	b.Cleanup(func() { must(b, db.Close()) })
	m := open(b, db, 1, Options{CacheBytes: cache})
	b.Cleanup(func() { must(b, m.Close()) })
	return m
}

// fillRandom maps n random blocks of a volume of so many blocks, 2048 to a segment, and calls
// each after every segment.
func fillRandom(tb testing.TB, m *Map, n, volume int, each func(segment.ID)) {
	rnd := rand.New(rand.NewPCG(1, 1))
	crc := make([]uint32, 1)
	for i := range n {
		id := segment.NewID(1, uint32(i/2048+1))
		crc[0] = rnd.Uint32()
		must(tb, m.Set(context.Background(), rnd.Uint64N(uint64(volume)), segment.NewName(id, uint32(i%2048)), crc))
		if each != nil && i%2048 == 2047 {
			each(id)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for name, blocks := range map[string]int{"dense": 8 * pageBlocks, "sparse": 4096 * pageBlocks} {
		b.Run(name, func(b *testing.B) {
			m := benchMap(b, 1<<30)
			fillRandom(b, m, 40_000, blocks, nil)
			rnd := rand.New(rand.NewPCG(2, 2))
			var out [1]segment.Entry
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Lookup(b.Context(), rnd.Uint64N(uint64(blocks)), out[:], false); err != nil && name == "dense" {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	for name, blocks := range map[string]int{"dense": 8 * pageBlocks, "sparse": 4096 * pageBlocks} {
		b.Run(name, func(b *testing.B) {
			m := benchMap(b, 1<<30)
			fillRandom(b, m, 40_000, blocks, nil)
			rnd := rand.New(rand.NewPCG(2, 2))
			crc := []uint32{1}
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Set(b.Context(), rnd.Uint64N(uint64(blocks)), segment.Name(1<<40), crc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSet64K is a sequential write in requests of 64 KiB.
func BenchmarkSet64K(b *testing.B) {
	m := benchMap(b, 64<<20)
	crcs := make([]uint32, 16)
	block := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		must(b, m.Set(b.Context(), block%(64*pageBlocks), segment.Name(1<<40+block), crcs))
		block += 16
	}
}

var scale = flag.Int("scale", 1<<18, "random blocks for BenchmarkMemory and BenchmarkCheckpoint")

const tebibyte = 1 << 28 // in blocks

// BenchmarkMemory reports what randomly written blocks over 1 TiB take in memory.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		m := benchMap(b, 8<<30)
		before := heap()
		fillRandom(b, m, *scale, tebibyte, nil)
		after := heap()
		st := m.Stats()
		b.ReportMetric(float64(after-before)/float64(*scale), "heap-B/block")
		b.ReportMetric(float64(st.CachedBytes)/float64(*scale), "counted-B/block")
		b.ReportMetric(float64(after-before)/float64(st.CachedPages), "heap-B/page")
		runtime.KeepAlive(m)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var st runtime.MemStats
	runtime.ReadMemStats(&st)
	return int64(st.HeapAlloc)
}

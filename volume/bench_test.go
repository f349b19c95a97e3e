package volume_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"sluice/volume"
)

func benchVolume(b *testing.B, size int64) (*gateway, *volume.Volume) {
	b.Helper()
	store := newStore(b)
	head := create(b, store, size)
	g := newGateway(b, store, gatewayOptions{cache: 4 * size, buffer: 64 << 30})
	return g, g.attach(head, false)
}

func fillVolume(b *testing.B, v *volume.Volume) {
	b.Helper()
	p := make([]byte, mib)
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	for off := int64(0); off < v.Size(); off += mib {
		write(b, v, off, p)
	}
}

// BenchmarkWrite writes batches of random 4 KiB blocks, as one read from a socket brings them.
func BenchmarkWrite(b *testing.B) {
	for _, batch := range []int{1, 32} {
		b.Run(map[int]string{1: "batch=1", 32: "batch=32"}[batch], func(b *testing.B) {
			g, v := benchVolume(b, 256*mib)
			defer g.stop()
			bufs, offs := make([][]byte, batch), make([]int64, batch)
			for i := range bufs {
				bufs[i] = make([]byte, 4096)
			}
			b.SetBytes(4096)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%batch != 0 {
					continue
				}
				for k := range offs {
					offs[k] = rand.Int64N(256*mib/4096) * 4096
				}
				if err := v.Write(context.Background(), bufs, offs, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead reads random 4 KiB blocks of local data.
func BenchmarkRead(b *testing.B) {
	g, v := benchVolume(b, 256*mib)
	defer g.stop()
	fillVolume(b, v)
	p := make([]byte, 4096)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Read(context.Background(), p, rand.Int64N(256*mib/4096)*4096, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadSequential reads 1 MiB at a time of local data.
func BenchmarkReadSequential(b *testing.B) {
	g, v := benchVolume(b, 256*mib)
	defer g.stop()
	fillVolume(b, v)
	p := make([]byte, mib)
	b.SetBytes(mib)
	b.ReportAllocs()
	off := int64(0)
	for b.Loop() {
		if err := v.Read(context.Background(), p, off, false); err != nil {
			b.Fatal(err)
		}
		off = (off + mib) % (256 * mib)
	}
}

// BenchmarkReadCold reads a volume in sequence of which nothing is on local disk.
func BenchmarkReadCold(b *testing.B) {
	const size = 256 * mib
	store := newStore(b)
	head := create(b, store, size)
	g := newGateway(b, store, gatewayOptions{name: "a", buffer: 2 * size})
	v := g.attach(head, false)
	fillVolume(b, v)
	if err := v.Detach(context.Background()); err != nil {
		b.Fatal(err)
	}
	g.abandon()
	p := make([]byte, mib)
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		g := newGateway(b, store, gatewayOptions{name: "b", cache: 2 * size})
		v := g.attach(head, true)
		b.StartTimer()
		for off := int64(0); off < size; off += mib {
			if err := v.Read(context.Background(), p, off, true); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		g.stop()
		b.StartTimer()
	}
}

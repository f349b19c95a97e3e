package sbc

import (
	"context"
	"log/slog"
	"testing"

	"sluice/target/scsi"
)

// idle is a disk that does nothing, at once.
type idle struct{ Disk }

func (idle) Size() int64                                                     { return 1 << 40 }
func (idle) Read(context.Context, []byte, int64, bool) error                 { return nil }
func (idle) Write(context.Context, [][]byte, []int64, bool) error            { return nil }
func (idle) Flush(context.Context) error                                     { return nil }
func (idle) Mapped(context.Context, int64) (mapped bool, n int64, err error) { return true, 512, nil }

// lender is a transport with one buffer.
type lender struct{ b []byte }

func (l *lender) Buffer(_ *scsi.Command, n int) []byte { return l.b[:n] }
func (l *lender) Done(*scsi.Command)                   {}

func benchmark(b *testing.B, cdb []byte, out []byte, depth int) {
	d, err := New(Options{Disk: idle{}, Target: "iqn.2026-01.test:disk", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	l := &lender{make([]byte, 4096)}
	batch := make([]*scsi.Command, depth)
	for i := range batch {
		batch[i] = new(scsi.Command)
	}
	nexus := &scsi.Nexus{}
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range batch {
			c.Bind(l)
			c.Nexus, c.CDB, c.Out, c.OutMax, c.InMax = nexus, cdb, out, int64(len(out)), 4096
		}
		d.Submit(context.Background(), batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*depth), "ns/command")
}

// BenchmarkRead4K is the cost of the device server in a read of data at hand.
func BenchmarkRead4K(b *testing.B) { benchmark(b, cdb16(0x88, 0, 8, 8), nil, 1) }

// BenchmarkWrite4K is that of a write.
func BenchmarkWrite4K(b *testing.B) { benchmark(b, cdb16(0x8a, 0, 8, 8), make([]byte, 4096), 1) }

// BenchmarkWrite4KBatch is that of 32 writes that arrive together.
func BenchmarkWrite4KBatch(b *testing.B) {
	benchmark(b, cdb16(0x8a, 0, 8, 8), make([]byte, 4096), 32)
}

// TestNoAllocation keeps the hot path free of allocations.
func TestNoAllocation(t *testing.T) {
	if racing {
		t.Skip("sync.Pool forgets under the race detector")
	}
	d, err := New(Options{Disk: idle{}, Target: "iqn.2026-01.test:disk", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c, l, out := new(scsi.Command), &lender{make([]byte, 4096)}, make([]byte, 4096)
	batch := []*scsi.Command{c}
	for _, cdb := range [][]byte{cdb16(0x88, 0, 8, 8), cdb16(0x8a, 0, 8, 8)} {
		if n := testing.AllocsPerRun(100, func() {
			c.Bind(l)
			c.CDB, c.Out, c.OutMax, c.InMax = cdb, out, 4096, 4096
			d.Submit(context.Background(), batch)
		}); n > 0 {
			t.Errorf("CDB %x: %v allocations", cdb, n)
		}
	}
}

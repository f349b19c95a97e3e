package blockmap

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"sluice/volume/segment"
)

// BenchmarkCheckpoint reports how many bytes random 4 KiB writes over 1 TiB make the
// process write to disk for the map, with a checkpoint every so many segments.
func BenchmarkCheckpoint(b *testing.B) {
	for _, cache := range []int64{64 << 20, 256 << 20} {
		for _, every := range []int{64, 256, 1024} {
			b.Run(fmt.Sprintf("cache=%dMiB/every=%d", cache>>20, every), func(b *testing.B) {
				for b.Loop() {
					m := benchMap(b, cache)
					before, start := written(b), time.Now()
					fillRandom(b, m, *scale, tebibyte, func(id segment.ID) {
						if int(id.Sequence())%every == 0 {
							must(b, m.Checkpoint(b.Context(), id))
						}
					})
					must(b, m.Checkpoint(b.Context(), segment.MaxSequence), m.local.db.Close())
					st := m.Stats()
					b.ReportMetric(float64(written(b)-before)/float64(*scale), "disk-B/block")
					b.ReportMetric(float64(st.SavedBytes)/float64(*scale), "saved-B/block")
					b.ReportMetric(float64(st.SavedPages)/float64(*scale), "saved-pages/block")
					b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(*scale), "ns/block")
				}
			})
		}
	}
}

// written returns the bytes that this process caused to be written to disk.
func written(tb testing.TB) int64 {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/io")
	must(tb, err)
	for line := range bytes.Lines(b) {
		if v, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64)
			must(tb, err)
			return n
		}
	}
	tb.Fatal("/proc/self/io does not say")
	return 0
}

package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// targetArea is the part of each disk of 1 GiB that is worked on, and read from memory.
const targetArea = "512m"

// targetWork is one use of a target, by sessions clients at once.
type targetWork struct {
	workload
	sessions int
}

// The names of what goals are about.
const (
	readQD1    = "4 KiB random read, QD1"
	readQD32   = "4 KiB random read, QD32"
	writeQD1   = "4 KiB random write, QD1"
	writeQD32  = "4 KiB random write, QD32"
	readMiB    = "1 MiB sequential read, QD8"
	writeMiB   = "1 MiB sequential write, QD8"
	readFour   = "4 KiB random read, four sessions of QD32"
	writeFour  = "4 KiB random write, four sessions of QD32"
	limitQD1   = "48 bytes for 48 + 4096, QD1"
	limitQD32  = "48 bytes for 48 + 4096, QD32"
	digestsOn  = ", digests"
	digestsOff = ", no digests"
)

var targetWorks = []targetWork{
	{workload{name: readQD1, unit: "IOPS", args: []string{"--read", "100", "--depth", "1"}}, 1},
	{workload{name: writeQD1, unit: "IOPS", args: []string{"--depth", "1"}}, 1},
	{workload{name: readQD32, unit: "IOPS", args: []string{"--read", "100", "--depth", "32"}}, 1},
	{workload{name: readFour, unit: "IOPS", args: []string{"--read", "100", "--depth", "32"}}, 4},
	{workload{name: writeQD32, unit: "IOPS", args: []string{"--depth", "32"}}, 1},
	{workload{name: writeFour, unit: "IOPS", args: []string{"--depth", "32"}}, 4},
	{workload{name: "64 KiB sequential read, QD8", unit: "MiB/s", args: []string{"--read", "100", "--sequential", "--bs", "64k", "--depth", "8"}}, 1},
	{workload{name: "64 KiB sequential write, QD8", unit: "MiB/s", args: []string{"--sequential", "--bs", "64k", "--depth", "8"}}, 1},
	{workload{name: readMiB, unit: "MiB/s", args: []string{"--read", "100", "--sequential", "--bs", "1m", "--depth", "8"}}, 1},
	{workload{name: writeMiB, unit: "MiB/s", args: []string{"--sequential", "--bs", "1m", "--depth", "8"}}, 1},
}

// digestWork is measured with digests of header and data and without.
type digestWork struct {
	name string
	unit string
	load load
}

var digestWorks = []digestWork{
	{readQD32, "IOPS", load{depth: 32, bytes: 4096, area: 512 << 20}},
	{writeQD32, "IOPS", load{write: true, depth: 32, bytes: 4096, area: 512 << 20}},
	{"64 KiB random read, QD8", "MiB/s", load{depth: 8, bytes: 64 << 10, area: 512 << 20}},
}

// targetSettings are how much make bench-target measures.
type targetSettings struct {
	rounds int
	each   time.Duration // of one measurement
	short  time.Duration // of one of the limit, of digests, and of a count of system calls
}

func TestTarget(t *testing.T) {
	var s targetSettings
	switch os.Getenv("SLUICE_BENCH_TARGET") {
	case "quick":
		s = targetSettings{rounds: 2, each: 500 * time.Millisecond, short: 300 * time.Millisecond}
	case "full":
		s = targetSettings{rounds: 5, each: 1500 * time.Millisecond, short: 700 * time.Millisecond}
	default:
		t.Skip("a benchmark: make bench-target runs it")
	}
	if info, err := os.Stat("/dev/shm"); err != nil || !info.IsDir() {
		harness.Missing(t, "no /dev/shm")
	}
	f := figures{}
	calls := map[figure]float64{}
	var left []string
	for round := range s.rounds {
		// All servers are started afresh in each round, and end with it.
		t.Run(fmt.Sprintf("round %d of %d", round+1, s.rounds), func(t *testing.T) {
			contenders, absent := startTargets(t)
			left = absent
			limits := []*contender{startLimit(t, limitBatched), startLimit(t, limitGathered)}
			// Whoever comes first in one round comes later in the next.
			benchTargets(t, f, s, rotated(contenders, round), rotated(limits, round))
			if round == 0 {
				countCalls(t, calls, s, contenders)
			}
		})
	}
	if t.Failed() {
		return
	}
	text := fmt.Sprintf("Measured %s by `make bench-target` on: %s. Each server has a disk of 1 GiB in memory (sluice: a cached volume whose data directory and embedded store are there). "+
		"%d alternating rounds of %v each; all figures are medians, ratios of sluice to another are of the same round, with the least and the greatest. "+
		"Clients and servers share the CPUs.\n",
		time.Now().UTC().Format("2006-01-02"), machine(), s.rounds, s.each) + report(f, calls, left)
	fmt.Println(text)
	if s.rounds > 2 {
		if err := replaceTables(filepath.Join(harness.Root(t), "docs", "PERFORMANCE.md"), "make bench-target", text); err != nil {
			t.Fatal(err)
		}
	}
}

// startTargets starts all that can be; sluice is the first. It also returns what was left out.
func startTargets(t *testing.T) (there []*contender, absent []string) {
	t.Helper()
	gw := harness.Start(t, harness.Options{DataDir: memoryDir(t), Store: "file://" + memoryDir(t)})
	gw.CreateVolume("bench", "1GiB")
	for _, c := range []struct {
		name   string
		server *contender
	}{
		{"sluice", sluiceContender(gw, "bench")},
		{"tgt", startTgt(t, "tgt", memoryFile(t))},
		{"istgt", startIstgt(t, memoryFile(t))},
		{"gotgt", startGotgt(t, memoryFile(t))},
	} {
		if c.server == nil {
			absent = append(absent, c.name)
			continue
		}
		fill(t, c.server, targetArea)
		there = append(there, c.server)
	}
	return there, absent
}

// benchTargets measures everything once.
func benchTargets(t *testing.T, f figures, s targetSettings, contenders, limits []*contender) {
	t.Helper()
	for _, depth := range []struct {
		name string
		n    int
	}{{limitQD1, 1}, {limitQD32, 32}} {
		for _, c := range limits {
			f.add(depth.name, c.name, askLimit(t, c, depth.n, s.short))
		}
	}
	for _, w := range targetWorks {
		for _, c := range contenders {
			c.quiet()
			f.add(w.name, c.name, measureTarget(t, w, c, s.each))
		}
	}
	for _, w := range digestWorks {
		for _, c := range contenders {
			for _, way := range []string{digestsOff, digestsOn} {
				c.quiet()
				f.add(w.name+way, c.name, measureDigests(t, w, c, way == digestsOn, s.short))
			}
		}
	}
}

// measureTarget runs a workload, in as many client processes as it has sessions.
func measureTarget(t *testing.T, w targetWork, c *contender, d time.Duration) sample {
	t.Helper()
	args := slices.Concat([]string{"--seconds", fmt.Sprint(d.Seconds()), "--size", targetArea}, w.args, []string{c.url})
	out := sample{mallocs: missing}
	if c.mallocs != nil {
		out.mallocs = -c.mallocs()
	}
	cpu := cpuTime(t, c.pids())
	var running []<-chan harness.VerifyResult
	for range w.sessions {
		running = append(running, harness.VerifyStart(t, args...))
	}
	var ops int64
	for _, results := range running {
		r := <-results
		if r.Exit != harness.VerifyOK {
			t.Fatalf("%s: %s: %v", c.name, w.name, r)
		}
		ops += r.Ops
		rate := r.IOPS
		if w.unit == "MiB/s" {
			rate = r.MiBs
		}
		out.rate += rate
		// Of several sessions, the one that waits longest.
		out.p50, out.p99, out.p999 = max(out.p50, r.P50US), max(out.p99, r.P99US), max(out.p999, r.P999US)
	}
	perOp := 1 / float64(max(ops, 1))
	out.cpu = float64((cpuTime(t, c.pids()) - cpu).Microseconds()) * perOp
	if c.mallocs != nil {
		out.mallocs = (out.mallocs + c.mallocs()) * perOp
	}
	return out
}

// measureDigests is measureTarget by our own initiator, which knows data digests. A
// target that has none, or fails, has no figures.
func measureDigests(t *testing.T, w digestWork, c *contender, digests bool, d time.Duration) sample {
	t.Helper()
	none := sample{rate: missing, p50: missing, p99: missing, p999: missing, cpu: missing, mallocs: missing}
	client, err := dialDisk(c.url, digests)
	if err == nil {
		defer client.conn.Close()
		cpu := cpuTime(t, c.pids())
		var rate float64
		if rate, err = client.run(w.load, d); err == nil {
			out := none
			out.cpu = float64((cpuTime(t, c.pids()) - cpu).Microseconds()) / max(rate*d.Seconds(), 1)
			if out.rate = rate; w.unit == "MiB/s" {
				out.rate *= float64(w.load.bytes) / (1 << 20)
			}
			return out
		}
	}
	if c.name == "sluice" {
		t.Fatalf("%s, digests %t: %v", w.name, digests, err)
	}
	t.Logf("left out: %s: %s, digests %t: %v", c.name, w.name, digests, err)
	return none
}

// rotated returns all of s, beginning with the n-th.
func rotated[T any](s []T, n int) []T {
	n %= len(s)
	return slices.Concat(s[n:], s[:n])
}

// memoryDir is t.TempDir in memory.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// memoryFile makes a sparse file of 1 GiB in memory.
func memoryFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(memoryDir(t), "disk")
	write(t, path, "")
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	return path
}

// missing is a figure that could not be had.
var missing = math.NaN()

// report is everything that was measured, as Markdown.
func report(f figures, calls map[figure]float64, left []string) string {
	var out strings.Builder
	for _, name := range left {
		fmt.Fprintf(&out, "Left out, since it cannot be installed here: %s.\n", name)
	}
	out.WriteString(targetTable(f, calls))
	out.WriteString(digestTable(f))
	out.WriteString(goalTable(goals(f)))
	return out.String()
}

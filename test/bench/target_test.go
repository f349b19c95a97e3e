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

	"golang.org/x/sync/errgroup"

	"sluice/test/harness"
)

// targetArea is the part of each disk of 1 GiB that is worked on, and read from memory.
const targetArea = "256m"

// The names of what goals are about.
const (
	readQD1    = "4 KiB random read, QD1"
	readQD32   = "4 KiB random read, QD32"
	writeQD1   = "4 KiB random write, QD1"
	writeQD32  = "4 KiB random write, QD32"
	readMiB    = "1 MiB sequential read, QD8"
	writeMiB   = "1 MiB sequential write, QD8"
	readOne    = "4 KiB random read, one session of QD32"
	readFour   = "4 KiB random read, four sessions of QD32"
	writeOne   = "4 KiB random write, one session of QD32"
	writeFour  = "4 KiB random write, four sessions of QD32"
	readBigQD8 = "64 KiB random read, QD8"
	limitQD1   = "48 bytes for 48 + 4096, QD1"
	limitQD32  = "48 bytes for 48 + 4096, QD32"
	digests    = ", digests"
)

var targetWorks = []workload{
	{name: readQD1, unit: "IOPS", args: []string{"--read", "100", "--depth", "1"}},
	{name: writeQD1, unit: "IOPS", args: []string{"--depth", "1"}},
	{name: readQD32, unit: "IOPS", args: []string{"--read", "100", "--depth", "32"}},
	{name: writeQD32, unit: "IOPS", args: []string{"--depth", "32"}},
	{name: "64 KiB sequential read, QD8", unit: "MiB/s", args: []string{"--read", "100", "--sequential", "--bs", "64k", "--depth", "8"}},
	{name: "64 KiB sequential write, QD8", unit: "MiB/s", args: []string{"--sequential", "--bs", "64k", "--depth", "8"}},
	{name: readMiB, unit: "MiB/s", args: []string{"--read", "100", "--sequential", "--bs", "1m", "--depth", "8"}},
	{name: writeMiB, unit: "MiB/s", args: []string{"--sequential", "--bs", "1m", "--depth", "8"}},
}

// ownWork is measured with our own initiator: one or several sessions, which log in
// first and start together; and with digests of header and data or without.
type ownWork struct {
	name     string
	unit     string
	load     load
	sessions int
	digests  bool
}

var (
	readOwn  = load{depth: 32, bytes: 4 << 10, area: 256 << 20}
	writeOwn = load{depth: 32, bytes: 4 << 10, area: 256 << 20, write: true}
	readBig  = load{depth: 8, bytes: 64 << 10, area: 256 << 20}
)

// ownWorks ends with those that not every target can do.
var ownWorks = []ownWork{
	{readOne, "IOPS", readOwn, 1, false},
	{readFour, "IOPS", readOwn, 4, false},
	{writeOne, "IOPS", writeOwn, 1, false},
	{writeFour, "IOPS", writeOwn, 4, false},
	{readBigQD8, "MiB/s", readBig, 1, false},
	{readOne + digests, "IOPS", readOwn, 1, true},
	{writeOne + digests, "IOPS", writeOwn, 1, true},
	{readBigQD8 + digests, "MiB/s", readBig, 1, true},
}

// digestNames are what is measured without digests and with.
var digestNames = []string{readOne, writeOne, readBigQD8}

// targetSettings are how much make bench-target measures.
type targetSettings struct {
	rounds int
	each   time.Duration // of one measurement
	short  time.Duration // of one of the limit, and of a count of system calls
	// hasty does not wait until sluice has uploaded its last segment, which takes seconds.
	hasty bool
}

func TestTarget(t *testing.T) {
	var s targetSettings
	switch os.Getenv("SLUICE_BENCH_TARGET") {
	case "quick":
		s = targetSettings{rounds: 2, each: 300 * time.Millisecond, short: 200 * time.Millisecond, hasty: true}
	case "full":
		s = targetSettings{rounds: 5, each: 700 * time.Millisecond, short: 400 * time.Millisecond}
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
			contenders, absent := startTargets(t, s)
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
	if whole := len(f[figure{limitQD32, limitGathered}]) == s.rounds; whole && !s.hasty {
		if err := replaceTables(filepath.Join(harness.Root(t), "docs", "PERFORMANCE.md"), "make bench-target", text); err != nil {
			t.Fatal(err)
		}
	}
}

// startTargets starts all that can be; sluice is the first. It also returns what was left out.
func startTargets(t *testing.T, s targetSettings) (there []*contender, absent []string) {
	t.Helper()
	gw := harness.Start(t, harness.Options{DataDir: memoryDir(t), Store: "file://" + memoryDir(t)})
	gw.CreateVolume("bench", "1GiB")
	ours := sluiceContender(gw, "bench")
	if s.hasty {
		ours.quiet = func() { waitBacklog(t, gw) }
	}
	for _, c := range []struct {
		name   string
		server *contender
	}{
		{"sluice", ours},
		{"tgt", startTgt(t, "tgt", memoryFile(t))},
		{"istgt", startIstgt(t, memoryFile(t))},
		{"gotgt", startGotgt(t, memoryFile(t))},
	} {
		if c.server == nil {
			absent = append(absent, c.name)
			continue
		}
		if c.server != ours {
			c.server.quiet = func() {} // what it writes stays in memory
		}
		fill(t, c.server, targetArea)
		there = append(there, c.server)
	}
	return there, absent
}

// waitBacklog waits until no more than a segment or so is left to upload.
func waitBacklog(t *testing.T, gw *harness.Gateway) {
	t.Helper()
	for range 600 {
		if volumes := gw.Status().Volumes; len(volumes) == 1 && volumes[0].QueuedBytes < 64<<20 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the backlog does not go down")
}

// benchTargets measures everything once. After each measurement it waits until the
// server is quiet, so that no upload of sluice's falls into a measurement of another.
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
			f.add(w.name, c.name, measureTarget(t, w, c, s.each))
			c.quiet()
		}
	}
	benchOwn(t, f, contenders, s.each)
}

// benchOwn measures what only our own initiator can. A server is left out from its first
// failure on: not every target has digests, or has them right. Ours may not fail.
func benchOwn(t *testing.T, f figures, contenders []*contender, d time.Duration) {
	t.Helper()
	failed := map[*contender]bool{}
	for _, w := range ownWorks {
		for _, c := range contenders {
			if failed[c] {
				continue
			}
			measured, err := measureOwn(t, w, c, d)
			switch {
			case err == nil:
				f.add(w.name, c.name, measured)
				c.quiet()
			case c.mallocs != nil:
				t.Fatalf("%s: %s: %v", c.name, w.name, err)
			default:
				t.Logf("left out: %s: %s: %v", c.name, w.name, err)
				failed[c] = true
			}
		}
	}
}

// measureTarget runs a workload with iscsiverify.
func measureTarget(t *testing.T, w workload, c *contender, d time.Duration) sample {
	t.Helper()
	args := slices.Concat([]string{"--seconds", fmt.Sprint(d.Seconds()), "--size", targetArea}, w.args, []string{c.url})
	var r harness.VerifyResult
	cpu, mallocs := spent(t, c, func() int {
		r = harness.MustVerify(t, args...)
		return int(r.Ops)
	})
	out := sample{rate: r.IOPS, p50: r.P50US, p99: r.P99US, p999: r.P999US, cpu: cpu, mallocs: mallocs}
	if w.unit == "MiB/s" {
		out.rate = r.MiBs
	}
	return out
}

// spent runs what returns a number of operations, and returns what each of them took of
// the server: us of CPU time, and heap objects if that can be asked.
func spent(t *testing.T, c *contender, run func() (ops int)) (cpu, mallocs float64) {
	t.Helper()
	mallocs = missing
	if c.mallocs != nil {
		mallocs = -c.mallocs()
	}
	before := cpuTime(t, c.pids())
	ops := float64(max(run(), 1))
	cpu = float64((cpuTime(t, c.pids()) - before).Microseconds()) / ops
	if c.mallocs != nil {
		mallocs = (mallocs + c.mallocs()) / ops
	}
	return cpu, mallocs
}

// measureOwn runs a workload of our own initiator.
func measureOwn(t *testing.T, w ownWork, c *contender, d time.Duration) (sample, error) {
	t.Helper()
	var clients []*initiator
	for i := range w.sessions {
		client, err := dialDisk(c.url, byte(i), w.digests)
		if err != nil {
			return sample{}, err
		}
		defer client.conn.Close()
		clients = append(clients, client)
	}
	out := sample{p50: missing, p99: missing, p999: missing}
	var group errgroup.Group
	out.cpu, out.mallocs = spent(t, c, func() int {
		done := make([]int, w.sessions)
		start := time.Now()
		for i, client := range clients {
			group.Go(func() (err error) { done[i], err = client.run(w.load, d); return err })
		}
		_ = group.Wait() // and again below
		ops := 0
		for _, n := range done {
			ops += n
		}
		out.rate = float64(ops) / time.Since(start).Seconds()
		return ops
	})
	if w.unit == "MiB/s" {
		out.rate *= float64(w.load.bytes) / (1 << 20)
	}
	return out, group.Wait()
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

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// settings are how much to measure.
type settings struct {
	rounds  int
	seconds float64
	area    string // of the disk that is worked on
	remote  string // the same, on the S3 server: more than the 250 MiB that s3backer holds in memory
	bulk    int    // MiB read cold and uploaded
	spread  int    // MiB of random writes over 1 TiB
}

func choose(t *testing.T) (s settings, quick bool) {
	t.Helper()
	switch os.Getenv("SLUICE_BENCH") {
	case "quick":
		return settings{rounds: 1, seconds: 1, area: "128m", remote: "384m", bulk: 128, spread: 256}, true
	case "full":
		return settings{rounds: 5, seconds: 2, area: "512m", remote: "512m", bulk: 512, spread: 4096}, false
	}
	t.Skip("a benchmark: make bench runs it")
	return settings{}, false
}

// workload is one way of using a disk.
type workload struct {
	name    string
	unit    string // what rate is counted in
	args    []string
	goal    string // of sluice against the best of the others
	goalCPU string
}

var local = []workload{
	{"4 KiB random read, QD1", "IOPS", []string{"--read", "100", "--depth", "1"}, "p50 not longer", ""},
	{"4 KiB random read, QD32", "IOPS", []string{"--read", "100", "--depth", "32"}, "3.00", "0.33"},
	{"4 KiB random write, QD1", "IOPS", []string{"--depth", "1"}, "p50 not longer", ""},
	{"4 KiB random write, QD32", "IOPS", []string{"--depth", "32"}, "3.00", "0.33"},
	{"64 KiB sequential read, QD8", "MiB/s", []string{"--read", "100", "--sequential", "--bs", "64k", "--depth", "8"}, "1.20", ""},
	{"64 KiB sequential write, QD8", "MiB/s", []string{"--sequential", "--bs", "64k", "--depth", "8"}, "1.20", ""},
	{"1 MiB sequential read, QD4", "MiB/s", []string{"--read", "100", "--sequential", "--bs", "1m", "--depth", "4"}, "1.20", ""},
	{"1 MiB sequential write, QD4", "MiB/s", []string{"--sequential", "--bs", "1m", "--depth", "4"}, "1.20", ""},
}

var remote = []workload{
	{"4 KiB random write, QD1", "IOPS", []string{"--depth", "1"}, "20.00", ""},
	{"4 KiB random write, QD32", "IOPS", []string{"--depth", "32"}, "20.00", ""},
	{"4 KiB random read, QD32", "IOPS", []string{"--read", "100", "--depth", "32"}, "", ""},
}

// measured is what one contender did under one workload.
type measured struct{ rate, p50, p99, cpu series }

func TestBench(t *testing.T) {
	s, quick := choose(t)
	var out strings.Builder
	fmt.Fprintf(&out, "Measured %s by `make bench` on: %s. Medians of %d alternating runs of %g s, in parentheses half the spread; client, targets and S3 server share the CPUs.\n",
		time.Now().UTC().Format("2006-01-02"), machine(), s.rounds, s.seconds)
	part := os.Getenv("SLUICE_BENCH_PART") // only this one; it is printed, not written
	for _, p := range []struct {
		name string
		run  func(*testing.T, settings) string
	}{
		{"local", benchLocal}, {"remote", benchRemote}, {"bulk", benchBulk}, {"costs", benchCosts}, {"snapshots", benchSnapshots}, {"durability", benchDurability},
	} {
		if part == "" || part == p.name { // what a part has started ends with it, and its disks go
			t.Run(p.name, func(t *testing.T) { out.WriteString(p.run(t, s)) })
		}
	}
	fmt.Println(out.String())
	if !quick && part == "" && !t.Failed() {
		if err := replaceTables(filepath.Join(harness.Root(t), "docs", "PERFORMANCE.md"), "make bench", out.String()); err != nil {
			t.Fatal(err)
		}
	}
}

func benchLocal(t *testing.T, s settings) string {
	gw := harness.Start(t, harness.Options{})
	gw.CreateVolume("bench", "2GiB")
	contenders := present(sluiceContender(gw, "bench"), startTgt(t, "tgt", sparseFile(t, 2<<30)), startIstgt(t, sparseFile(t, 2<<30)))
	for _, c := range contenders {
		fill(t, c, s.area)
	}
	return compare(t, "Local data, against a file on the same disk", contenders, local, s)
}

func benchRemote(t *testing.T, s settings) string {
	server := s3server.Start(t)
	gw := harness.Start(t, harness.Options{Store: server.URL("remote"), Env: server.Env()})
	gw.CreateVolume("bench", "1GiB")
	contenders := present(sluiceContender(gw, "bench"), startS3backer(t, server, "1g"))
	s.area = s.remote
	for _, c := range contenders {
		fill(t, c, s.area)
	}
	return compare(t, "On the same S3 server", contenders, remote, s)
}

// flushing are writes with flushes, whose cost depends on what they wait for.
var flushing = []workload{
	{"4 KiB random write, each flushed, QD1", "IOPS", []string{"--depth", "1", "--flush", "1"}, "", ""},
	{"4 KiB random write, a flush to 32, QD32", "IOPS", []string{"--depth", "32", "--flush", "32"}, "", ""},
	{"1 MiB sequential write, a flush to 16, QD4", "MiB/s", []string{"--sequential", "--bs", "1m", "--depth", "4", "--flush", "16"}, "", ""},
}

// benchDurability compares volumes whose flushes wait for local disk, for that of a peer, too, and for the bucket.
func benchDurability(t *testing.T, s settings) string {
	server := s3server.Start(t)
	ca, address := harness.NewAuthority(t), harness.FreeAddress(t)
	harness.Start(t, harness.Options{Args: append(ca.Serve("peer"), "--peer-listen", address)})
	gw := harness.Start(t, harness.Options{Store: server.URL("durability"), Env: server.Env(), Args: append(ca.Serve("gateway"), "--peer", address)})
	var contenders []*contender
	for _, durability := range []string{"local", "peer", "bucket"} {
		gw.CLI("volume", "create", durability, "--size", "1GiB", "--durability", durability)
		c := sluiceContender(gw, durability)
		if durability != "local" {
			c.name = "sluice, " + durability
		}
		contenders = append(contenders, c)
	}
	s.area = "64m"
	for _, c := range contenders {
		fill(t, c, s.area)
	}
	return compare(t, "What flushes wait for", contenders, flushing, s)
}

func present(all ...*contender) (there []*contender) {
	for _, c := range all {
		if c != nil {
			there = append(there, c)
		}
	}
	return there
}

// fill writes the whole area once, so that reads find data.
func fill(t *testing.T, c *contender, area string) {
	t.Helper()
	harness.MustVerify(t, "--sequential", "--bs", "1m", "--depth", "4", "--size", area, "--count", mebibytes(area), c.url)
	c.quiet()
}

func mebibytes(area string) string {
	if n, ok := strings.CutSuffix(area, "g"); ok {
		return n + "k"
	}
	return strings.TrimSuffix(area, "m")
}

// compare runs every workload on every contender, in turn, s.rounds times.
func compare(t *testing.T, title string, contenders []*contender, workloads []workload, s settings) string {
	results := map[string]*measured{}
	for round := range s.rounds {
		for _, w := range workloads {
			for _, c := range contenders {
				c.quiet()
				key := w.name + c.name
				if results[key] == nil {
					results[key] = &measured{}
				}
				measure(t, w, c, s, results[key])
			}
		}
		t.Logf("%s: round %d of %d", title, round+1, s.rounds)
	}
	var out table
	out.head(title, "", "", "rate", "p50 us", "p99 us", "server CPU us/op", "sluice against it", "goal")
	for _, w := range workloads {
		ours := results[w.name+"sluice"]
		for i, c := range contenders {
			m := results[w.name+c.name]
			name, against, goal := "", ratio(ours.rate.median(), m.rate.median()), ""
			if m.cpu.median() > 0 {
				against += fmt.Sprintf(" (CPU %s, p50 %s)", ratio(ours.cpu.median(), m.cpu.median()), ratio(ours.p50.median(), m.p50.median()))
			}
			if i == 0 {
				name, against, goal = w.name, "", w.goal
				if w.goalCPU != "" {
					goal += ", CPU " + w.goalCPU
				}
			}
			out.row(name, c.name, m.rate.String()+" "+w.unit, m.p50.String(), m.p99.String(), m.cpu.String(), against, goal)
		}
	}
	return out.String()
}

func measure(t *testing.T, w workload, c *contender, s settings, m *measured) {
	t.Helper()
	cpu := cpuTime(t, c.pids())
	args := append([]string{"--seconds", fmt.Sprint(s.seconds), "--size", s.area}, w.args...)
	r := harness.MustVerify(t, append(args, c.url)...)
	rate := r.IOPS
	if w.unit == "MiB/s" {
		rate = r.MiBs
	}
	m.rate = append(m.rate, rate)
	m.p50 = append(m.p50, r.P50US)
	m.p99 = append(m.p99, r.P99US)
	m.cpu = append(m.cpu, float64((cpuTime(t, c.pids())-cpu).Microseconds())/float64(max(r.Ops, 1)))
}

// replaceTables writes text between the marks of a page that name a command.
func replaceTables(path, command, text string) error {
	begin, end := "<!-- tables of "+command+": begin -->", "<!-- tables of "+command+": end -->"
	page, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("writing the tables: %w", err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("writing the tables: %s has no marks for those of %s", path, command)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+text+end+after), 0o644)
}

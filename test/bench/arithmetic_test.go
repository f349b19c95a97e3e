package bench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The arithmetic of the tables is tested with every run of the tests; what it is fed
// with only a benchmark can say.

func TestMedianAndRange(t *testing.T) {
	for _, c := range []struct {
		s              series
		middle, ranged string
	}{
		{nil, "-", "-"},
		{series{missing}, "-", "-"},
		{series{3}, "3.00", "3.00 (3.00..3.00)"},
		{series{5, 1, missing, 3}, "3.00", "3.00 (1.00..5.00)"},
		{series{400, 100, 200, 300}, "250", "250 (100..400)"},
	} {
		if got := c.s.middle(); got != c.middle {
			t.Errorf("middle of %v is %s, not %s", c.s, got, c.middle)
		}
		if got := c.s.ranged(); got != c.ranged {
			t.Errorf("range of %v is %s, not %s", c.s, got, c.ranged)
		}
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	for _, c := range []struct{ a, b, want series }{
		{series{10, 40}, series{5, 10}, series{2, 4}},
		{series{10, 40}, series{5}, series{2}},
		{series{10, missing, 6}, series{0, 4, 3}, series{2}},
		{nil, series{1}, nil},
	} {
		if got := c.a.over(c.b); !slices.Equal(got, c.want) {
			t.Errorf("%v over %v is %v, not %v", c.a, c.b, got, c.want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		g    goal
		want string
	}{
		{goal{measured: series{3.1, 2.9, 3.2}, bound: 3}, "holds (2 of 3 rounds)"},
		{goal{measured: series{3.1, 2.9, 2.8}, bound: 3}, "does not hold (1 of 3 rounds)"},
		{goal{measured: series{1.1, 0.9, 0.8}, bound: 1, most: true}, "holds (2 of 3 rounds)"},
		{goal{measured: series{11}, bound: 10, most: true}, "does not hold (0 of 1 rounds)"},
		{goal{measured: series{missing}, bound: 1}, "not measured"},
		{goal{bound: 1, most: true}, "not measured"},
	} {
		if got := c.g.verdict(); got != c.want {
			t.Errorf("%v, bound %v: %q, not %q", c.g.measured, c.g.bound, got, c.want)
		}
	}
}

// A run without istgt, in which all goals are met exactly, or missed by a little.
func TestGoalsFollowFromFigures(t *testing.T) {
	run := func(factor float64) (verdicts []string) {
		f := figures{}
		for range 3 {
			for _, work := range []string{readQD1, readQD32, writeQD1, writeQD32, readMiB, writeMiB} {
				f.add(work, "tgt", sample{rate: 30_000, p50: 80 * factor, cpu: 31 * factor})
				f.add(work, "sluice", sample{rate: 90_000 * factor, p50: 80, cpu: 10})
			}
			for _, work := range []string{readFour, writeFour} {
				f.add(work, "sluice", sample{rate: 90_000 * factor})
			}
			f.add(limitQD32, limitGathered, sample{rate: 108_000})
			for _, name := range digestNames {
				f.add(name, "sluice", sample{rate: 90_000})
				f.add(name+digests, "sluice", sample{rate: 0.85 * 90_000 * factor})
			}
		}
		for _, g := range goals(f) {
			verdicts = append(verdicts, g.verdict())
		}
		return verdicts
	}
	for factor, word := range map[float64]string{1.01: "holds (3 of 3 rounds)", 0.99: "does not hold (0 of 3 rounds)"} {
		unmeasured := 0
		for i, got := range run(factor) {
			if got == "not measured" {
				unmeasured++
			} else if got != word {
				t.Errorf("factor %v, goal %d: %q, not %q", factor, i, got, word)
			}
		}
		if unmeasured != 2 { // 1 MiB reads and writes, against istgt
			t.Errorf("factor %v: %d goals not measured, not 2", factor, unmeasured)
		}
	}
}

func TestTablesShowWhatIsMissing(t *testing.T) {
	f := figures{}
	f.add(readQD32, "sluice", sample{rate: 90_000, p50: 300, p99: 600, p999: 900, cpu: 7, mallocs: 0.01})
	f.add(readQD32, "tgt", sample{rate: 30_000, p50: 900, p99: 1500, p999: 2000, cpu: 28, mallocs: missing})
	got := targetTable(f, map[figure]float64{{readQD32, "sluice"}: 0.25})
	for _, want := range []string{
		"| 4 KiB random read, QD32 | sluice | 90.0k IOPS | 300 | 600 | 900 | 7.00 | 0.25 | 0.01 |  |  |\n",
		"|  | tgt | 30.0k IOPS | 900 | 1500 | 2000 | 28.0 | - | - | 3.00 (3.00..3.00) | 0.25 (0.25..0.25) |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no row %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "istgt") {
		t.Errorf("a row of a server that was not there:\n%s", got)
	}
}

func TestPerfCount(t *testing.T) {
	const text = "# started on Mon Nov 23\n\n12345,,raw_syscalls:sys_enter,600123456,100.00,,\n"
	if n, err := perfCount(text); n != 12345 || err != nil {
		t.Errorf("%v, %v", n, err)
	}
	for _, bad := range []string{"", "\n", "<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n", "7,,cycles,1,100,,\n"} {
		if n, err := perfCount(bad); err == nil {
			t.Errorf("%q has the count %v", bad, n)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var l latencies
	for us := range 1000 {
		l.add(time.Duration(us) * time.Microsecond)
	}
	l.add(time.Hour)
	for share, want := range map[float64]float64{0.5: 500, 0.99: 990, 1: 49_999.5} {
		if got := l.quantile(share); got != want {
			t.Errorf("quantile %v is %v us, not %v", share, got, want)
		}
	}
}

func TestTablesGoBetweenTheirMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	write(t, path, "a\n<!-- tables of x: begin -->\nold\n<!-- tables of x: end -->\nz\n")
	if err := replaceTables(path, "x", "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := "a\n<!-- tables of x: begin -->\nnew\n<!-- tables of x: end -->\nz\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if err := replaceTables(path, "y", "new\n"); err == nil {
		t.Error("a page without marks was written")
	}
}

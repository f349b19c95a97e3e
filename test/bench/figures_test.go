package bench

import (
	"fmt"
	"math"
	"slices"
)

// sample is one measurement of one server. What could not be measured is missing.
type sample struct {
	rate           float64 // IOPS or MiB/s
	p50, p99, p999 float64 // us
	cpu            float64 // us of the server's processes per operation
	mallocs        float64 // heap objects per operation
}

// figure names what was measured, and of whom.
type figure struct{ work, server string }

// figures holds the samples of all rounds, in their order, so that those of two servers
// at one place are of the same round.
type figures map[figure][]sample

func (f figures) add(work, server string, s sample) {
	key := figure{work, server}
	f[key] = append(f[key], s)
}

// of returns one quantity of every round.
func (f figures) of(work, server string, quantity func(sample) float64) series {
	var out series
	for _, s := range f[figure{work, server}] {
		out = append(out, quantity(s))
	}
	return out
}

func rateOf(s sample) float64    { return s.rate }
func p50Of(s sample) float64     { return s.p50 }
func p99Of(s sample) float64     { return s.p99 }
func p999Of(s sample) float64    { return s.p999 }
func cpuOf(s sample) float64     { return s.cpu }
func mallocsOf(s sample) float64 { return s.mallocs }

// over returns the ratios of a to b round by round, without those that do not exist.
func (a series) over(b series) series {
	var out series
	for i := range min(len(a), len(b)) {
		if r := a[i] / b[i]; !math.IsNaN(r) && !math.IsInf(r, 0) {
			out = append(out, r)
		}
	}
	return out
}

// scaled returns all of a times by.
func (a series) scaled(by float64) series {
	var out series
	for _, x := range a {
		out = append(out, x*by)
	}
	return out
}

// known returns what is not missing.
func (a series) known() series {
	return slices.DeleteFunc(slices.Clone(a), math.IsNaN)
}

// ranged shows the median with the least and the greatest.
func (a series) ranged() string {
	a = a.known()
	if len(a) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s..%s)", number(a.median()), number(slices.Min(a)), number(slices.Max(a)))
}

// middle shows the median alone.
func (a series) middle() string {
	a = a.known()
	if len(a) == 0 {
		return "-"
	}
	return number(a.median())
}

// goal is something to be reached, by the median of a measured series.
type goal struct {
	text     string
	measured series
	bound    float64
	most     bool // the bound is the most that is good, not the least
}

func (g goal) reached(x float64) bool {
	if g.most {
		return x <= g.bound
	}
	return x >= g.bound
}

// verdict tells whether the goal holds, and in how many rounds it did.
func (g goal) verdict() string {
	known := g.measured.known()
	if len(known) == 0 {
		return "not measured"
	}
	rounds := 0
	for _, x := range known {
		if g.reached(x) {
			rounds++
		}
	}
	word := "does not hold"
	if g.reached(known.median()) {
		word = "holds"
	}
	return fmt.Sprintf("%s (%d of %d rounds)", word, rounds, len(known))
}

// asked shows the bound.
func (g goal) asked() string {
	if g.most {
		return "at most " + number(g.bound)
	}
	return "at least " + number(g.bound)
}

// goals judges what was measured. On a machine of another speed, absolute figures say
// nothing: those that were set where the limit, or tgt, had a known figure are scaled by
// what the limit, or tgt, has here.
func goals(f figures) []goal {
	var out []goal
	for _, w := range []struct{ name, qd1, qd32, mib, one, four string }{
		{"read", readQD1, readQD32, readMiB, readOne, readFour},
		{"write", writeQD1, writeQD32, writeMiB, writeOne, writeFour},
	} {
		ours := func(work string, quantity func(sample) float64) series { return f.of(work, "sluice", quantity) }
		against := func(work, server string, quantity func(sample) float64) series {
			return ours(work, quantity).over(f.of(work, server, quantity))
		}
		limit := f.of(limitQD32, limitGathered, rateOf)
		out = append(out,
			goal{"4 KiB " + w.name + "s at QD32: rate against tgt's", against(w.qd32, "tgt", rateOf), 3, false},
			goal{
				"4 KiB " + w.name + "s at QD32: IOPS, scaled to a machine whose gathered limit is 120k",
				ours(w.qd32, rateOf).over(limit).scaled(120_000), 100_000, false,
			},
			goal{
				"4 KiB " + w.name + "s at QD32: server CPU us/op, scaled to a machine on which tgt takes 31",
				against(w.qd32, "tgt", cpuOf).scaled(31), 10, true,
			},
			goal{"4 KiB " + w.name + "s at QD1: p50 against tgt's", against(w.qd1, "tgt", p50Of), 1, true},
			goal{"1 MiB " + w.name + "s at QD8: rate against istgt's", against(w.mib, "istgt", rateOf), 1, false},
			goal{"4 KiB " + w.name + "s: rate of four sessions against one's", ours(w.four, rateOf).over(ours(w.one, rateOf)), 1, false},
		)
	}
	for _, name := range digestNames {
		slower := f.of(name+digests, "sluice", rateOf).over(f.of(name, "sluice", rateOf))
		out = append(out, goal{name + ": rate with digests against without", slower, 0.85, false})
	}
	return out
}

func goalTable(goals []goal) string {
	var out table
	out.head("Goals", "goal", "measured: median (least..greatest)", "asked", "")
	for _, g := range goals {
		out.row(g.text, g.measured.ranged(), g.asked(), g.verdict())
	}
	return out.String()
}

// targetTable shows the servers and the limit of the machine, work by work.
func targetTable(f figures, calls map[figure]float64) string {
	var out table
	out.head("sluice and other targets, and the limit of the machine", "", "", "rate", "p50 us", "p99 us", "p99.9 us",
		"server CPU us/op", "system calls/op", "heap allocations/op", "rate: sluice against it", "CPU: sluice against it")
	row := func(work, title, server, unit, show string) {
		of := func(quantity func(sample) float64) series { return f.of(work, server, quantity) }
		rate, cpu, count := "", "", "-"
		if ours := f.of(work, "sluice", rateOf); len(ours) > 0 && server != "sluice" {
			rate, cpu = ours.over(of(rateOf)).ranged(), f.of(work, "sluice", cpuOf).over(of(cpuOf)).ranged()
		}
		if n, ok := calls[figure{work, server}]; ok {
			count = number(n)
		}
		out.row(title, show, of(rateOf).middle()+" "+unit, of(p50Of).middle(), of(p99Of).middle(), of(p999Of).middle(),
			of(cpuOf).middle(), count, of(mallocsOf).middle(), rate, cpu)
	}
	show := func(work, unit string) {
		title := work
		for _, server := range targetNames {
			if len(f[figure{work, server}]) > 0 {
				row(work, title, server, unit, server)
				title = ""
			}
		}
	}
	for _, w := range targetWorks {
		show(w.name, w.unit)
	}
	for _, w := range ownWorks {
		if !w.digests {
			show(w.name, w.unit)
		}
	}
	for _, work := range []string{limitQD1, limitQD32} {
		title := "Limit: " + work
		for _, way := range []string{limitBatched, limitGathered} {
			row(work, title, way, "IOPS", limitNames[way])
			title = ""
		}
	}
	return out.String()
}

// targetNames are the servers in the order in which they are shown.
var targetNames = []string{"sluice", "tgt", "istgt", "gotgt"}

// limitNames say what a way of answering is.
var limitNames = map[string]string{
	limitBatched:  "Go, many requests to a read, many answers to a write",
	limitGathered: "Go, a goroutine for each request, answers gathered into one write",
}

// digestTable shows what digests cost each server.
func digestTable(f figures) string {
	var out table
	out.head("Digests of header and data", "", "", "rate without", "with", "with against without", "server CPU us/op without", "with")
	for _, name := range digestNames {
		title := name
		for _, server := range targetNames {
			off, on := f.of(name, server, rateOf), f.of(name+digests, server, rateOf)
			if len(off) == 0 {
				continue
			}
			out.row(title, server, off.middle(), on.middle(), on.over(off).ranged(),
				f.of(name, server, cpuOf).middle(), f.of(name+digests, server, cpuOf).middle())
			title = ""
		}
	}
	return out.String()
}

package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// series are the results of one measurement, repeated.
type series []float64

func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// String shows the median and how far the results are spread around it.
func (s series) String() string {
	if len(s) == 0 {
		return "-"
	}
	m := s.median()
	if len(s) == 1 || m == 0 {
		return number(m)
	}
	return fmt.Sprintf("%s (±%.0f %%)", number(m), 100*(slices.Max(s)-slices.Min(s))/2/m)
}

func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "-"
	case x >= 10000:
		return fmt.Sprintf("%.1fk", x/1000)
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// table is a Markdown table.
type table struct {
	strings.Builder
}

func (t *table) row(cells ...string) { fmt.Fprintf(t, "| %s |\n", strings.Join(cells, " | ")) }

func (t *table) head(title string, cells ...string) {
	fmt.Fprintf(t, "\n### %s\n\n", title)
	t.row(cells...)
	t.row(slices.Repeat([]string{"---"}, len(cells))...)
}

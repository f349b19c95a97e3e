package hostile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// table is what "make hostile" writes.
type table struct {
	idle  resources
	alone latencies
	rows  []result
}

func (b *table) add(r result) { b.rows = append(b.rows, r) }

// String is the table in Markdown.
func (b *table) String() string {
	var s strings.Builder
	us := func(d time.Duration) string { return fmt.Sprintf("%d", d.Microseconds()) }
	fmt.Fprintf(&s, "Before the first attack: %d MiB resident, %d descriptors, bystander p50 %s µs, p99 %s µs.\n\n",
		b.idle.rss>>20, b.idle.descriptors, us(b.alone.p50), us(b.alone.p99))
	s.WriteString("| attack | acts | seconds | p50 µs before | under | p99 µs before | under | p99 ratio | MiB at most | descriptors at most |\n")
	s.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range b.rows {
		fmt.Fprintf(&s, "| %s | %d | %.1f | %s | %s | %s | %s | %.1f | %d | %d |\n", r.name, r.acts, r.took.Seconds(),
			us(r.before.p50), us(r.under.p50), us(r.before.p99), us(r.under.p99), float64(r.under.p99)/float64(r.before.p99), r.peak.rss>>20, r.peak.descriptors)
	}
	return s.String()
}

const beginMark, endMark = "<!-- table: begin -->\n", "<!-- table: end -->"

// write puts the table between the marks of docs/HOSTILITY.md.
func (b *table) write(t *testing.T) {
	t.Helper()
	path := filepath.Join(harness.Root(t), "docs", "HOSTILITY.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(old), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks", path)
	}
	if err := os.WriteFile(path, []byte(before+beginMark+b.String()+endMark+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

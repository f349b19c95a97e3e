package conformance

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// The tables stand between these marks in docs/CONFORMANCE.md.
const (
	tablesBegin = "<!-- tables: make conformance PEERS=1 -->"
	tablesEnd   = "<!-- end of tables -->"
)

// columns are the targets in the order of the tables.
var columns = []string{"sluice", "tgt", "gotgt"}

// fullWay is the way that runs every test; the tables by family are of it.
var fullWay = way{sessions: 2}

var update = flag.Bool("update", false, "make the tables of docs/CONFORMANCE.md anew, without a run")

// TestDocument holds docs/CONFORMANCE.md to the outcomes of the last run, and to expected.txt.
func TestDocument(t *testing.T) {
	path := documentPath(t)
	if *update {
		writeDocument(t, loadResults(t))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := withTables(t, path, loadResults(t)); want != string(text) {
		t.Errorf("the tables of %s are not those of %s: run make conformance, or go test ./test/conformance -run TestDocument -update", path, resultsFile)
	}
}

func writeDocument(t *testing.T, r *results) {
	t.Helper()
	path := documentPath(t)
	if err := os.WriteFile(path, []byte(withTables(t, path, r)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withTables returns the document with the tables made anew.
func withTables(t *testing.T, path string, r *results) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tablesBegin)
	_, after, ok2 := strings.Cut(rest, tablesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks of the tables are gone", path)
	}
	expected, err := parseExpected(expectedText)
	if err != nil {
		t.Fatal(err)
	}
	return before + tablesBegin + "\n\n" + tables(r, expected) + tablesEnd + after
}

// tally counts classes, in the order passed, failed, skipped, hung.
type tally [4]int

func (c *tally) count(got class) {
	c[slices.Index([]class{Passed, Failed, Skipped, Hung}, got)]++
}

func (c tally) String() string {
	if c == (tally{}) {
		return "-"
	}
	return fmt.Sprintf("%d/%d/%d/%d", c[0], c[1], c[2], c[3])
}

func (r *results) tally(target string, w way, in func(test string) bool) (c tally) {
	if !r.ran(target, w) {
		return c
	}
	for _, test := range w.tests(r.Tests) {
		if in(test) {
			c.count(r.get(target, w, test).Class)
		}
	}
	return c
}

func tables(r *results, expected map[string]expectation) string {
	var out strings.Builder
	every := func(string) bool { return true }
	fmt.Fprintf(&out, "Each figure is passed/failed/skipped/hung, of %d tests.\n\n", len(r.Tests))
	row(&out, "way to connect", columns...)
	row(&out, "---", "---", "---", "---")
	for _, w := range ways() {
		row(&out, w.String(), cells(func(target string) string { return r.tally(target, w, every).String() })...)
	}
	fmt.Fprintf(&out, "\nBy family of tests, %s:\n\n", fullWay)
	row(&out, "family", columns...)
	row(&out, "---", "---", "---", "---")
	var families []string
	for _, test := range r.Tests {
		if family := suiteOf(test); !slices.Contains(families, family) {
			families = append(families, family)
		}
	}
	for _, family := range families {
		in := func(test string) bool { return suiteOf(test) == family }
		row(&out, family, cells(func(target string) string { return r.tally(target, fullWay, in).String() })...)
	}
	row(&out, "**all**", cells(func(target string) string { return "**" + r.tally(target, fullWay, every).String() + "**" })...)

	out.WriteString("\n### What sluice does not pass, and why\n\n")
	writeExpected(&out, expected)
	for _, peer := range columns[1:] {
		fmt.Fprintf(&out, "\n### What %s does not pass, in the suite's words\n\n", peer)
		writePeer(&out, r, peer)
	}
	out.WriteString("\n")
	return out.String()
}

// writeExpected lists what sluice does not pass, tests with the same reason together.
func writeExpected(out *strings.Builder, expected map[string]expectation) {
	tests := map[expectation][]string{}
	for _, test := range slices.Sorted(maps.Keys(expected)) {
		tests[expected[test]] = append(tests[expected[test]], test)
	}
	byFirst := func(a, b expectation) int {
		return cmp.Or(strings.Compare(string(a.class), string(b.class)), strings.Compare(tests[a][0], tests[b][0]))
	}
	for _, e := range slices.SortedFunc(maps.Keys(tests), byFirst) {
		fmt.Fprintf(out, "- %s: %s: %s.\n", e.class, strings.Join(tests[e], ", "), strings.TrimSuffix(e.reason, "."))
	}
	if len(expected) == 0 {
		out.WriteString("Nothing.\n")
	}
}

// writePeer lists what a peer fails, hangs on and skips in any way that it was run in.
func writePeer(out *strings.Builder, r *results, peer string) {
	skipped := map[string][]string{} // reason -> tests
	for _, test := range r.Tests {
		for _, w := range append([]way{fullWay}, ways()...) {
			got := r.get(peer, w, test)
			if got.Class == Passed || !slices.Contains(w.tests([]string{test}), test) {
				continue
			}
			if got.Class == Skipped {
				skipped[got.Detail] = append(skipped[got.Detail], test)
			} else {
				only := ""
				if w != fullWay {
					only = ", only with " + w.String()
				}
				fmt.Fprintf(out, "- %s (%s%s): %s\n", test, got.Class, only, oneLine(got.Detail))
			}
			break
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Fprintf(out, "- skipped: %s: %s\n", oneLine(reason), strings.Join(skipped[reason], ", "))
	}
}

func cells(of func(target string) string) []string {
	var cells []string
	for _, target := range columns {
		cells = append(cells, of(target))
	}
	return cells
}

func row(out *strings.Builder, first string, rest ...string) {
	fmt.Fprintf(out, "| %s | %s |\n", first, strings.Join(rest, " | "))
}

// oneLine keeps what a foreign program said from breaking the document.
func oneLine(text string) string {
	text = strings.NewReplacer("|", "/", "<", "(", ">", ")", "*", "\\*", "_", "\\_").Replace(strings.Join(strings.Fields(text), " "))
	if len(text) > 160 {
		text = text[:160] + "..."
	}
	return text
}

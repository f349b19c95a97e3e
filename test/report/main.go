// Report reads the events of go test -json from files or standard input. It shows each
// package's closing line as go test does, the output of every test that failed, and a
// line for every reason for which tests were left out, and ends with a line that counts:
//
//	812 passed, 0 failed, 14 skipped
//
// A test that appears more than once (run again with the race detector) counts once, with
// its worst result. A test with subtests is counted by these. Steps named with -failed
// count as failed tests. The exit status is 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	failed := flag.String("failed", "", "names of other steps that failed, separated by spaces")
	quiet := flag.Bool("quiet", false, "only what failed, what was left out, and the counts")
	flag.Parse()
	r := report{out: os.Stdout, quiet: *quiet, tests: map[test]*outcome{}}
	inputs := flag.Args()
	if len(inputs) == 0 {
		inputs = []string{"/dev/stdin"}
	}
	for _, name := range inputs {
		if err := r.readFile(name); err != nil {
			fmt.Fprintln(os.Stderr, "report:", err)
			os.Exit(2)
		}
	}
	for step := range strings.FieldsSeq(*failed) {
		r.note(test{"step", step}, "fail", "")
	}
	if r.finish() {
		os.Exit(1)
	}
}

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build-output
}

type test struct{ pkg, name string }

type outcome struct {
	action string // pass, skip or fail
	output string
}

type report struct {
	out   io.Writer
	quiet bool
	tests map[test]*outcome
}

func (r *report) readFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	output := map[test]*strings.Builder{}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprint(r.out, string(line)) // go test itself, saying what is wrong
			} else {
				r.take(e, output)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
	}
}

func (r *report) take(e event, output map[test]*strings.Builder) {
	key := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		if output[key] == nil {
			output[key] = new(strings.Builder)
		}
		output[key].WriteString(e.Output)
	case "pass", "skip", "fail":
		text := ""
		if output[key] != nil {
			text = output[key].String()
			delete(output, key)
		}
		if e.Test != "" {
			r.note(key, e.Action, text)
			return
		}
		r.closePackage(e, text)
	}
}

// closePackage shows a package's closing line, and counts a package that failed without
// any of its tests failing: it did not compile, or it crashed.
func (r *report) closePackage(e event, text string) {
	for line := range strings.Lines(text) {
		closing := strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "FAIL\t") || strings.HasPrefix(line, "--- FAIL")
		if closing && !r.quiet || e.Action == "fail" && !closing && line != "FAIL\n" {
			fmt.Fprint(r.out, line)
		}
	}
	if e.Action != "fail" {
		return
	}
	for key, o := range r.tests {
		if key.pkg == e.Package && o.action == "fail" {
			return
		}
	}
	r.note(test{e.Package, "(package)"}, "fail", "")
}

var severity = map[string]int{"skip": 0, "pass": 1, "fail": 2}

func (r *report) note(key test, action, output string) {
	if action == "fail" {
		fmt.Fprintf(r.out, "--- FAIL: %s %s\n%s", key.pkg, key.name, output)
	}
	if o := r.tests[key]; o == nil || severity[action] > severity[o.action] {
		r.tests[key] = &outcome{action, output}
	}
}

// finish prints what was left out and the counts, and tells whether anything failed.
func (r *report) finish() bool {
	parents := map[test]map[string]bool{} // test with subtests -> results among these
	for key, o := range r.tests {
		for name := key.name; strings.Contains(name, "/"); {
			name = name[:strings.LastIndex(name, "/")]
			parent := test{key.pkg, name}
			if parents[parent] == nil {
				parents[parent] = map[string]bool{}
			}
			parents[parent][o.action] = true
		}
	}
	count := map[string]int{}
	left := map[string][]string{} // reason -> tests
	for key, o := range r.tests {
		if below := parents[key]; below != nil && (o.action != "fail" || below["fail"]) {
			continue
		}
		count[o.action]++
		if o.action == "skip" {
			why := reason(o.output)
			left[why] = append(left[why], key.pkg+" "+key.name)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(left)) {
		names := left[why]
		slices.Sort(names)
		more := ""
		if len(names) > 1 {
			more = fmt.Sprintf(" and %d more", len(names)-1)
		}
		fmt.Fprintf(r.out, "left out: %s%s: %s\n", names[0], more, why)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", count["pass"], count["fail"], count["skip"])
	return count["fail"] > 0
}

// reason takes the text of t.Skip out of a test's output: "    file.go:12: text".
func reason(output string) string {
	for line := range strings.Lines(output) {
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				return strings.TrimSpace(text)
			}
		}
	}
	return "no reason given"
}

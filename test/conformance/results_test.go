package conformance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sluice/test/harness"
)

// resultsFile keeps the last outcomes of each target, so that a run of some ways to
// some targets leaves what is known of the others.
const resultsFile = "testdata/results.json"

// results has the outcomes of all targets. What it lists as a test and has no outcome for,
// in a way that the target was run in, has passed. Outcomes may
// be added concurrently.
type results struct {
	Tests   []string                                 `json:"tests"`
	Targets map[string]map[string]map[string]outcome `json:"targets"` // target, way, test

	mu sync.Mutex
}

func newResults(tests []string) *results {
	return &results{Tests: tests, Targets: map[string]map[string]map[string]outcome{}}
}

// add takes over the outcomes of a whole way.
func (r *results) add(target string, w way, outcomes map[string]outcome) {
	notPassed := map[string]outcome{}
	for test, got := range outcomes {
		if got.Class != Passed {
			notPassed[test] = got
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Targets[target] == nil {
		r.Targets[target] = map[string]map[string]outcome{}
	}
	r.Targets[target][w.String()] = notPassed
}

// get returns how a test ended in a way that the target was run in.
func (r *results) get(target string, w way, test string) outcome {
	if got, ok := r.Targets[target][w.String()][test]; ok {
		return got
	}
	return outcome{Class: Passed}
}

// ran reports whether a target was run in a way.
func (r *results) ran(target string, w way) bool { return r.Targets[target][w.String()] != nil }

// publish merges the outcomes into resultsFile and writes the document's tables.
func (r *results) publish(t *testing.T) {
	t.Helper()
	kept := loadResults(t)
	for name, ways := range kept.Targets {
		if r.Targets[name] == nil {
			r.Targets[name] = map[string]map[string]outcome{}
		}
		for way, outcomes := range ways {
			if r.Targets[name][way] == nil {
				r.Targets[name][way] = outcomes
			}
		}
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(resultsFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	writeDocument(t, r)
}

func loadResults(t *testing.T) *results {
	t.Helper()
	r := newResults(nil)
	text, err := os.ReadFile(resultsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatalf("reading %s: %v", resultsFile, err)
	}
	return r
}

func documentPath(t *testing.T) string {
	return filepath.Join(harness.Root(t), "docs", "CONFORMANCE.md")
}

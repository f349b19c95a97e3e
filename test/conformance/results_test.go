package conformance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"sluice/test/harness"
)

// resultsFile keeps the last outcomes of each target, so that a run of one target alone
// leaves what is known of the others.
const resultsFile = "testdata/results.json"

// results has the outcomes of all targets. What it lists as a test and has no outcome for,
// in a way that the target was run in, has passed. Safe for concurrent use.
type results struct {
	Tests   []string                                 `json:"tests"`
	Targets map[string]map[string]map[string]outcome `json:"targets"` // target, way, test

	mu sync.Mutex
}

func newResults(tests []string) *results {
	return &results{Tests: tests, Targets: map[string]map[string]map[string]outcome{}}
}

// add remembers an outcome.
func (r *results) add(target string, w way, test string, got outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Targets[target] == nil {
		r.Targets[target] = map[string]map[string]outcome{}
	}
	if r.Targets[target][w.String()] == nil {
		r.Targets[target][w.String()] = map[string]outcome{}
	}
	if got.Class != Passed {
		r.Targets[target][w.String()][test] = got
	}
}

// get returns how a test ended in a way that the target was run in.
func (r *results) get(target string, w way, test string) outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	for name, outcomes := range kept.Targets {
		if r.Targets[name] == nil {
			r.Targets[name] = maps.Clone(outcomes)
		}
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(resultsFile, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	path := documentPath(t)
	if err := os.WriteFile(path, []byte(withTables(t, path, r)), 0o644); err != nil {
		t.Fatal(err)
	}
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

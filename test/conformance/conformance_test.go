package conformance

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestConformance runs the suite against sluice in the two ways that differ most, each
// of its tests a subtest. With SLUICE_CONFORMANCE=all it runs it in all ways, with
// SLUICE_CONFORMANCE=peers against the peers too, and writes the outcomes into
// testdata/results.json and docs/CONFORMANCE.md.
func TestConformance(t *testing.T) {
	mode := os.Getenv("SLUICE_CONFORMANCE")
	targets, chosen := []target{sluiceTarget()}, ways()
	switch mode {
	case "":
		chosen = []way{{sessions: 1}, {sessions: 2, chap: true, digests: true}}
	case "all":
	case "peers":
		targets = append(targets, tgtTarget(), gotgtTarget())
	default:
		t.Fatalf("SLUICE_CONFORMANCE=%s is none of: all, peers", mode)
	}
	tests := suiteTests(t)
	expected, err := parseExpected(expectedText)
	if err != nil {
		t.Fatal(err)
	}
	for test := range expected {
		if !slices.Contains(tests, test) {
			t.Errorf("expected.txt lists %s, which the suite does not have", test)
		}
	}
	all := newResults(tests)
	t.Run("targets", func(t *testing.T) { // returns when all parallel subtests have
		for _, target := range targets {
			for _, w := range chosen {
				name := target.name + "/" + strings.NewReplacer(",", "", " ", "_").Replace(w.String())
				t.Run(name, func(t *testing.T) {
					if reason := target.takes(w); reason != "" {
						t.Skip(reason)
					}
					t.Parallel()
					runWay(t, target, w, expected, all)
				})
			}
		}
	})
	if mode != "" {
		all.publish(t)
	}
}

// runWay runs all tests of a way against one target and adds the outcomes to all.
func runWay(t *testing.T, target target, w way, expected map[string]expectation, all *results) {
	d := target.start(t, w)
	outcomes := map[string]outcome{}
	for _, test := range w.tests(all.Tests) {
		t.Run(test, func(t *testing.T) {
			got := runTest(t.Context(), test, d.url, w, d.Exited())
			outcomes[test] = got
			if target.judged {
				judge(t, got, expected, test)
			} else {
				t.Log(got.Class, got.Detail)
			}
		})
		ended := false
		select {
		case <-d.Exited():
			ended = true
		default:
		}
		switch {
		case target.judged && ended:
			t.Fatalf("the daemon ended:\n%s", d.LogTail(30))
		case !target.judged && (ended || outcomes[test].Class != Passed):
			d.Kill()
			d = target.start(t, w)
		}
	}
	all.add(target.name, w, outcomes)
}

// judge reports to t what is not as expected, and as skipped what is and yet did not pass.
func judge(t *testing.T, got outcome, expected map[string]expectation, test string) {
	t.Helper()
	var want *expectation
	if e, ok := expected[test]; ok {
		want = &e
	}
	note, err := verdict(got, want)
	if err != nil {
		t.Error(err)
	} else if note != "" {
		t.Skip(note)
	}
}

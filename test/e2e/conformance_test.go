package e2e

import (
	"bufio"
	"context"
	_ "embed"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// suiteTimeout is how long one suite of iscsi-test-cu may take; most take milliseconds.
const suiteTimeout = 30 * time.Second

// expectedFailures has a line for each test of iscsi-test-cu that is not expected to
// pass: its name and, after spaces, why. A listed test that passes is a failure too, so
// that the list stays true.
//
//go:embed testdata/expected-failures.txt
var expectedFailures string

// TestConformance runs libiscsi's conformance suite, each of its tests as a subtest.
func TestConformance(t *testing.T) {
	harness.NeedTools(t, "iscsi-test-cu")
	gw := harness.Start(t, harness.Options{})
	gw.CreateVolume("conform", "1GiB")
	reasons := parseExpected(t, expectedFailures)
	for name := range strings.FieldsSeq(harness.Run(t, "iscsi-test-cu", "--list")) {
		family, suite, ok := strings.Cut(name, ".")
		if (family != "SCSI" && family != "iSCSI") || !ok || strings.Contains(suite, ".") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			results, output := runSuite(t, name, gw.URL("conform"))
			if len(results) == 0 {
				t.Fatalf("no test ran:\n%s", output)
			}
			for _, result := range results {
				t.Run(result.name, func(t *testing.T) { result.judge(t, reasons[name+"."+result.name]) })
			}
		})
	}
	if exited(gw.Process) {
		t.Error("the daemon ended")
	}
}

func exited(p *harness.Process) bool {
	select {
	case <-p.Exited():
		return true
	default:
		return false
	}
}

func parseExpected(t *testing.T, text string) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok {
			t.Fatalf("expected-failures.txt: %q has no reason", line)
		}
		reasons[name] = strings.TrimSpace(reason)
	}
	return reasons
}

// conformanceResult is one test of iscsi-test-cu.
type conformanceResult struct {
	name   string
	ended  string // "passed", "FAILED", or "" when it did not end
	output string
}

// judge reports the result to t, given the reason why it may fail, or "".
func (r conformanceResult) judge(t *testing.T, reason string) {
	skipped := strings.Contains(r.output, "[SKIPPED]")
	switch {
	case r.ended == "passed" && skipped:
		t.Skip(strings.TrimSpace(r.output))
	case r.ended == "passed" && reason != "":
		t.Errorf("passes, but expected-failures.txt says that it fails: %s", reason)
	case r.ended == "passed":
	case reason != "":
		t.Skipf("fails as expected: %s", reason)
	case r.ended == "":
		t.Errorf("did not end:\n%s", r.output)
	default:
		t.Errorf("failed:\n%s", r.output)
	}
}

// runSuite runs one suite and takes its output apart.
func runSuite(t *testing.T, suite, url string) (results []conformanceResult, output string) {
	ctx, cancel := context.WithTimeout(t.Context(), suiteTimeout)
	defer cancel()
	// Its exit status only repeats what it prints, or that it was stopped.
	args := []string{"--dataloss", "--test=" + suite, url}
	if strings.HasSuffix(suite, "MultipathIO") {
		args = append(args, url) // a second session
	}
	out, _ := exec.CommandContext(ctx, "iscsi-test-cu", args...).CombinedOutput()
	return parseSuite(string(out)), string(out)
}

var testStart = regexp.MustCompile(`^  Test: (\S+) \.\.\.(.*)$`)

func parseSuite(output string) (results []conformanceResult) {
	lines := bufio.NewScanner(strings.NewReader(output))
	for lines.Scan() {
		text := lines.Text()
		if m := testStart.FindStringSubmatch(text); m != nil {
			results = append(results, conformanceResult{name: m[1]})
			text = m[2]
		}
		if len(results) == 0 {
			continue
		}
		last := &results[len(results)-1]
		if strings.HasPrefix(text, "Run Summary:") || strings.HasPrefix(text, "Suite: ") {
			break
		}
		if last.ended == "" && (strings.HasPrefix(text, "passed") || strings.HasPrefix(text, "FAILED")) {
			last.ended = text[:len("passed")]
		}
		last.output += text + "\n"
	}
	return results
}

func TestParseSuite(t *testing.T) {
	got := parseSuite("Suite: Unmap\n  Test: Simple ...passed\n  Test: VPD ...    [SKIPPED] no\npassed\n" +
		"  Test: Zero ...FAILED\n    1. test.c:1  - a\n  Test: Hang ...    something\n\nRun Summary: x\n")
	want := []conformanceResult{
		{"Simple", "passed", "passed\n"},
		{"VPD", "passed", "    [SKIPPED] no\npassed\n"},
		{"Zero", "FAILED", "FAILED\n    1. test.c:1  - a\n"},
		{"Hang", "", "    something\n\n"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d results, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("result %d: got %q, want %q", i, got[i], want[i])
		}
	}
}

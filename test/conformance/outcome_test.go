package conformance

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
)

// class is how a test of the suite ended; the package comment has the meaning of each.
type class string

// The classes.
const (
	Passed  class = "passed"
	Failed  class = "failed"
	Skipped class = "skipped"
	Hung    class = "hung"
)

// outcome is how one test ended, and why if it did not pass.
type outcome struct {
	Class  class  `json:"class"`
	Detail string `json:"detail,omitempty"`
}

// expectation says how a test ends that is not expected to pass.
type expectation struct {
	class  class
	reason string
}

// expectedText has a line for each: class, test, reason.
//
//go:embed testdata/expected.txt
var expectedText string

func parseExpected(text string) (map[string]expectation, error) {
	expected := map[string]expectation{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		test, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
		reason = strings.TrimSpace(reason)
		if c := class(kind); c != Failed && c != Skipped || reason == "" {
			return nil, fmt.Errorf("%q is not: failed or skipped, test, reason", line)
		}
		if _, twice := expected[test]; twice {
			return nil, fmt.Errorf("%s is listed twice", test)
		}
		expected[test] = expectation{class(kind), reason}
	}
	return expected, nil
}

// verdict compares an outcome with what is expected, nil if nothing but a pass is. The
// error says what is wrong; otherwise note says why a test that did not pass may do so.
func verdict(got outcome, want *expectation) (note string, err error) {
	switch {
	case want == nil && got.Class == Passed:
		return "", nil
	case want == nil:
		return "", fmt.Errorf("%s: %s", got.Class, got.Detail)
	case got.Class == want.class:
		return fmt.Sprintf("%s, as listed: %s", got.Class, want.reason), nil
	default:
		return "", fmt.Errorf("%s, but expected.txt says %s: %s", got.Class, want.class, want.reason)
	}
}

func TestVerdict(t *testing.T) {
	mayFail, maySkip := &expectation{Failed, "why"}, &expectation{Skipped, "why"}
	for _, test := range []struct {
		got  class
		want *expectation
		ok   bool
	}{
		{Passed, nil, true},
		{Failed, nil, false},
		{Skipped, nil, false},
		{Hung, nil, false},
		{Failed, mayFail, true},
		{Passed, mayFail, false},
		{Skipped, mayFail, false},
		{Hung, mayFail, false},
		{Skipped, maySkip, true},
		{Passed, maySkip, false},
		{Failed, maySkip, false},
	} {
		note, err := verdict(outcome{test.got, ""}, test.want)
		if (err == nil) != test.ok {
			t.Errorf("%s where %v is expected: %v", test.got, test.want, err)
		}
		if (note != "") != (test.ok && test.want != nil) {
			t.Errorf("%s where %v is expected: note %q", test.got, test.want, note)
		}
	}
}

func TestParseExpected(t *testing.T) {
	got, err := parseExpected("# a comment\n\nfailed SCSI.A.B  because of this\nskipped SCSI.A.C of that\n")
	if err != nil || len(got) != 2 || got["SCSI.A.B"] != (expectation{Failed, "because of this"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"failed SCSI.A.B", "hung SCSI.A.B why", "SCSI.A.B why", "failed A.B.C x\nskipped A.B.C y"} {
		if _, err := parseExpected(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestParseOutput(t *testing.T) {
	const head, foot = "found matching\nSuite: Unmap\n  Test: Before ...FAILED\n    1. x\n", "\n\nRun Summary:    Type  Total\n             asserts     %d\n"
	for _, test := range []struct {
		name, body string
		asserts    int
		want       outcome
	}{
		{"passed", "  Test: A ...passed", 3, outcome{Passed, ""}},
		{"passed with noise", "  Test: A ...    [WARNING] x\npassed", 3, outcome{Passed, ""}},
		{"passed and noise", "  Test: A ...    a\npassed    [FAILED] x", 3, outcome{Passed, ""}},
		{"checked without an assertion", "  Test: A ...    [OK] x\npassed", 0, outcome{Passed, ""}},
		{"checked nothing", "  Test: A ...\npassed", 0, outcome{Skipped, "checks nothing"}},
		{"skipped", "  Test: A ...    [SKIPPED] no\n more\npassed", 1, outcome{Skipped, "no"}},
		{"failed, told", "  Test: A ...    [FAILED] not so\nFAILED\n    1. t.c:1  - a == b", 9, outcome{Failed, "not so"}},
		{"failed, check", "  Test: A ...\nFAILED\n    1. t.c:1  - a == b", 9, outcome{Failed, "t.c:1 - a == b"}},
		{"failed, noise after", "  Test: A ...\nFAILED    [FAILED] cleaning\n    1. t.c:1  - a    Send PRIN", 9, outcome{Failed, "t.c:1 - a"}},
		{"failed after a skip", "  Test: A ...    [SKIPPED] x\nFAILED\n    1. t.c:1  - a", 9, outcome{Failed, "t.c:1 - a"}},
		{"ended in the middle", "  Test: A ...    half", 9, outcome{Failed, "ended in the middle: half"}},
		{"another followed", "  Test: A ...    [OK] x\npassed\n  Test: B ...FAILED\n    1. x", 9, outcome{Passed, ""}},
		{"no login", "Failed to login", 0, outcome{Failed, "no test ran: asserts     0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parseOutput(head+test.body+fmt.Sprintf(foot, test.asserts), "A"); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

package conformance

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

// testTimeout is how long one test of the suite may take; nearly all take milliseconds.
const testTimeout = 30 * time.Second

// multipathFamily needs two sessions and is left out where there is one.
const multipathFamily = "MultipathIO"

// suiteTests returns the tests that the installed suite has, as FAMILY.SUITE.TEST.
func suiteTests(t *testing.T) []string {
	t.Helper()
	harness.NeedTools(t, "iscsi-test-cu")
	tests := listedTests(harness.Run(t, "iscsi-test-cu", "--list"))
	if len(tests) < 200 {
		t.Fatalf("iscsi-test-cu lists %d tests: is this the suite that we know?", len(tests))
	}
	return tests
}

// listedTests takes the output of --list apart. Its families ALL and LINUX repeat tests.
func listedTests(list string) []string {
	var tests []string
	for name := range strings.FieldsSeq(list) {
		part := strings.Split(name, ".")
		if len(part) == 3 && (part[0] == "SCSI" || part[0] == "iSCSI") {
			tests = append(tests, name)
		}
	}
	return tests
}

// suiteOf returns the middle part of a test's name.
func suiteOf(test string) string {
	_, rest, _ := strings.Cut(test, ".")
	suite, _, _ := strings.Cut(rest, ".")
	return suite
}

// way is how the suite connects to a target.
type way struct {
	sessions      int
	chap, digests bool
}

// ways are all of them; the plain one first.
func ways() []way {
	var all []way
	for _, chap := range []bool{false, true} {
		for _, digests := range []bool{false, true} {
			all = append(all, way{1, chap, digests}, way{2, chap, digests})
		}
	}
	return all
}

func (w way) String() string {
	name := "1 session"
	if w.sessions == 2 {
		name = "2 sessions"
	}
	if w.chap {
		name += ", CHAP"
	}
	if w.digests {
		name += ", header digests"
	}
	return name
}

// tests leaves out what this way cannot run.
func (w way) tests(all []string) []string {
	var tests []string
	for _, test := range all {
		if w.sessions == 2 || suiteOf(test) != multipathFamily {
			tests = append(tests, test)
		}
	}
	return tests
}

// Credentials of the ways with CHAP, which is mutual.
const (
	chapUser, chapSecret     = "suite", "suite-secret-1"
	mutualUser, mutualSecret = "target", "target-secret2"
)

// initiators are the names under which the suite logs in.
var initiators = []string{
	"iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test",
	"iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test-2",
}

// url returns the address of a LUN in the form that libiscsi takes, with this way's options.
func (w way) url(portal, iqn string, lun int) string {
	user, options := "", []string{}
	if w.chap {
		user = chapUser + "%" + chapSecret + "@"
		options = append(options, "target_user="+mutualUser, "target_password="+mutualSecret)
	}
	if w.digests {
		options = append(options, "header_digest=crc32c")
	}
	url := fmt.Sprintf("iscsi://%s%s/%s/%d", user, portal, iqn, lun)
	if len(options) > 0 {
		url += "?" + strings.Join(options, "&")
	}
	return url
}

// runTest runs one test of the suite. It is given up when the time is over, or when the
// daemon has exited: the client would try to reconnect for ever.
func runTest(ctx context.Context, test, url string, w way, exited <-chan struct{}) outcome {
	timed, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	limited, gone := context.WithCancelCause(timed)
	defer gone(nil)
	go func() {
		select {
		case <-exited:
			gone(errDaemonEnded)
		case <-limited.Done():
		}
	}()
	run := test
	if needsSuite[test] {
		run = test[:strings.LastIndex(test, ".")]
	}
	args := []string{"--dataloss", "--allow-sanitize", "--Verbose-scsi", "--test=" + run, url}
	if w.sessions == 2 {
		args = append(args, url)
	}
	out, err := exec.CommandContext(limited, "iscsi-test-cu", args...).CombinedOutput()
	switch {
	case errors.Is(context.Cause(limited), errDaemonEnded):
		return outcome{Hung, "the daemon ended"}
	case timed.Err() != nil:
		return outcome{Hung, fmt.Sprintf("did not end within %v", testTimeout)}
	}
	result := parseOutput(string(out), test[strings.LastIndex(test, ".")+1:])
	var exit *exec.ExitError
	if result.Class == Failed && errors.As(err, &exit) && exit.ExitCode() < 0 {
		result.Detail = fmt.Sprintf("the suite itself crashed (%v) after: %s", exit, result.Detail)
	}
	return result
}

var errDaemonEnded = errors.New("the daemon ended")

// needsSuite names the tests that pass on no target when they run alone:
// LUNResetSimpleAsync wants to see, before it has sent its reset, a variable set that
// the answer to a task management function sets; the test before it does that.
var needsSuite = map[string]bool{"iSCSI.iSCSITMF.LUNResetSimpleAsync": true}

var (
	// In the line of the test's name, or the first thing in a later one.
	testEnd = regexp.MustCompile(`(?m)^(passed|FAILED)\b`)
	// The suite logs each check that it makes without counting it as an assertion.
	loggedCheck = regexp.MustCompile(`(?m)\[(?:OK|SUCCESS)\] `)
	assertCount = regexp.MustCompile(`(?m)^ +asserts +(\d+)`)
)

// parseOutput tells what the verbose output of a run says of one test.
func parseOutput(output, test string) outcome {
	_, body, started := strings.Cut(output, "  Test: "+test+" ...")
	if !started {
		return outcome{Failed, "no test ran: " + lastLine(output)}
	}
	if next := strings.Index(body, "\n  Test: "); next >= 0 {
		body = body[:next]
	}
	body, summary, _ := strings.Cut(body, "\nRun Summary:")
	end := testEnd.FindStringIndex(body)
	if end == nil {
		return outcome{Failed, "ended in the middle: " + lastLine(body)}
	}
	if body[end[0]:end[1]] == "FAILED" {
		return outcome{Failed, complaint(body[:end[0]], body[end[1]:])}
	}
	body = body[:end[0]]
	if _, reason, ok := strings.Cut(body, "[SKIPPED]"); ok {
		reason, _, _ = strings.Cut(reason, "\n")
		return outcome{Skipped, strings.TrimSpace(reason)}
	}
	asserts := assertCount.FindStringSubmatch(summary)
	if (asserts == nil || asserts[1] == "0") && !loggedCheck.MatchString(body) {
		return outcome{Skipped, "checks nothing"}
	}
	return outcome{Class: Passed}
}

// complaint returns the test's own words on what went wrong: the first that it logged
// before the verdict, or else the first of the checks that are listed after it.
func complaint(before, after string) string {
	for line := range strings.Lines(before) {
		if _, text, ok := strings.Cut(line, "[FAILED]"); ok {
			return strings.TrimSpace(text)
		}
	}
	for line := range strings.Lines(after) {
		if _, text, ok := strings.Cut(line, "1. "); ok {
			text, _, _ = strings.Cut(text, "    Send ") // what the suite logs while it cleans up
			return strings.Join(strings.Fields(text), " ")
		}
	}
	return "no reason given"
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return strings.TrimSpace(text[strings.LastIndex(text, "\n")+1:])
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sluice/appliance/api"
)

func TestExitCode(t *testing.T) {
	of := func(code api.Code) error { return &ranError{fmt.Errorf("verb: %w", api.Errorf(code, "x"))} }
	for _, test := range []struct {
		err  error
		want int
	}{
		{errors.New("unknown flag"), exitUsage}, // cobra's own
		{&usageError{errors.New("x")}, exitUsage},
		{&ranError{usagef("x")}, exitUsage},
		{of(api.CodeInvalid), exitUsage},
		{of(api.CodeNotFound), exitNotFound},
		{of(api.CodeConflict), exitConflict},
		{&ranError{&api.UnreachableError{Err: errors.New("x")}}, exitUnreachable},
		{of(api.CodeUnavailable), exitOther},
		{of(api.CodeUnauthorized), exitOther},
		{of(api.CodeForbidden), exitOther},
		{of(api.CodeInternal), exitOther},
		{&ranError{errors.New("x")}, exitOther},
		{&ranError{context.Canceled}, exitOther},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: %d, not %d", test.err, got, test.want)
		}
	}
}

// TestExitCodesAreDocumented where people look: in the help.
func TestExitCodesAreDocumented(t *testing.T) {
	var out bytes.Buffer
	env := &environment{stdout: &out, stderr: &out, getenv: func(string) string { return "" }}
	if code := run(t.Context(), env, []string{"--help"}); code != exitDone {
		t.Errorf("help ends with %d", code)
	}
	for _, line := range []string{"0  done", "2  usage", "3  not found", "4  conflict", "5  the daemon cannot be reached"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the help lacks %q", line)
		}
	}
}

// TestUsage: command lines that make no sense end with 2, and say it as JSON if asked to.
func TestUsage(t *testing.T) {
	for _, line := range []string{
		"bogus", "--bogus", "volume", "volume bogus", "volume create", "volume create demo", "volume create demo --size 10",
		"volume create demo --size 10GB", "volume create Demo --size 1GiB", "volume create demo --size 1KiB", "volume create demo --size 64TiB",
		"volume create a b --size 1GiB", "volume show", "volume show -- --x", "volume resize demo", "volume delete demo",
		"volume list extra", "status extra", "version extra", "serve extra", "serve --cache 1", "serve --cache 1MiB",
		"serve --store ftp://x", "serve --config /none", "serve --api-listen 0.0.0.0:1",
		"initiator", "initiator allow demo", "initiator allow demo --iqn x", "initiator list",
		"chap set demo --initiator iqn.a --user u", "chap set demo --initiator iqn.a --user u --secret-file /none",
		"chap set demo --initiator iqn.a --user u --secret-file f --mutual-user m", "chap delete demo",
		"volume list --api nonsense", "status --token-file /none",
	} {
		for _, asJSON := range []bool{false, true} {
			var stdout, stderr bytes.Buffer
			env := &environment{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }}
			args := strings.Fields(line)
			if asJSON {
				args = append([]string{"--json"}, args...)
			}
			if code := run(t.Context(), env, args); code != exitUsage {
				t.Errorf("%s: exit status %d: %s", line, code, &stderr)
			}
			if message := stderr.String(); !strings.HasPrefix(message, "sluice: ") || strings.Count(message, "\n") > 3 {
				t.Errorf("%s: the message is %q", line, message)
			}
			if asJSON != strings.Contains(stdout.String(), `"code": "invalid"`) || !asJSON && stdout.Len() > 0 {
				t.Errorf("%s: printed %q", line, &stdout)
			}
		}
	}
}

func TestAbout(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1.0KiB", 1536: "1.5KiB", 10 << 30: "10.0GiB", 32 << 40: "32.0TiB"} {
		if got := about(n); got != want {
			t.Errorf("%d: %s, not %s", n, got, want)
		}
	}
}

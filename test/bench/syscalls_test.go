package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/test/harness"
)

// countCalls counts the system calls per operation of every contender, with perf: a
// tracer that stops the server at each call, as strace does, would let requests pile up
// and so change what is counted. Only 4 KiB operations are counted. Where perf cannot count, nothing is.
func countCalls(t *testing.T, calls map[figure]float64, s targetSettings, contenders []*contender) {
	t.Helper()
	client := filepath.Join(harness.Root(t), "bin", "iscsiverify") // it was built for the rates
	for _, w := range targetWorks {
		if w.unit != "IOPS" {
			continue
		}
		for _, c := range contenders {
			n, err := callsPerOp(t, c, slices.Concat([]string{client, "--seconds", fmt.Sprint(s.short.Seconds()), "--size", targetArea}, w.args, []string{c.url}))
			if err != nil {
				t.Logf("left out: system calls: %v", err)
				return
			}
			calls[figure{w.name, c.name}] = n
			c.quiet()
		}
	}
}

// callsPerOp runs a client and counts the system calls of the server meanwhile.
func callsPerOp(t *testing.T, c *contender, client []string) (float64, error) {
	t.Helper()
	counts := filepath.Join(t.TempDir(), "counts")
	var pids []string
	for _, pid := range c.pids() {
		pids = append(pids, strconv.Itoa(pid))
	}
	args := append([]string{"stat", "-x", ",", "-o", counts, "-e", "raw_syscalls:sys_enter", "-p", strings.Join(pids, ","), "--"}, client...)
	cmd := exec.CommandContext(t.Context(), "perf", args...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("perf stat: %w: %s", err, errors.String())
	}
	var r harness.VerifyResult
	if err := json.Unmarshal(out, &r); err != nil {
		return 0, fmt.Errorf("what iscsiverify printed: %w", err)
	}
	text, err := os.ReadFile(counts)
	if err != nil {
		return 0, err
	}
	n, err := perfCount(string(text))
	return n / float64(max(r.Ops, 1)), err
}

// perfCount reads the one count in what "perf stat -x ," prints.
func perfCount(text string) (float64, error) {
	for line := range strings.Lines(text) {
		if count, rest, ok := strings.Cut(line, ","); ok && strings.Contains(rest, "raw_syscalls:sys_enter") {
			return strconv.ParseFloat(count, 64)
		}
	}
	return 0, fmt.Errorf("perf stat has no count: %q", text)
}

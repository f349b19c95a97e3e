package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Exit statuses of iscsiverify.
const (
	VerifyOK    = 0
	VerifyWrong = 1 // data that must not be there
	VerifyLost  = 3 // cannot log in, or the connection was lost
	VerifyIO    = 4 // the target reported an error
)

// VerifyResult is what iscsiverify prints, and how it ended.
type VerifyResult struct {
	Ops      int64   `json:"ops"`
	Reads    int64   `json:"reads"`
	Writes   int64   `json:"writes"`
	Zeroes   int64   `json:"zeroes"`
	Flushes  int64   `json:"flushes"`
	Seconds  float64 `json:"seconds"`
	IOPS     float64 `json:"iops"`
	MiBs     float64 `json:"mib_s"`
	MeanUS   float64 `json:"mean_us"`
	P50US    float64 `json:"p50_us"`
	P99US    float64 `json:"p99_us"`
	P999US   float64 `json:"p999_us"`
	MaxUS    float64 `json:"max_us"`
	Verified int64   `json:"verified"` // blocks whose content was compared
	Wrong    int64   `json:"wrong"`
	IOErrors int64   `json:"io_errors"`
	Sent     int64   `json:"sent"`    // ring mode: number of the last write sent,
	Acked    int64   `json:"acked"`   // acknowledged,
	Flushed  int64   `json:"flushed"` // and acknowledged before a flush
	Cut      int64   `json:"cut"`     // ring mode, check: the prefix that is there
	Message  string  `json:"message"`

	Exit   int    `json:"-"`
	Stderr string `json:"-"`
}

func (r VerifyResult) String() string {
	return fmt.Sprintf("exit %d: %d ops, %d verified, %d wrong, %d I/O errors: %s\n%s", r.Exit, r.Ops, r.Verified, r.Wrong, r.IOErrors, r.Message, r.Stderr)
}

// Verify runs iscsiverify (test/iscsiverify) to its end. The last argument is the URL.
func Verify(t testing.TB, args ...string) VerifyResult {
	t.Helper()
	return <-VerifyStart(t, args...)
}

// MustVerify is Verify where nothing may go wrong.
func MustVerify(t testing.TB, args ...string) VerifyResult {
	t.Helper()
	result := Verify(t, args...)
	if result.Exit != VerifyOK {
		t.Fatalf("iscsiverify %q: %v", args, result)
	}
	return result
}

// VerifyStart starts iscsiverify beside the test, which must receive the result.
func VerifyStart(t testing.TB, args ...string) <-chan VerifyResult {
	t.Helper()
	path, err := verifier()
	if err != nil {
		Missing(t, "building iscsiverify: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting iscsiverify: %v", err)
	}
	results := make(chan VerifyResult, 1)
	go func() {
		var result VerifyResult
		_ = cmd.Wait() // its exit status is part of the result
		result.Exit = cmd.ProcessState.ExitCode()
		result.Stderr = strings.TrimSpace(stderr.String())
		if stdout.Len() > 0 {
			if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
				result.Exit, result.Message = -1, fmt.Sprintf("reading %q: %v", &stdout, err)
			}
		}
		results <- result
	}()
	return results
}

// verifier builds iscsiverify, unless it is there and newer than its source.
var verifier = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "iscsiverify")
	if upToDate(path, filepath.Join(root, "test", "iscsiverify")) {
		return path, nil
	}
	if _, err := exec.LookPath("cc"); err != nil {
		return "", errors.New("no C compiler (test/setup.sh installs one)")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	part := fmt.Sprintf("%s.%d", path, os.Getpid())
	source := filepath.Join(root, "test", "iscsiverify", "iscsiverify.c")
	if out, err := exec.Command("cc", "-O2", "-Wall", "-o", part, source, "-liscsi").CombinedOutput(); err != nil {
		return "", fmt.Errorf("cc (libiscsi-dev is needed): %w: %s", err, out)
	}
	return path, os.Rename(part, path)
})

func upToDate(path, sources string) bool {
	built, err := os.Stat(path)
	if err != nil {
		return false
	}
	files, err := os.ReadDir(sources)
	if err != nil {
		return false
	}
	for _, file := range files {
		if info, err := file.Info(); err != nil || info.ModTime().After(built.ModTime()) {
			return false
		}
	}
	return true
}

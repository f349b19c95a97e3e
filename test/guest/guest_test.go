package guest_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/guest"
	"sluice/test/harness"
)

//go:embed testdata/initiator.sh
var initiatorScript string

const (
	guestIQN     = "iqn.2026-11.io.sluice.test:guest" // build.sh gives it this name
	user         = "joe"
	secret       = "joes-secret-0123"
	mutualUser   = "gateway"
	mutualSecret = "gateway-secret-4567"
)

// TestKernelInitiator boots a guest and has its kernel's initiator use a gateway:
// discovery, logins with and without CHAP, file systems made, written, checked and
// found again, and the daemon killed under a mounted file system. Each check that the
// script in the guest reports is a subtest.
func TestKernelInitiator(t *testing.T) {
	backends, cache := available(t)
	gw := harness.Start(t, harness.Options{})
	for _, name := range []string{"plain", "chap", "mutual"} {
		gw.CreateVolume(name, "1GiB")
	}
	file, mutualFile := secretFile(t, secret), secretFile(t, mutualSecret)
	gw.CLI("chap", "set", "chap", "--initiator", guestIQN, "--user", user, "--secret-file", file)
	gw.CLI("chap", "set", "mutual", "--initiator", guestIQN, "--user", user, "--secret-file", file,
		"--mutual-user", mutualUser, "--mutual-secret-file", mutualFile)

	_, portText, _ := strings.Cut(gw.Portal, ":")
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("PORT=%d PLAIN=%s CHAP=%s MUTUAL=%s LUN=0 USER=%s SECRET=%s MUTUAL_USER=%s MUTUAL_SECRET=%s SIZE=48m RESTART=1\n",
		port, gw.IQN("plain"), gw.IQN("chap"), gw.IQN("mutual"), user, secret, mutualUser, mutualSecret) + initiatorScript

	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	checks := &checks{t: t, events: map[string]func(){"kill": func() { gw.Kill(); gw.Restart() }}}
	console := &tail{}
	for _, backend := range backends {
		err = guest.Guest{Backend: backend, CacheDir: cache, Forward: []int{port}, Console: console}.Run(ctx, script, checks)
		if !errors.Is(err, guest.ErrNotStarted) {
			break
		}
		t.Logf("backend %s: %v\n%s", backend, err, console)
	}
	checks.report()
	if err != nil && (!errors.As(err, new(*guest.ExitError)) || !t.Failed()) {
		t.Errorf("%v (%v)\nthe end of the guest's console:\n%s", err, ctx.Err(), console)
	}
	if checks.passed < 40 {
		t.Errorf("only %d checks passed: the script ended early", checks.passed)
	}
}

// available says how a guest can be booted here, the best way first, building it if
// it is not there yet. SLUICE_GUEST=uml or qemu asks for one way.
func available(t *testing.T) (backends []guest.Backend, cache string) {
	t.Helper()
	cache, err := guest.Cache()
	if err != nil {
		harness.Missing(t, "no guest: %v", err)
	}
	build := exec.Command(filepath.Join(harness.Root(t), "test", "guest", "build.sh"))
	if out, err := build.CombinedOutput(); err != nil {
		harness.Missing(t, "building the guest: %v: %s", err, out)
	}
	wanted := func(b guest.Backend) bool {
		only := os.Getenv("SLUICE_GUEST")
		return only == "" || only == string(b)
	}
	if _, err := os.Stat("/dev/net/tun"); err == nil && os.Geteuid() == 0 && wanted(guest.UML) {
		backends = append(backends, guest.UML)
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err == nil && wanted(guest.QEMU) {
		backends = append(backends, guest.QEMU)
	}
	if len(backends) == 0 {
		harness.Missing(t, "no way to boot a guest: user-mode Linux needs root and /dev/net/tun, and QEMU is not installed")
	}
	return backends, cache
}

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checks reads the script's lines as they come: "ok NAME", "FAIL NAME" with indented
// output after it, "event NAME".
type checks struct {
	t      *testing.T
	events map[string]func()
	passed int
	name   string   // of the failed check that is being read
	output []string // of that check
}

// Write takes one line; guest.Run writes line by line.
func (c *checks) Write(line []byte) (int, error) {
	word, rest, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
	switch word {
	case "ok", "FAIL", "event":
		c.report()
	}
	switch word {
	case "ok":
		c.passed++
		c.t.Run(rest, func(*testing.T) {})
	case "FAIL":
		c.name, c.output = rest, nil
	case "event":
		c.events[rest]()
	default:
		c.output = append(c.output, strings.TrimRight(string(line), "\n"))
	}
	return len(line), nil
}

// report makes a failed check, all of whose output is there now, a failed subtest.
func (c *checks) report() {
	if c.name != "" {
		c.t.Run(c.name, func(t *testing.T) { t.Error(strings.Join(c.output, "\n")) })
	} else if len(c.output) > 0 {
		c.t.Logf("from the guest:\n%s", strings.Join(c.output, "\n"))
	}
	c.name, c.output = "", nil
}

// tail keeps the last 4 KiB that were written to it.
type tail struct{ data []byte }

func (w *tail) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	w.data = w.data[max(0, len(w.data)-4096):]
	return len(p), nil
}

func (w *tail) String() string { return string(w.data) }

package guest_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
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
	backends, cache := guest.Available(t, "")
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
	checks := &guest.Checks{T: t, Event: func(name string) {
		if name != "kill" {
			t.Fatalf("the guest asks for %q", name)
		}
		gw.Kill()
		gw.Restart()
	}}
	console := &guest.Tail{}
	for _, backend := range backends {
		err = guest.Guest{Backend: backend, CacheDir: cache, Forward: []int{port}, Console: console}.Run(ctx, script, checks)
		if !errors.Is(err, guest.ErrNotStarted) {
			break
		}
		t.Logf("backend %s: %v\n%s", backend, err, console)
	}
	checks.Report()
	if err != nil && (!errors.As(err, new(*guest.ExitError)) || !t.Failed()) {
		t.Errorf("%v (%v)\nthe end of the guest's console:\n%s", err, ctx.Err(), console)
	}
	if checks.Passed < 40 {
		t.Errorf("only %d checks passed: the script ended early", checks.Passed)
	}
}

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

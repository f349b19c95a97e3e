package power

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"sluice/test/guest"
	"sluice/test/harness"
	"sluice/test/s3server"
	"sluice/test/sessions"
)

//go:embed testdata/gateway.sh
var gatewayScript string

const guestInitiator = "iqn.2026-11.io.sluice.test:power"

// machine is a virtual one with a gateway in it, whose disk outlives it.
type machine struct {
	t       *testing.T
	guest   guest.Guest
	store   *s3server.Server
	console guest.Tail
}

// TestMachineIsCut runs the daemon in a virtual machine and cuts that dead while an initiator outside writes and flushes: the kernel of the guest
// loses all that it had not written to its disk. Booted again, the volume is in a state that it had, and all that was flushed is there.
func TestMachineIsCut(t *testing.T) {
	m := newMachine(t)
	common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--initiator", guestInitiator, "--ring", "--size", "32m", "--zero", "5"}
	portal := m.guest.Address() + ":3260"
	path := sessions.NewPath(t, portal) // nobody behind it would ever be told that the machine is gone
	address := "iscsi://" + path.Address() + "/iqn.2026-11.io.sluice:power/0"
	flushed := int64(0)
	for cut := range cuts(t) {
		stop := m.boot(cut == 0)
		path.Move(portal)
		if cut > 0 {
			check := append([]string{"--check", "--depth", "32", "--at-least", strconv.FormatInt(flushed, 10)}, common...)
			found := harness.MustVerify(t, append(check, address)...)
			t.Logf("cut %d: flushed %d, found %d", cut, flushed, found.Cut)
		}
		writer := harness.VerifyStart(t, append(append([]string{"--flush", "50", "--seconds", "60"}, common...), address)...)
		time.Sleep(500*time.Millisecond + rand.N(2*time.Second)) // of load
		stop()
		path.Move("127.0.0.1:1") // nobody is there
		result := <-writer
		if result.Exit != harness.VerifyLost && result.Exit != harness.VerifyIO {
			t.Fatalf("the writer noticed nothing: %v", result)
		}
		flushed = result.Flushed
	}
}

// cuts is how often the power is lost, and one more.
func cuts(t *testing.T) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("SLUICE_CRASHES")); err == nil {
		return max(3, n/5)
	}
	return 3
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	backends, cache := guest.Available(t, "")
	if !slices.Contains(backends, guest.UML) {
		t.Skip("needs user-mode Linux: a guest that can be reached from outside")
	}
	m := &machine{t: t, store: s3server.Start(t)}
	// What is in the image: the program, and what it needs to know of the bucket.
	content := t.TempDir()
	program, err := os.ReadFile(harness.Binary(t))
	if err == nil {
		err = os.WriteFile(filepath.Join(content, "sluice"), program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(harness.TempDir(t), "disk")
	for _, cmd := range []*exec.Cmd{exec.Command("truncate", "-s", "3G", disk), exec.Command("mkfs.ext4", "-qF", "-d", content, disk)} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", cmd.Args, err, out)
		}
	}
	port, err := strconv.Atoi(portOf(t, m.store.URL("")))
	if err != nil {
		t.Fatal(err)
	}
	m.guest = guest.Guest{Backend: guest.UML, CacheDir: cache, Forward: []int{port}, Disk: disk, Console: &m.console}
	return m
}

// portOf returns the port of a store's endpoint.
func portOf(t *testing.T, store string) string {
	t.Helper()
	u, err := url.Parse(store)
	if err == nil {
		u, err = url.Parse(u.Query().Get("endpoint"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// boot starts the machine and waits until its gateway serves. Stop cuts the power.
func (m *machine) boot(first bool) (stop func()) {
	m.t.Helper()
	ctx, cut := context.WithCancel(m.t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	script := fmt.Sprintf("PORT=%d FIRST=%t INITIATOR=%s\n", m.guest.Forward[0], first, guestInitiator)
	for _, variable := range m.store.Env() {
		script += "export " + variable + "\n"
	}
	checks := &guest.Checks{T: m.t, Event: func(string) { close(ready) }}
	go func() { done <- m.guest.Run(ctx, script+gatewayScript, checks) }()
	select {
	case <-ready:
	case err := <-done:
		cut()
		checks.Report()
		m.t.Fatalf("the machine does not serve: %v\n%s", err, &m.console)
	case <-time.After(2 * time.Minute):
		cut()
		if err := <-done; err == nil {
			m.t.Error("the machine went down in order")
		}
		checks.Report()
		m.t.Fatalf("the machine does not serve:\n%s", &m.console)
	}
	return func() {
		cut() // kill -9 of all of it
		if err := <-done; err == nil {
			m.t.Error("the machine went down in order")
		}
	}
}

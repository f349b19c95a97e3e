package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long the daemon may take until it answers, and to stop.
const startTimeout = 60 * time.Second

// Options say how to run a gateway. The zero value is one on an embedded store.
type Options struct {
	DataDir string   // a fresh directory if empty
	Store   string   // store URL; a fresh directory if empty
	Env     []string // NAME=value, for the store's credentials
	Args    []string // more arguments of "serve"
}

// Gateway is a daemon and what is needed to start it again. Its methods are for one
// goroutine at a time, and end the test when they fail.
type Gateway struct {
	*Process
	DataDir string
	Store   string
	Portal  string // 127.0.0.1:PORT
	API     string // http://127.0.0.1:PORT

	t      testing.TB
	log    string
	binary string
	env    []string
	args   []string
}

// Start starts a gateway and waits until it answers. It is killed when the test ends,
// and the end of its log is shown if the test failed.
func Start(t testing.TB, o Options) *Gateway {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = TempDir(t)
	}
	if o.Store == "" {
		o.Store = "file://" + TempDir(t)
	}
	g := &Gateway{
		t: t, binary: Binary(t), DataDir: o.DataDir, Store: o.Store, env: o.Env, args: o.Args,
		Portal: FreeAddress(t), API: "http://" + FreeAddress(t),
	}
	g.log = strings.TrimRight(g.DataDir, "/") + ".log"
	t.Cleanup(func() {
		if t.Failed() && g.Process != nil {
			t.Logf("the end of the daemon's log:\n%s", g.LogTail(20))
		}
		_ = os.Remove(g.log)
	})
	g.Restart()
	return g
}

// Command returns the "serve" command of this gateway.
func (g *Gateway) Command() *exec.Cmd {
	args := append([]string{
		"serve", "--data-dir", g.DataDir, "--store", g.Store,
		"--iscsi-listen", g.Portal, "--api-listen", g.API[len("http://"):],
	}, g.args...)
	cmd := exec.Command(g.binary, args...)
	cmd.Env = append(os.Environ(), g.env...)
	return cmd
}

// Restart starts the daemon, which must not be running, and waits until it answers.
func (g *Gateway) Restart() {
	g.t.Helper()
	g.Process = StartProcess(g.t, g.Command(), g.log)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(startTimeout)
	for {
		if _, err := g.Try("status", "--json"); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-g.Exited():
			g.t.Fatalf("the daemon ended at once:\n%s", g.LogTail(20))
		case <-deadline:
			g.t.Fatalf("the daemon does not answer:\n%s", g.LogTail(20))
		}
	}
}

// Stop ends the daemon with SIGTERM, as an operator does.
func (g *Gateway) Stop() {
	g.t.Helper()
	g.Signal(syscall.SIGTERM)
	select {
	case <-g.Exited():
	case <-time.After(startTimeout):
		g.t.Fatalf("the daemon does not stop:\n%s", g.LogTail(20))
	}
}

// FreeAddress returns an address on the loopback that nothing listens on now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Binary returns the path of the sluice program: $SLUICE_BIN, or built now from source.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("building sluice: %v", err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("SLUICE_BIN"); path != "" {
		return filepath.Abs(path)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	// A fixed place, so that no build is left behind: the file is replaced at once.
	path := filepath.Join(root, "bin", "sluice")
	if out, err := buildTo(path, root); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// buildTo builds beside path and renames, since another test may be running path.
func buildTo(path, root string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	part := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.Command("go", "build", "-trimpath", "-o", part, "./cmd/sluice")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return out, err
	}
	return nil, os.Rename(part, path)
}

// LoseDisk kills the daemon and throws its data directory away, as if the machine were
// gone, and starts a new gateway on the same store. It takes over the volumes by force.
func (g *Gateway) LoseDisk(volumes ...string) {
	g.t.Helper()
	g.Kill()
	if err := os.RemoveAll(g.DataDir); err != nil {
		g.t.Fatal(err)
	}
	g.Restart()
	for _, name := range volumes {
		g.CLI("volume", "attach", name, "--force")
	}
}

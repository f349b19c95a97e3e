package appliance

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/appliance/api"
)

func testConfig(t *testing.T) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.ISCSIListen = "127.0.0.1:0"
	return cfg
}

// running is a gateway that runs in this process.
type running struct {
	*api.Client
	stop func() error // and wait until it has ended
}

// start runs a gateway and waits until systemd would be told that it is ready.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	ready := notifySocket(t)
	gateway, err := New(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- gateway.Run(ctx) }()
	r := &running{stop: func() error {
		cancel()
		err := <-ended
		ended <- err // for whoever asks again
		return err
	}}
	t.Cleanup(func() { _ = r.stop() }) // tests that care look themselves
	select {
	case err := <-ended:
		ended <- err
		t.Fatalf("the gateway ended: %v", err)
	case state := <-ready:
		if state != "READY=1" {
			t.Fatalf("systemd was told %q", state)
		}
	}
	if r.Client, err = api.NewClient(SocketPath(cfg.DataDir), ""); err != nil {
		t.Fatal(err)
	}
	return r
}

// notifySocket is systemd's end of sd_notify.
func notifySocket(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	states := make(chan string, 8)
	go func() {
		buffer := make([]byte, 256)
		for {
			n, _, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			states <- string(buffer[:n])
		}
	}()
	return states
}

// TestGatewayRestarts: volumes and rules are there again, under the same identity.
func TestGatewayRestarts(t *testing.T) {
	cfg := testConfig(t)
	first := start(t, cfg)
	ctx := t.Context()
	if _, err := first.CreateVolume(ctx, api.CreateRequest{Name: "demo", Size: int64(api.GiB)}); err != nil {
		t.Fatal(err)
	}
	if _, err := first.SetCHAP(ctx, "demo", alice, chapRequest()); err != nil {
		t.Fatal(err)
	}
	before, err := first.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatalf("stopped: %v", err)
	}
	if _, err := os.Stat(SocketPath(cfg.DataDir)); err == nil {
		t.Error("the socket is still there")
	}

	second := start(t, cfg)
	after, err := second.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after.Gateway.ID != before.Gateway.ID || len(after.Volumes) != 1 || after.Volumes[0].State != api.StateAttached ||
		after.Volumes[0].Epoch != before.Volumes[0].Epoch+1 || len(after.Volumes[0].Access.CHAP) != 1 {
		t.Errorf("before: %+v\nafter: %+v", before, after)
	}
	if after.Puts == 0 || after.Mallocs == 0 || after.Buffer.Size != int64(cfg.UploadBuffer) || after.Cache.Size != int64(cfg.Cache) {
		t.Errorf("the status lacks something: %+v", after)
	}
	if err := second.DeleteVolume(ctx, "demo", false); err != nil {
		t.Error(err)
	}
	if err := second.stop(); err != nil {
		t.Errorf("stopped: %v", err)
	}
}

func TestSecondGatewayIsRefused(t *testing.T) {
	cfg := testConfig(t)
	first := start(t, cfg)
	second, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), cfg.DataDir) {
		t.Errorf("the second one: %v", err)
	}
	if _, err := first.Status(t.Context()); err != nil {
		t.Errorf("the first one: %v", err)
	}
}

// TestPartialFailure lets one stage after the other fail. Nothing stays open: no goroutine, no
// lock, and the next gateway starts.
func TestPartialFailure(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig(t)
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("token"), 0o644); err != nil {
		t.Fatal(err)
	}
	block := func(name string) func(*Config) {
		return func(c *Config) { // a file where a directory should be
			c.DataDir = t.TempDir()
			if err := os.WriteFile(filepath.Join(c.DataDir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		change func(*Config)
		word   string
	}{
		"data directory": {func(c *Config) { c.DataDir = "/proc/none" }, "data directory"},
		"store":          {func(c *Config) { c.Store = "file:///proc/none" }, "object store"},
		"index":          {block("index"), "index"},
		"cache":          {block("segments"), "cache"},
		"portal":         {func(c *Config) { c.ISCSIListen = taken.Addr().String() }, "portal"},
		"API":            {func(c *Config) { c.APIListen = taken.Addr().String() }, "API"},
		"token":          {func(c *Config) { c.APIListen, c.TokenFile = "127.0.0.1:0", secret }, "chmod 600"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := cfg
			test.change(&broken)
			gateway, err := New(broken, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			if err := gateway.Run(t.Context()); err == nil || !strings.Contains(err.Error(), test.word) {
				t.Errorf("%v", err)
			}
		})
	}
	if err := goleak.Find(leaks); err != nil {
		t.Error(err)
	}
	if err := start(t, cfg).stop(); err != nil {
		t.Error(err)
	}
}

// TestStopWhileStarting: to be told to stop is no failure.
func TestStopWhileStarting(t *testing.T) {
	gateway, err := New(testConfig(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := gateway.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestOpenPortalIsRefused as long as nobody out there could use any volume, and then not.
func TestOpenPortalIsRefused(t *testing.T) {
	cfg := testConfig(t)
	first := start(t, cfg)
	if _, err := first.CreateVolume(t.Context(), api.CreateRequest{Name: "demo", Size: int64(api.GiB)}); err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	open := cfg
	open.ISCSIListen = "0.0.0.0:0"
	gateway, err := New(open, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "sluice initiator allow demo --iqn") {
		t.Fatalf("it is not refused, or not said how: %v", err)
	}
	second := start(t, cfg)
	if _, err := second.AllowInitiator(t.Context(), "demo", alice); err != nil {
		t.Fatal(err)
	}
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	third := start(t, open)
	status, err := third.Status(t.Context())
	if err != nil || strings.HasPrefix(status.Gateway.Portal, "0.0.0.0") {
		t.Errorf("initiators are sent to %s, %v", status.Gateway.Portal, err)
	}
}

func TestAPIOverTCP(t *testing.T) {
	cfg := testConfig(t)
	cfg.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(cfg.TokenFile, []byte("the-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.APIListen = freeAddress(t)
	start(t, cfg)
	for token, want := range map[api.Secret]bool{"the-token": true, "": false, "another": false} {
		client, err := api.NewClient("http://"+cfg.APIListen, token)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Status(t.Context())
		if (err == nil) != want {
			t.Errorf("token %q: %v", string(token), err)
		}
		if e, ok := errors.AsType[*api.Error](err); !want && (!ok || e.Code != api.CodeUnauthorized) {
			t.Errorf("token %q: %v", string(token), err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestSocketIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	for range 2 { // the second time there is one that nobody removed
		listener, err := listenUnix(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
			t.Errorf("%v %v", info.Mode(), err)
		}
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		_ = listener.Close()
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("something is left: %v %v", entries, err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("a", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(t.Context(), filepath.Join(long, "api.sock")); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a path that is too long: %v", err)
	}
}

package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/test/harness"
)

// diskSize is the size of the disk under test. The suite writes its start and its end.
const diskSize = 1 << 30

// target is a program under test.
type target struct {
	name string
	// takes says why the target cannot be connected to in a way, or "".
	takes func(w way) string
	// start starts a daemon with a fresh disk. It ends with the test t.
	start func(t *testing.T, w way) *daemon
	// judged: what is not expected fails the run, and the daemon is kept for all tests.
	judged bool
}

// daemon is a running target.
type daemon struct {
	*harness.Process
	url string
}

func anyWay(way) string { return "" }

func sluiceTarget() target {
	return target{name: "sluice", takes: anyWay, start: startSluice, judged: true}
}

func startSluice(t *testing.T, w way) *daemon {
	gw := harness.Start(t, harness.Options{})
	gw.CreateVolume("conform", strconv.Itoa(diskSize>>20)+"MiB")
	if w.chap {
		dir := t.TempDir()
		secret, mutual := filepath.Join(dir, "secret"), filepath.Join(dir, "mutual")
		write(t, secret, chapSecret)
		write(t, mutual, mutualSecret)
		for _, name := range initiators {
			gw.CLI("chap", "set", "conform", "--initiator", name, "--user", chapUser, "--secret-file", secret,
				"--mutual-user", mutualUser, "--mutual-secret-file", mutual)
		}
	}
	return &daemon{gw.Process, w.url(gw.Portal, gw.IQN("conform"), 0)}
}

func tgtTarget() target { return target{name: "tgt", takes: anyWay, start: startTgt} }

// controls counts the control sockets of this process; tgtd names them by a number.
var controls atomic.Int64

// startTgt runs a tgtd of our own, thinly provisioned: the most that it can do.
func startTgt(t *testing.T, w way) *daemon {
	portal, iqn := addressFor(t), "iqn.2026-11.test:tgt"
	control := fmt.Sprint(1 + (int64(os.Getpid())*300+controls.Add(1))%32000) // up to 32767
	process := harness.StartProcess(t, exec.Command("tgtd", "-f", "--iscsi", "portal="+portal, "-C", control), filepath.Join(t.TempDir(), "log"))
	t.Cleanup(func() {
		process.Kill() // it ignores SIGTERM
		_ = os.Remove("/var/run/tgtd/socket." + control)
		_ = os.Remove("/var/run/tgtd/socket." + control + ".lock")
	})
	admin := func(args string) error {
		out, err := harness.Try(t, "tgtadm", append([]string{"-C", control, "--lld", "iscsi"}, strings.Fields(args)...)...)
		if err != nil {
			return fmt.Errorf("tgtadm %s: %w: %s", args, err, out)
		}
		return nil
	}
	waitFor(t, process, func() bool { return admin("--mode target --op show") == nil })
	setup := []string{
		"--mode target --op new --tid 1 -T " + iqn,
		"--mode target --op bind --tid 1 -I ALL",
		"--mode logicalunit --op new --tid 1 --lun 1 --backing-store " + memoryFile(t),
		"--mode logicalunit --op update --tid 1 --lun 1 --params thin_provisioning=1",
	}
	if w.chap {
		setup = append(setup,
			"--mode account --op new --user "+chapUser+" --password "+chapSecret,
			"--mode account --op bind --tid 1 --user "+chapUser,
			"--mode account --op new --user "+mutualUser+" --password "+mutualSecret,
			"--mode account --op bind --tid 1 --outgoing --user "+mutualUser)
	}
	for _, args := range setup {
		if err := admin(args); err != nil {
			t.Fatal(err)
		}
	}
	return &daemon{process, w.url(portal, iqn, 1)}
}

func gotgtTarget() target {
	return target{name: "gotgt", start: startGotgt, takes: func(w way) string {
		if w.chap {
			return "has no CHAP"
		}
		return ""
	}}
}

// startGotgt runs gotgt's own daemon, a tool of the module in tools/gotgt.
func startGotgt(t *testing.T, w way) *daemon {
	portal, iqn := addressFor(t), "iqn.2026-11.test:gotgt"
	_, port, err := net.SplitHostPort(portal)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config, err := json.Marshal(map[string]any{
		"storages":     []any{map[string]any{"deviceID": 1000, "path": "file:" + memoryFile(t), "online": true, "thinProvisioning": true, "blockShift": 9}},
		"iscsiportals": []any{map[string]any{"id": 0, "portal": portal}},
		"iscsitargets": map[string]any{iqn: map[string]any{"tpgts": map[string]any{"1": []int{0}}, "luns": map[string]any{"0": 1000}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(config))
	program := strings.TrimSpace(harness.Run(t, "go", "tool", "-C", filepath.Join(harness.Root(t), "tools", "gotgt"), "-n", "gotgt"))
	cmd := exec.Command(program, "daemon", "--port", port, "--host", "tcp://"+addressFor(t), "--log", "error")
	cmd.Env = append(os.Environ(), "GOSTOR_CONFIG="+dir, "HOME="+dir)
	process := harness.StartProcess(t, cmd, filepath.Join(dir, "log"))
	waitFor(t, process, func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", portal)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return &daemon{process, w.url(portal, iqn, 0)}
}

// nextPort is where addressFor looks next.
var nextPort atomic.Int64

// addressFor returns an address that nothing listens on, below the ports that the kernel
// gives to clients: thousands of the suite's connections are made beside us, and one of
// them could otherwise have the port before the daemon does.
func addressFor(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 21000+(int64(os.Getpid())*37+nextPort.Add(1))%9000)
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err == nil {
			_ = listener.Close()
			return address
		}
	}
	t.Fatal("no free port from 21000 to 30000")
	return ""
}

// memoryFile makes a sparse file of diskSize in memory.
func memoryFile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "disk")
	write(t, path, "")
	if err := os.Truncate(path, diskSize); err != nil {
		t.Fatal(err)
	}
	return path
}

func waitFor(t *testing.T, p *harness.Process, ready func() bool) {
	t.Helper()
	for range 200 {
		if ready() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("it does not start:\n%s", p.LogTail(10))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

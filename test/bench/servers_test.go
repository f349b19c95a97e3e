package bench

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// contender is an iSCSI disk to be measured and the processes that serve it.
type contender struct {
	name  string
	url   string
	pids  func() []int
	quiet func() // waits until it does nothing in the background
	// mallocs counts the heap objects that it has made; nil if that cannot be asked.
	mallocs func() float64
}

func sluiceContender(gw *harness.Gateway, volume string) *contender {
	return &contender{
		name: "sluice", url: gw.URL(volume),
		pids:    func() []int { return []int{gw.PID()} },
		quiet:   func() { gw.WaitUploaded(volume) },
		mallocs: func() float64 { return gw.Counter("mallocs") },
	}
}

// controls counts the control sockets of this process.
var controls atomic.Int64

// startTgt exports file by a tgtd of our own. It is nil where tgt is not installed.
func startTgt(t *testing.T, name, file string) *contender {
	t.Helper()
	if _, err := exec.LookPath("tgtd"); err != nil {
		t.Logf("left out: %s: tgt is not installed", name)
		return nil
	}
	portal := harness.FreeAddress(t)
	control := fmt.Sprint(10000 + controls.Add(1) + int64(os.Getpid())%20000) // its control socket is named by a number up to 32767
	daemon := harness.StartProcess(t, exec.Command("tgtd", "-f", "--iscsi", "portal="+portal, "-C", control), filepath.Join(t.TempDir(), "log"))
	t.Cleanup(func() {
		daemon.Kill() // it ignores SIGTERM
		_ = os.Remove("/var/run/tgtd/socket." + control)
		_ = os.Remove("/var/run/tgtd/socket." + control + ".lock")
	})
	admin := func(args ...string) error {
		out, err := harness.Try(t, "tgtadm", append([]string{"-C", control, "--lld", "iscsi"}, args...)...)
		if err != nil {
			return fmt.Errorf("tgtadm %q: %w: %s", args, err, out)
		}
		return nil
	}
	waitFor(t, daemon, func() bool { return admin("--mode", "target", "--op", "show") == nil })
	for _, args := range [][]string{
		{"--mode", "target", "--op", "new", "--tid", "1", "-T", "iqn.test:tgt"},
		{"--mode", "target", "--op", "bind", "--tid", "1", "-I", "ALL"},
		{"--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1", "--backing-store", file},
	} {
		if err := admin(args...); err != nil {
			t.Fatal(err)
		}
	}
	return &contender{
		name: name, url: "iscsi://" + portal + "/iqn.test:tgt/1",
		pids: func() []int { return []int{daemon.PID()} }, quiet: syncDisks,
	}
}

const istgtConfig = `[Global]
  NodeBase "iqn.2026-11.test"
  PidFile %[1]s/pid
  AuthFile %[1]s/auth
  MediaDirectory %[1]s
  MaxSessions 16
  MaxConnections 4
  MaxR2T 32
  MaxOutstandingR2T 16
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
[UnitControl]
  AuthMethod CHAP
  Portal UC1 %[3]s
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 %[2]s
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.1
[LogicalUnit1]
  TargetName istgt
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  AuthGroup None
  UnitType Disk
  QueueDepth 64
  LUN0 Storage %[4]s Auto
`

func startIstgt(t *testing.T, file string) *contender {
	t.Helper()
	program, err := exec.LookPath("istgt")
	if err != nil {
		t.Log("left out: istgt is not installed")
		return nil
	}
	dir, portal := t.TempDir(), harness.FreeAddress(t)
	write(t, filepath.Join(dir, "auth"), "")
	write(t, filepath.Join(dir, "conf"), fmt.Sprintf(istgtConfig, dir, portal, harness.FreeAddress(t), file))
	daemon := harness.StartProcess(t, exec.Command(program, "-D", "-c", filepath.Join(dir, "conf")), filepath.Join(dir, "log"))
	waitFor(t, daemon, func() bool { return answers(portal) })
	return &contender{
		name: "istgt", url: "iscsi://" + portal + "/iqn.2026-11.test:istgt/0",
		pids: func() []int { return []int{daemon.PID()} }, quiet: syncDisks,
	}
}

// startGotgt exports file by gotgt's own daemon, a tool of the module in tools/gotgt. It
// is nil where that cannot be built.
func startGotgt(t *testing.T, file string) *contender {
	t.Helper()
	out, err := harness.Try(t, "go", "tool", "-C", filepath.Join(harness.Root(t), "tools", "gotgt"), "-n", "gotgt")
	if err != nil {
		t.Logf("left out: gotgt cannot be built: %v: %s", err, out)
		return nil
	}
	dir, portal, iqn := t.TempDir(), harness.FreeAddress(t), "iqn.2026-11.test:gotgt"
	config, err := json.Marshal(map[string]any{
		"storages":     []any{map[string]any{"deviceID": 1000, "path": "file:" + file, "online": true, "blockShift": 9}},
		"iscsiportals": []any{map[string]any{"id": 0, "portal": portal}},
		"iscsitargets": map[string]any{iqn: map[string]any{"tpgts": map[string]any{"1": []int{0}}, "luns": map[string]any{"0": 1000}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "config.json"), string(config))
	_, port, err := net.SplitHostPort(portal)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(strings.TrimSpace(out), "daemon", "--port", port, "--host", "tcp://"+harness.FreeAddress(t), "--log", "error")
	cmd.Env = append(os.Environ(), "GOSTOR_CONFIG="+dir, "HOME="+dir)
	daemon := harness.StartProcess(t, cmd, filepath.Join(dir, "log"))
	waitFor(t, daemon, func() bool { return answers(portal) })
	return &contender{
		name: "gotgt", url: "iscsi://" + portal + "/" + iqn + "/0",
		pids: func() []int { return []int{daemon.PID()} }, quiet: syncDisks,
	}
}

// answers tells whether something listens on an address.
func answers(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// startS3backer exports a file that s3backer keeps in the server's bucket, by tgt.
func startS3backer(t *testing.T, server *s3server.Server, size string) *contender {
	t.Helper()
	if _, err := exec.LookPath("s3backer"); err != nil {
		t.Log("left out: s3backer is not installed")
		return nil
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Log("left out: s3backer: no /dev/fuse")
		return nil
	}
	mount := harness.TempDir(t)
	daemon := harness.StartProcess(t, exec.Command("s3backer", "--baseURL="+server.Endpoint+"/",
		"--accessId="+server.AccessKey, "--accessKey="+server.SecretKey, "--prefix=s3backer-", "--blockSize=256k", "--size="+size,
		"-f", server.Bucket, mount), filepath.Join(t.TempDir(), "log"))
	t.Cleanup(func() { _ = exec.Command("umount", "-l", mount).Run() }) // not there if it did not start
	file := filepath.Join(mount, "file")
	waitFor(t, daemon, func() bool { _, err := os.Stat(file); return err == nil })
	c := startTgt(t, "s3backer + tgt", file)
	if c == nil {
		return nil
	}
	tgt := c.pids()
	c.pids = func() []int { return append(tgt, daemon.PID()) }
	return c
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

func sparseFile(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(harness.TempDir(t), "disk")
	write(t, path, "")
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

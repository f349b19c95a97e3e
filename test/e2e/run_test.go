package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/test/harness"
)

// TestMakeRun does what the README begins with, twice: the volume must be there with
// its data the second time.
func TestMakeRun(t *testing.T) {
	harness.NeedTools(t, "make", "qemu-io")
	dir, portal := harness.TempDir(t), harness.FreeAddress(t)
	volume := "iscsi://" + portal + "/iqn.2026-11.io.sluice:demo/0"
	for _, command := range []string{"write -P 7 1G 1M", "read -P 7 1G 1M"} {
		log := filepath.Join(t.TempDir(), "log")
		cmd := exec.Command("make", "--no-print-directory", "run")
		cmd.Dir = harness.Root(t)
		cmd.Env = append(os.Environ(), "DIR="+dir, "PORTAL="+portal)
		run := harness.StartProcess(t, cmd, log)
		shown := ""
		for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(shown, "Ctrl-C"); time.Sleep(50 * time.Millisecond) {
			shown = run.LogTail(100)
			if exited(run) || time.Now().After(deadline) {
				t.Fatalf("make run:\n%s", shown)
			}
		}
		for _, want := range []string{portal, "iqn.2026-11.io.sluice:demo", "iscsiadm"} {
			if !strings.Contains(shown, want) {
				t.Errorf("make run does not show %s:\n%s", want, shown)
			}
		}
		out := harness.Run(t, "qemu-io", "-f", "raw", volume, "-c", command)
		if strings.Contains(out, "failed") {
			t.Fatalf("qemu-io: %s", out)
		}
		run.Signal(syscall.SIGTERM) // as Ctrl-C, but make passes this one on
		select {
		case <-run.Exited():
		case <-time.After(time.Minute):
			t.Fatalf("make run does not end:\n%s", run.LogTail(100))
		}
	}
}

func exited(p *harness.Process) bool {
	select {
	case <-p.Exited():
		return true
	default:
		return false
	}
}

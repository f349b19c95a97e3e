package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/test/harness"
)

// TestSalvage deletes a segment of a snapshot from the bucket, and looks from a gateway that has only the bucket: the damage is found, a
// clone fails to read what is lost and reads all else, and what is salvaged has zeros there.
func TestSalvage(t *testing.T) {
	harness.NeedTools(t, "qemu-io")
	store := harness.TempDir(t)
	gw := harness.Start(t, harness.Options{Store: "file://" + store})
	gw.CreateVolume("demo", "64MiB")
	for i := range 4 { // a snapshot seals what was written: each MiB is a segment
		qemuIO(t, gw, "demo", []string{"-c", fmt.Sprintf("write -P %d %dM 1M", i+1, i), "-c", "flush"})
		snapshot(t, gw, "demo")
	}
	id := snapshot(t, gw, "demo")
	gw.Stop()
	segments, err := filepath.Glob(filepath.Join(store, "segments", "*", "*"))
	if err != nil || len(segments) < 4 {
		t.Fatalf("%d segments: %v", len(segments), err)
	}
	if err := os.Remove(segments[1]); err != nil {
		t.Fatal(err)
	}

	gw = harness.Start(t, harness.Options{Store: "file://" + store})
	out, err := gw.Try("snapshot", "verify", id, "--json")
	if err == nil {
		t.Fatal("the damage is not found")
	}
	var verified struct {
		Lost []struct {
			Offset, Length int64
			Object         string
		}
	}
	if err := json.Unmarshal(out, &verified); err != nil {
		t.Fatal(err)
	}
	if len(verified.Lost) != 1 || verified.Lost[0].Length != 1<<20 || filepath.Base(verified.Lost[0].Object) != filepath.Base(segments[1]) {
		t.Fatalf("%s is gone: %s", segments[1], out)
	}
	gone := int(verified.Lost[0].Offset >> 20)
	gw.CLI("volume", "clone", "demo", "clone", "--snapshot", id)
	gw.CLI("snapshot", "salvage", id, "rescued")
	for i := range 4 {
		pattern := i + 1
		if i == gone {
			pattern = 0
			if out, err := exec.Command("qemu-io", "-f", "raw", gw.URL("clone"), "-c", fmt.Sprintf("read %dM 1M", i)).CombinedOutput(); err == nil {
				t.Errorf("a clone reads what is lost: %s", out)
			}
		} else {
			qemuIO(t, gw, "clone", []string{"-c", fmt.Sprintf("read -P %d %dM 1M", pattern, i)})
		}
		qemuIO(t, gw, "rescued", []string{"-c", fmt.Sprintf("read -P %d %dM 1M", pattern, i)})
	}
}

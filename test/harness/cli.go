package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Try runs a verb of the command line against the gateway and returns its output.
func (g *Gateway) Try(args ...string) ([]byte, error) {
	cmd := exec.Command(g.binary, args...)
	cmd.Env = append(os.Environ(), "SLUICE_API="+g.API)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("sluice %q: %w: %s", args, err, stderr.String())
	}
	return out, nil
}

// CLI is Try for a verb that must succeed.
func (g *Gateway) CLI(args ...string) []byte {
	g.t.Helper()
	out, err := g.Try(args...)
	if err != nil {
		g.t.Fatal(err)
	}
	return out
}

// CreateVolume creates a cached volume; size as the command line takes it (10GiB).
func (g *Gateway) CreateVolume(name, size string) {
	g.t.Helper()
	g.CLI("volume", "create", name, "--size", size, "--json")
}

// IQN returns the target name of a volume.
func (g *Gateway) IQN(volume string) string { return "iqn.2026-11.io.sluice:" + volume }

// URL returns the address of a volume as libiscsi and QEMU take it.
func (g *Gateway) URL(volume string) string {
	return fmt.Sprintf("iscsi://%s/%s/0", g.Portal, g.IQN(volume))
}

// Status is the part of "sluice status --json" that tests look at.
type Status struct {
	Volumes []VolumeStatus `json:"volumes"`
}

// VolumeStatus is the part of a volume's status that tests look at.
type VolumeStatus struct {
	Name        string `json:"name"`
	QueuedBytes int64  `json:"queued_bytes"` // accepted, not yet in the bucket
}

// Status asks the gateway how it is.
func (g *Gateway) Status() Status {
	g.t.Helper()
	var s Status
	if err := json.Unmarshal(g.CLI("status", "--json"), &s); err != nil {
		g.t.Fatalf("reading the status: %v", err)
	}
	return s
}

// WaitUploaded waits until everything that a volume accepted is in the bucket.
func (g *Gateway) WaitUploaded(volume string) {
	g.t.Helper()
	var queued int64
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		found := false
		for _, v := range g.Status().Volumes {
			if v.Name == volume {
				queued, found = v.QueuedBytes, true
			}
		}
		if !found {
			g.t.Fatalf("volume %s is not in the status", volume)
		}
		if queued == 0 {
			return
		}
	}
	g.t.Fatalf("volume %s: %d bytes still not uploaded", volume, queued)
}

// Counter returns a number out of the status by its path (uploads.puts), or NaN if the
// status has none there: the measurement is then shown as missing.
func (g *Gateway) Counter(path string) float64 {
	g.t.Helper()
	var value any
	if err := json.Unmarshal(g.CLI("status", "--json"), &value); err != nil {
		g.t.Fatalf("reading the status: %v", err)
	}
	for key := range strings.SplitSeq(path, ".") {
		fields, _ := value.(map[string]any)
		value = fields[key]
	}
	if n, ok := value.(float64); ok {
		return n
	}
	return math.NaN()
}

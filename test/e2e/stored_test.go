package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// TestStoredWithoutBucket takes the bucket away from a stored volume: I/O goes on, also after a restart of the gateway, and the
// snapshot that waited is complete when the bucket is back. A cached volume of the same gateway comes back with it.
func TestStoredWithoutBucket(t *testing.T) {
	server := s3server.Start(t)
	gw := harness.Start(t, harness.Options{Store: server.URL("gateway"), Env: server.Env()})
	gw.CLI("volume", "create", "disk", "--size", "1GiB", "--mode", "stored")
	gw.CreateVolume("cached", "1GiB")
	common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--size", "64m", "--depth", "16"}
	work := append([]string{"--seconds", "2", "--zero", "5", "--flush", "100"}, common...)
	check := append([]string{"--check"}, common...)
	harness.MustVerify(t, append(work, gw.URL("disk"))...)
	gw.CLI("snapshot", "create", "disk")

	server.Kill()
	if r := harness.MustVerify(t, append(work, gw.URL("disk"))...); r.Writes < 100 {
		t.Errorf("only %d writes while the bucket was away", r.Writes)
	}
	gw.Stop()
	gw.Restart()
	if show := string(gw.CLI("volume", "show", "disk")); !strings.Contains(show, "the bucket was not reached since the start") {
		t.Errorf("it is not said that the bucket is away:\n%s", show)
	}
	harness.MustVerify(t, append(check, gw.URL("disk"))...)
	harness.MustVerify(t, append(work, gw.URL("disk"))...)

	server.Restart()
	gw.CLI("snapshot", "create", "disk") // ends when it is complete
	waitFor(t, "the cached volume to come back", func() bool {
		show, err := gw.Try("volume", "show", "cached")
		return err == nil && strings.Contains(string(show), "attached")
	})
	gw.CLI("volume", "clone", "disk", "copy")
	harness.MustVerify(t, append(check, gw.URL("copy"))...)
	harness.MustVerify(t, append(check, gw.URL("disk"))...)
}

// TestStoredRestore begins a stored volume as a snapshot, on another gateway: it is read at once, while most of it is still in
// the bucket, survives a kill in the middle, and is complete in the end.
func TestStoredRestore(t *testing.T) {
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		gw := harness.Start(t, o)
		gw.CreateVolume("source", "1GiB")
		common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--size", "64m", "--depth", "16"}
		harness.MustVerify(t, append([]string{"--seconds", "3", "--zero", "5"}, append(common, gw.URL("source"))...)...)
		gw.CLI("volume", "clone", "source", "disk", "--mode", "stored", "--hydrate", "16MiB")
		var shown struct {
			Missing int64 `json:"missing_bytes"`
		}
		if err := json.Unmarshal(gw.CLI("volume", "show", "disk", "--json"), &shown); err != nil || shown.Missing < 512<<20 {
			t.Errorf("%d bytes are missing at the start: %v", shown.Missing, err)
		}
		check := append([]string{"--check"}, append(common, gw.URL("disk"))...)
		harness.MustVerify(t, check...)
		gw.Kill()
		gw.Restart()
		harness.MustVerify(t, append([]string{"--seconds", "2"}, append(common, gw.URL("disk"))...)...)
		gw.Kill()
		gw.Restart()
		harness.MustVerify(t, check...)
	})
}

// waitFor returns when ready is true.
func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ready() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

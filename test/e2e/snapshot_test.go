package e2e

import (
	"encoding/json"
	"slices"
	"testing"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// TestSnapshots keeps moments of a volume while initiators go on writing, makes volumes of them here and on a
// gateway that has only the store, and deletes the volume that they came from.
func TestSnapshots(t *testing.T) {
	harness.NeedTools(t, "qemu-io")
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		gw := harness.Start(t, o)
		gw.CreateVolume("pattern", "64MiB")
		qemuIO(t, gw, "pattern", []string{"-c", "write -P 1 0 32M", "-c", "flush"})
		first := snapshot(t, gw, "pattern")
		qemuIO(t, gw, "pattern", []string{"-c", "write -P 2 1M 1M", "-c", "discard 2M 1M", "-c", "flush"})
		second := snapshot(t, gw, "pattern")
		qemuIO(t, gw, "pattern", []string{"-c", "write -P 3 0 64M"})
		inspect(t, gw, first, second)

		gw.CLI("volume", "clone", "pattern", "was1", "--snapshot", first)
		gw.CLI("volume", "clone", "pattern", "was2", "--snapshot", second[:8], "--size", "128MiB")
		gw.CLI("volume", "clone", "pattern", "is")
		then := func() {
			t.Helper()
			qemuIO(t, gw, "was1", []string{"-c", "read -P 1 0 32M", "-c", "read -P 0 32M 32M"})
			qemuIO(t, gw, "was2", []string{"-c", "read -P 1 0 1M", "-c", "read -P 2 1M 1M", "-c", "read -P 0 2M 1M", "-c", "read -P 1 3M 29M", "-c", "read -P 0 32M 96M"})
			qemuIO(t, gw, "is", []string{"-c", "read -P 3 0 32M", "-c", "read -P 4 32M 1M", "-c", "read -P 3 33M 31M"})
		}
		qemuIO(t, gw, "is", []string{"-c", "write -P 4 32M 1M"})
		qemuIO(t, gw, "pattern", []string{"-c", "read -P 3 0 64M"})
		then()
		gw.CLI("volume", "delete", "pattern", "--yes")
		gw.CLI("snapshot", "delete", second, "--yes")
		then()
		gw.Kill()
		gw.Restart()
		then()
		for _, v := range []string{"was1", "was2", "is"} {
			gw.WaitUploaded(v)
		}
		gw.LoseDisk("was1", "was2", "is")
		then()
	})
}

// snapshot makes one and returns its ID.
func snapshot(t *testing.T, gw *harness.Gateway, volume string) string {
	t.Helper()
	var list struct {
		Snapshots []struct{ ID, State string }
	}
	if err := json.Unmarshal(gw.CLI("snapshot", "create", volume, "--json"), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Snapshots) != 1 || list.Snapshots[0].State != "complete" {
		t.Fatalf("snapshot create: %+v", list)
	}
	return list.Snapshots[0].ID
}

// inspect looks into two snapshots: between them, the second MiB was written and the third one discarded.
func inspect(t *testing.T, gw *harness.Gateway, first, second string) {
	t.Helper()
	type byteRange struct {
		Offset, Length int64
		Zeros          bool
	}
	var diff struct{ Ranges []byteRange }
	if err := json.Unmarshal(gw.CLI("snapshot", "diff", first, second, "--json"), &diff); err != nil {
		t.Fatal(err)
	}
	if want := []byteRange{{1 << 20, 1 << 20, false}, {2 << 20, 1 << 20, true}}; !slices.Equal(diff.Ranges, want) {
		t.Errorf("changed: %+v, expected %+v", diff.Ranges, want)
	}
	var verified struct {
		State  string
		Blocks int64
	}
	if err := json.Unmarshal(gw.CLI("snapshot", "verify", second, "--json"), &verified); err != nil {
		t.Fatal(err)
	}
	if verified.State != "good" || verified.Blocks != 31<<20/4096 {
		t.Errorf("verified: %+v", verified)
	}
}

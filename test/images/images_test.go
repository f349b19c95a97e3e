package images

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
)

const mib = 1 << 20

// result is what import and export print with --json.
type result struct {
	Size    int64   `json:"size_bytes"`
	Resumed int64   `json:"resumed_bytes"`
	Moved   int64   `json:"data_bytes"`
	SHA256  string  `json:"sha256"`
	Seconds float64 `json:"seconds"`
}

func (r result) String() string {
	return fmt.Sprintf("%d MiB, %d MiB of data in %.2f s, %.0f MiB/s", r.Size/mib, r.Moved/mib, r.Seconds, float64(r.Moved)/mib/r.Seconds)
}

func cli(t *testing.T, gw *harness.Gateway, args ...string) result {
	t.Helper()
	var r result
	if err := json.Unmarshal(gw.CLI(append(args, "--json")...), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// rawImage makes a raw image of size bytes: every other piece is random, the others are holes.
func rawImage(t *testing.T, size, piece int64) (path, sum string) {
	t.Helper()
	path = filepath.Join(harness.TempDir(t), "disk.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{7})
	for off := int64(0); off < size; off += 2 * piece {
		if _, err := io.CopyN(io.NewOffsetWriter(f, off), random, min(piece, size-off)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, io.NewSectionReader(f, 0, size)); err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(digest.Sum(nil))
}

// TestThereAndBack imports an image that qemu-img made, has qemu-img compare the volume with it over iSCSI, exports the volume to each
// format while it is in use, and compares again.
func TestThereAndBack(t *testing.T) {
	harness.NeedTools(t, "qemu-img", "qemu-nbd")
	gw := harness.Start(t, harness.Options{})
	raw, _ := rawImage(t, 96*mib+4608, 3*mib)
	dir := filepath.Dir(raw)
	for _, format := range []string{"qcow2", "vmdk", "vhdx", "vdi"} {
		path := filepath.Join(dir, "disk."+format)
		harness.Run(t, "qemu-img", "convert", "-O", format, raw, path)
		t.Logf("import of %s: %v", format, cli(t, gw, "volume", "import", format, "--image", path, "--create"))
		compare(t, "-f", format, "-F", "raw", path, gw.URL(format))
	}
	for _, format := range []string{"raw", "qcow2", "vmdk", "vhdx"} {
		out := filepath.Join(dir, "out."+format)
		t.Logf("export to %s: %v", format, cli(t, gw, "volume", "export", "qcow2", "--format", format, "--out", out))
		compare(t, "-f", format, "-F", "raw", out, raw)
	}
	if list := string(gw.CLI("snapshot", "list", "--json")); strings.Contains(list, "qcow2") {
		t.Errorf("an export leaves a snapshot: %s", list)
	}
	// A snapshot is what it was, whatever becomes of the volume.
	id := snapshot(t, gw, "qcow2")
	harness.Run(t, "qemu-io", "-f", "raw", "-c", "write -P 9 0 1M", gw.URL("qcow2"))
	out := filepath.Join(dir, "snapshot.qcow2")
	cli(t, gw, "snapshot", "export", id[:8], "--format", "qcow2", "--out", out)
	compare(t, "-f", "qcow2", "-F", "raw", out, raw)
	if _, err := harness.Try(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, gw.URL("qcow2")); err == nil {
		t.Error("the comparison finds no difference where there is one")
	}
}

func compare(t *testing.T, args ...string) {
	t.Helper()
	harness.Run(t, "qemu-img", append([]string{"compare", "-q"}, args...)...)
}

// snapshot makes a snapshot and returns its ID.
func snapshot(t *testing.T, gw *harness.Gateway, volume string) string {
	t.Helper()
	var list struct {
		Snapshots []struct {
			ID string `json:"id"`
		} `json:"snapshots"`
	}
	if err := json.Unmarshal(gw.CLI("snapshot", "create", volume, "--json"), &list); err != nil || len(list.Snapshots) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	return list.Snapshots[0].ID
}

// TestForcedOnly: a volume that an initiator uses is not imported into, and one that an import is not finished of is not used.
func TestForcedOnly(t *testing.T) {
	harness.NeedTools(t, "qemu-io", "qemu-img")
	gw := harness.Start(t, harness.Options{})
	raw, _ := rawImage(t, 8*mib, mib)
	gw.CreateVolume("used", "16MiB")
	session := harness.VerifyStart(t, "--state", filepath.Join(t.TempDir(), "state"), "--size", "1m", "--seconds", "3", gw.URL("used"))
	await(t, "a login", func() bool { return gw.Counter("sessions") > 0 })
	if _, err := gw.Try("volume", "import", "used", "--image", raw, "--yes"); err == nil || !strings.Contains(err.Error(), "the disk must not change under them") {
		t.Errorf("an import under an initiator: %v", err)
	}
	<-session
	cli(t, gw, "volume", "import", "used", "--image", raw, "--yes")
	harness.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, gw.URL("used"))
	if _, err := gw.Try("volume", "import", "used", "--image", raw, "--yes", "--sha256", strings.Repeat("0", 64)); err == nil {
		t.Error("a wrong image is a success")
	}
	if out, err := harness.Try(t, "qemu-img", "info", gw.URL("used")); err == nil {
		t.Errorf("a wrong image is served: %s", out)
	}
	cli(t, gw, "volume", "import", "used", "--image", raw, "--yes")
	harness.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, gw.URL("used"))
}

// TestGolden counts how long twenty clones of an imported image take.
func TestGolden(t *testing.T) {
	gw := harness.Start(t, harness.Options{})
	raw, sum := rawImage(t, 256*mib, 4*mib)
	r := cli(t, gw, "volume", "import", "golden", "--image", raw, "--create", "--size", "1GiB", "--sha256", sum)
	t.Logf("import: %v", r)
	id := snapshot(t, gw, "golden")
	began := time.Now()
	for i := range 20 {
		gw.CLI("volume", "clone", "golden", fmt.Sprintf("vm%d", i), "--snapshot", id)
	}
	t.Logf("20 clones in %.2f s", time.Since(began).Seconds())
	out := filepath.Join(filepath.Dir(raw), "out.raw")
	cli(t, gw, "volume", "export", "vm19", "--out", out)
	if got := sumOf(t, out, 256*mib); got != sum {
		t.Errorf("the clone is another image: %s", got)
	}
}

func sumOf(t *testing.T, path string, size int64) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, io.NewSectionReader(f, 0, size)); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(digest.Sum(nil))
}

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// TestDiscovery has libiscsi's tools find the volumes and read who they are.
func TestDiscovery(t *testing.T) {
	harness.NeedTools(t, "iscsi-ls", "iscsi-inq")
	gw := harness.Start(t, harness.Options{})
	gw.CreateVolume("one", "64MiB")
	gw.CreateVolume("two", "1TiB")
	listed := harness.Run(t, "iscsi-ls", "--show-luns", "iscsi://"+gw.Portal)
	// It takes the last block's number for the number of blocks.
	for _, want := range []string{gw.IQN("one"), "Size:63M", gw.IQN("two"), "Size:1023G"} {
		if !strings.Contains(listed, want) {
			t.Errorf("iscsi-ls does not show %s:\n%s", want, listed)
		}
	}
	if inquiry := harness.Run(t, "iscsi-inq", gw.URL("one")); !strings.Contains(strings.ToLower(inquiry), "sluice") {
		t.Errorf("iscsi-inq does not name the vendor:\n%s", inquiry)
	}
	for _, page := range []string{"0", "0x80", "0x83", "0xb0", "0xb1", "0xb2"} {
		harness.Run(t, "iscsi-inq", "--evpd=1", "--pagecode="+page, gw.URL("one"))
	}
	if out, err := harness.Try(t, "iscsi-inq", gw.URL("three")); err == nil {
		t.Errorf("a volume that is not there was found:\n%s", out)
	}
}

// TestQEMUImage copies a disk image to a volume and back and compares, also over a
// restart of the daemon and from a new gateway that has only the store.
func TestQEMUImage(t *testing.T) {
	harness.NeedTools(t, "qemu-img", "qemu-io")
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		gw := harness.Start(t, o)
		gw.CreateVolume("image", "64MiB")
		dir := harness.TempDir(t)
		image, copied := writeImage(t, dir), filepath.Join(dir, "copy.raw")
		same := func(when string) {
			t.Helper()
			if out, err := harness.Try(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", image, gw.URL("image")); err != nil {
				t.Fatalf("%s: the volume differs from the image: %v: %s", when, err, out)
			}
		}
		harness.Run(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, gw.URL("image"))
		same("after the copy")
		harness.Run(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", gw.URL("image"), copied)
		harness.Run(t, "qemu-img", "compare", image, copied)
		gw.Stop()
		gw.Restart()
		same("after a restart")
		gw.WaitUploaded("image")
		gw.LoseDisk("image")
		same("on a new gateway, from the store alone")
	})
}

// writeImage makes a 64 MiB image with data, zeros and holes in it.
func writeImage(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "image.raw")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	data := make([]byte, 3<<20)
	for offset := int64(0); offset < 60<<20; offset += 9<<20 + 4096 {
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		clear(data[1<<20 : 1<<20+300<<10])
		if _, err := file.WriteAt(data, offset); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestQEMUPatterns writes patterns of odd sizes in odd places, overlapping each other,
// and reads each part back for what was written there last.
func TestQEMUPatterns(t *testing.T) {
	harness.NeedTools(t, "qemu-io")
	gw := harness.Start(t, harness.Options{})
	gw.CreateVolume("pattern", "64MiB")
	var write, read []string
	for i := range 64 {
		// 512-byte sectors, each write over the end of the one before it.
		offset, size := i*7*512, 11*512
		write = append(write, "-c", fmt.Sprintf("write -P %d %d %d", i+1, offset, size))
		read = append(read, "-c", fmt.Sprintf("read -P %d %d %d", i+1, offset, 7*512))
	}
	write = append(write, "-c", "write -z 1M 1M", "-c", "write -P 9 3M 5M", "-c", "discard 4M 1M", "-c", "write -z -u 6M 64k", "-c", "flush")
	read = append(read, "-c", "read -P 0 1M 1M", "-c", "read -P 9 3M 1M", "-c", "read -P 0 4M 1M", "-c", "read -P 9 5M 1M", "-c", "read -P 0 6M 64k", "-c", "read -P 0 40M 1M")
	qemuIO(t, gw, "pattern", write)
	qemuIO(t, gw, "pattern", read)
	gw.Kill()
	gw.Restart()
	qemuIO(t, gw, "pattern", read)
}

// qemuIO runs commands of qemu-io; it only prints that a pattern does not match.
func qemuIO(t *testing.T, gw *harness.Gateway, volume string, commands []string) {
	t.Helper()
	out := harness.Run(t, "qemu-io", append([]string{"-f", "raw", gw.URL(volume)}, commands...)...)
	if strings.Contains(out, "Pattern verification failed") || strings.Contains(out, "failed:") {
		t.Fatalf("qemu-io:\n%s", out)
	}
}

// TestManySessions has several verifying clients at work on one volume at once.
func TestManySessions(t *testing.T) {
	gw := harness.Start(t, harness.Options{})
	gw.CreateVolume("shared", "256MiB")
	var clients []<-chan harness.VerifyResult
	for i := range 6 {
		state := filepath.Join(t.TempDir(), "state")
		clients = append(clients, harness.VerifyStart(t, "--state", state, "--offset", fmt.Sprintf("%dm", i*32), "--size", "32m",
			"--initiator", fmt.Sprintf("iqn.2026-11.io.sluice.test:client%d", i),
			"--depth", "16", "--read", "50", "--zero", "5", "--flush", "100", "--bs", []string{"512", "4k", "12k"}[i%3], "--seconds", "3", gw.URL("shared")))
	}
	for _, client := range clients {
		if result := <-client; result.Exit != harness.VerifyOK || result.Verified == 0 {
			t.Errorf("a client failed: %v", result)
		}
	}
}

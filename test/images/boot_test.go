package images

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/guest"
	"sluice/test/harness"
)

// firstProcess is what the booted machine runs in place of an init.
const firstProcess = `#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
echo "guest: kernel $(uname -r), root $(findmnt -n -o SOURCE,FSTYPE /)"
echo "guest: image $(cat /etc/golden)"
cat /var/written 2>/dev/null
echo "guest: written by an earlier boot of this clone" >/var/written
sync
mount -o remount,ro /
echo "guest: done"
exec busybox poweroff -f
`

// bootable makes a disk image from which the guest's kernel boots: its user land in an ext4 file system.
func bootable(t *testing.T) (image, kernel string) {
	t.Helper()
	harness.NeedTools(t, "qemu-system-x86_64", "qemu-img", "qemu-nbd", "cpio", "mke2fs")
	harness.NeedRoot(t) // the owners of files
	_, cache := guest.Available(t, "")
	dir := harness.TempDir(t)
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	archive, err := os.Open(filepath.Join(cache, "root.cpio"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	unpack := exec.CommandContext(t.Context(), "cpio", "-idm", "--quiet")
	unpack.Dir, unpack.Stdin = root, archive
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("unpacking the guest: %v: %s", err, out)
	}
	for name, text := range map[string]string{"sbin/boot-test": firstProcess, "etc/golden": "golden image of the test\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	raw, image := filepath.Join(dir, "golden.raw"), filepath.Join(dir, "golden.qcow2")
	harness.Run(t, "mke2fs", "-q", "-t", "ext4", "-d", root, raw, "1G")
	harness.Run(t, "qemu-img", "convert", "-O", "qcow2", raw, image)
	return image, filepath.Join(cache, "vmlinuz")
}

// boot starts a machine whose disk is a volume, waits until it has powered off, and returns what it said.
func boot(t *testing.T, gw *harness.Gateway, volume, kernel string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off",
		"-m", "1024", "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-drive", "if=none,id=disk,format=raw,cache=none,file="+gw.URL(volume), "-device", "nvme,drive=disk,serial=sluice",
		"-kernel", kernel, "-append", "console=ttyS0 quiet mitigations=off random.trust_cpu=1 root=/dev/nvme0n1 rw rootwait panic=-1 init=/sbin/boot-test")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("booting from %s: %v (%v)\n%s", volume, err, ctx.Err(), out.String())
	}
	if !strings.Contains(out.String(), "guest: done") || !strings.Contains(out.String(), "guest: image golden image of the test") {
		t.Fatalf("the machine did not boot from %s:\n%s", volume, out.String())
	}
	return out.String()
}

// TestBoot imports a golden image on one gateway. Another one, that has only the bucket, makes a clone of its snapshot, and
// a machine boots from the clone over iSCSI, twice: it finds what it wrote. What was fetched from the bucket is far
// less than the image.
func TestBoot(t *testing.T) {
	image, kernel := bootable(t)
	store := "file://" + harness.TempDir(t)
	first := harness.Start(t, harness.Options{Store: store})
	r := cli(t, first, "volume", "import", "golden", "--image", image, "--create")
	id := snapshot(t, first, "golden")
	first.Stop()

	gw := harness.Start(t, harness.Options{Store: store})
	began := time.Now()
	gw.CLI("volume", "clone", "golden", "vm1", "--snapshot", id)
	cloned := time.Since(began)
	said := boot(t, gw, "vm1", kernel)
	fetched := gw.Counter("cache.fetched_bytes")
	t.Logf("import: %v; clone on another gateway in %.2f s; boot in %.1f s with %.1f MiB fetched from the bucket, of %d MiB of data in an image of %d MiB",
		r, cloned.Seconds(), (time.Since(began) - cloned).Seconds(), fetched/mib, r.Moved/mib, r.Size/mib)
	if !(fetched > 0) || fetched > float64(r.Moved) {
		t.Errorf("%.0f bytes were fetched to boot from %d bytes of data", fetched, r.Moved)
	}
	if strings.Contains(said, "earlier boot") {
		t.Errorf("the image was booted before:\n%s", said)
	}
	if said := boot(t, gw, "vm1", kernel); !strings.Contains(said, "written by an earlier boot of this clone") {
		t.Errorf("what the first boot wrote is not there:\n%s", said)
	}
	for line := range strings.SplitSeq(said, "\n") {
		if strings.HasPrefix(line, "guest:") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sluice/test/harness"
)

// Available says how a guest can be booted here, the best way first, and where its image
// is: "" for the ordinary one, or a name that build.sh knows. An image that is not there
// yet is built. SLUICE_GUEST=uml or qemu asks for one way to boot. Where there is none,
// Available ends the test as [harness.Missing] does.
func Available(t testing.TB, image string) (backends []Backend, cache string) {
	t.Helper()
	cache, err := Cache(image)
	if err != nil {
		harness.Missing(t, "no guest: %v", err)
	}
	var args []string
	if image != "" {
		args = append(args, image)
	}
	build := exec.CommandContext(t.Context(), filepath.Join(harness.Root(t), "test", "guest", "build.sh"), args...)
	if out, err := build.CombinedOutput(); err != nil {
		harness.Missing(t, "building the guest: %v: %s", err, out)
	}
	wanted := func(b Backend) bool {
		only := os.Getenv("SLUICE_GUEST")
		return only == "" || only == string(b)
	}
	if _, err := os.Stat("/dev/net/tun"); err == nil && os.Geteuid() == 0 && wanted(UML) {
		backends = append(backends, UML)
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err == nil && wanted(QEMU) {
		backends = append(backends, QEMU)
	}
	if len(backends) == 0 {
		harness.Missing(t, "no way to boot a guest: user-mode Linux needs root and /dev/net/tun, and QEMU is not installed")
	}
	return backends, cache
}

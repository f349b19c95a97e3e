package s3server

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// dataDir makes the server's directories on a file system that has user attributes,
// where the server keeps ETags and checksums: not every tmpfs does.
func dataDir(t testing.TB) (string, error) {
	dir := t.TempDir()
	if err := tryAttributes(dir); err != nil {
		if dir, err = os.MkdirTemp("/var/tmp", "sluice-s3-"); err != nil {
			return "", fmt.Errorf("make a data directory: %w", err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if err := tryAttributes(dir); err != nil {
			return "", fmt.Errorf("user attributes in %s: %w", dir, err)
		}
	}
	for _, name := range []string{"objects", "versions"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func tryAttributes(dir string) error {
	return unix.Setxattr(dir, "user.sluice-test", []byte("1"), 0)
}

package appliance

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestDataDirIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "data")
	first, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the data directory: %v %v", info.Mode(), err)
	}
	_, err = openDataDir(path)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("the second one is let in, or not told by whom it is refused: %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.close() }()
	if again.id != first.id {
		t.Errorf("the gateway became another: %s, %s", first.id, again.id)
	}
}

func TestDamagedIdentityIsNoNewOne(t *testing.T) {
	for _, body := range []string{"", "not a uuid\n", "5f0c1c52"} {
		path := t.TempDir()
		if err := os.WriteFile(filepath.Join(path, "gateway.id"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openDataDir(path); err == nil {
			t.Errorf("%q was taken for an identity, or replaced", body)
		}
		if left, err := os.ReadFile(filepath.Join(path, "gateway.id")); err != nil || string(left) != body {
			t.Errorf("the file was changed to %q, %v", left, err)
		}
		// And the lock was given back.
		if err := os.Remove(filepath.Join(path, "gateway.id")); err != nil {
			t.Fatal(err)
		}
		dir, err := openDataDir(path)
		if err != nil {
			t.Fatal(err)
		}
		_ = dir.close()
	}
}

// TestCopyOfADataDirIsRefused copies a data directory, as a backup or a cloned machine does, and moves it.
func TestCopyOfADataDirIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	original, err := openDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
		t.Fatal(err)
	}
	_, err = openDataDir(copied)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(copied, "place")) {
		t.Fatalf("a copy is let in, or not told what to do: %v", err)
	}
	if err := os.Remove(filepath.Join(copied, "place")); err != nil {
		t.Fatal(err)
	}
	adopted, err := openDataDir(copied)
	if err != nil {
		t.Fatalf("a copy that was declared to be the original: %v", err)
	}
	_ = adopted.close()

	if err := original.close(); err != nil {
		t.Fatal(err)
	}
	moved := path + "-moved"
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	again, err := openDataDir(moved)
	if err != nil {
		t.Fatalf("a directory that was moved: %v", err)
	}
	_ = again.close()
}

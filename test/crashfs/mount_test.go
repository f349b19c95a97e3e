package crashfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the user of the file system: see the package's documentation.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CRASHFS_USER"); dir != "" {
		if err := use(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// use does one of everything.
func use(dir string) error {
	marker, err := NewMarker(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir+"/d/e", 0o700); err != nil {
		return err
	}
	f, err := os.Create(dir + "/d/e/mapped")
	if err != nil {
		return err
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 3*pageSize); err != nil {
		return err
	}
	p, err := unix.Mmap(int(f.Fd()), 0, 3*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(p[pageSize:], "mapped")
	if err := unix.Msync(p, unix.MS_SYNC); err != nil {
		return err
	}
	if err := marker.Mark([]byte("here"), bytes.Repeat([]byte{1}, 3<<20)); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/a", bytes.Repeat([]byte("x"), 5000), 0o600); err != nil {
		return err
	}
	if err := os.Rename(dir+"/a", dir+"/d/b"); err != nil {
		return err
	}
	got, err := os.ReadFile(dir + "/d/b")
	if err != nil || len(got) != 5000 {
		return fmt.Errorf("read %d bytes: %w", len(got), err)
	}
	if err := os.Remove(dir + "/old"); err != nil {
		return err
	}
	return nil
}

// TestMounted uses the file system as a program does, and looks at what is in the log.
func TestMounted(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and /dev/fuse")
	}
	start := NewTree()
	old := newContent()
	old.resize(10)
	start.Files["old"] = old
	rec, dir := New(start), t.TempDir()
	unmount, err := rec.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "CRASHFS_USER="+dir)
	out, err := cmd.CombinedOutput()
	log := rec.Log()
	if uerr := unmount(); err != nil || uerr != nil {
		t.Fatalf("%v, %v\n%s", err, uerr, out)
	}
	m := rec.Start()
	marked := false
	for _, op := range log {
		if op.Kind == Mark {
			marked = bytes.HasPrefix(op.Data, []byte("here")) && len(op.Data) == 4+3<<20
		}
		m.Apply(op)
	}
	if !marked {
		t.Error("the mark is not in the log")
	}
	for id := range m.dirs { // everything is synced now
		m.Apply(Op{Kind: SyncDir, Node: id})
	}
	for id := range m.files {
		m.Apply(Op{Kind: Sync, Node: id})
	}
	to := t.TempDir()
	if err := m.Crash(rand.New(rand.NewPCG(1, 1))).Save(to); err != nil {
		t.Fatal(err)
	}
	mapped, err := os.ReadFile(filepath.Join(to, "d/e/mapped"))
	if err != nil || len(mapped) != 3*pageSize || !bytes.HasPrefix(mapped[pageSize:], []byte("mapped\x00")) {
		t.Errorf("the mapped file has %d bytes: %v", len(mapped), err)
	}
	if b, err := os.ReadFile(filepath.Join(to, "d/b")); err != nil || !bytes.Equal(b, bytes.Repeat([]byte("x"), 5000)) {
		t.Errorf("the renamed file has %d bytes: %v", len(b), err)
	}
	for _, gone := range []string{"a", "old"} {
		if _, err := os.Stat(filepath.Join(to, gone)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
}

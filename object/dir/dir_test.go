package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/object"
	"sluice/object/dir"
	"sluice/object/storetest"
)

func open(t testing.TB, path string) *dir.Store {
	t.Helper()
	s, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) object.Store { return open(t, t.TempDir()) })
}

// childEnv makes the test binary count instead of test: the value is the directory.
const childEnv = "SLUICE_DIR_TEST_CHILD"

// TestMain lets the test binary be a process of its own that uses the store.
func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := countUp(path, 50); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// countUp adds 1 to the number in the object "counter", n times, by compare and swap.
func countUp(path string, n int) error {
	ctx := context.Background()
	s, err := dir.Open(path)
	if err != nil {
		return err
	}
	for n > 0 {
		body, etag, err := s.GetRange(ctx, "counter", 0, -1)
		if err != nil {
			return err
		}
		count, err := strconv.Atoi(string(body))
		if err != nil {
			return err
		}
		_, err = s.PutIf(ctx, "counter", []byte(strconv.Itoa(count+1)), etag)
		switch {
		case err == nil:
			n--
		case !errors.Is(err, object.ErrPrecondition):
			return err
		}
	}
	return s.Close()
}

func TestProcessesCompareAndSwap(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	if _, err := s.Put(t.Context(), "counter", []byte("0")); err != nil {
		t.Fatal(err)
	}
	const processes = 4
	var children []*exec.Cmd
	for range processes {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, cmd)
	}
	for _, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	got, _, err := s.GetRange(t.Context(), "counter", 0, -1)
	if want := strconv.Itoa(processes * 50); err != nil || string(got) != want {
		t.Errorf("counted to %s, %v; want %s", got, err, want)
	}
}

func TestObjectsArePlainFilesThatOutliveTheStore(t *testing.T) {
	path := t.TempDir()
	s, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	etag, err := s.Put(t.Context(), "a/b/c.json", []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(path, "a/b/c.json")); err != nil || string(got) != "hello" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	got, gotTag, err := open(t, path).GetRange(t.Context(), "a/b/c.json", 0, -1)
	if err != nil || string(got) != "hello" || gotTag != etag {
		t.Errorf("opened again: %q, %q, %v", got, gotTag, err)
	}
}

func TestWhatIsNoObject(t *testing.T) {
	path := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for name, body := range map[string]string{
		outside:                               "secret",
		filepath.Join(path, ".hidden"):        "x",
		filepath.Join(path, "with space"):     "x",
		filepath.Join(path, "öffentlich"):     "x",
		filepath.Join(path, "an-object"):      "x",
		filepath.Join(path, ".tmp", "recent"): "x",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(path, "linked")); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	var listed []string
	for info, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, info.Key)
	}
	if len(listed) != 1 || listed[0] != "an-object" {
		t.Errorf("listed: %q", listed)
	}
	for _, key := range []string{"link", "linked/secret"} {
		if got, _, err := s.GetRange(t.Context(), key, 0, -1); err == nil {
			t.Errorf("%s leads out of the store to %q", key, got)
		}
	}
}

func TestLeftOversAreRemoved(t *testing.T) {
	path := t.TempDir()
	open(t, path)
	old, recent := filepath.Join(path, ".tmp", "old"), filepath.Join(path, ".tmp", "recent")
	for _, name := range []string{old, recent} {
		if err := os.WriteFile(name, []byte("half an obj"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	yesterday := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(old, yesterday, yesterday); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old left-over: %v", err)
	}
	if _, err := os.Stat(recent); err != nil {
		t.Errorf("a file that may be being written: %v", err)
	}
}

func TestFailedWritesLeaveNothing(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	if _, err := s.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutIf(t.Context(), "a", []byte("y"), ""); !errors.Is(err, object.ErrPrecondition) {
		t.Errorf("got %v", err)
	}
	for key, wrong := range map[string]string{"a/b": "a is an object", "d": "d is a folder"} {
		if key == "d" {
			if _, err := s.Put(t.Context(), "d/e", nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Put(t.Context(), key, []byte("x")); err == nil || object.Transient(err) {
			t.Errorf("Put(%s) where %s: %v, want a final error", key, wrong, err)
		}
	}
	left, err := os.ReadDir(filepath.Join(path, ".tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestClockThatStandsStill: ETags differ even if an object seems to be from the future.
func TestClockThatStandsStill(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	seen := map[string]bool{}
	if _, err := s.Put(t.Context(), "key", []byte("0")); err != nil {
		t.Fatal(err)
	}
	future := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(path, "key"), future, future); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		etag, err := s.Put(t.Context(), "key", []byte(strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		info, err := s.Stat(t.Context(), "key")
		if err != nil || info.ETag != etag {
			t.Errorf("Stat: %+v, %v; want ETag %s", info, err, etag)
		}
		if seen[etag] || !info.ModTime.After(future) {
			t.Errorf("ETag %s, modified %v: seen before, or not after %v", etag, info.ModTime, future)
		}
		seen[etag] = true
	}
}

func TestOpenWhereItCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if s, err := dir.Open(path); err == nil {
			t.Errorf("opened %s", path)
			_ = s.Close()
		}
	}
}

// TestHeldLock: a process that is stopped while it holds a key's lock makes others wait, but
// not longer than their contexts.
func TestHeldLock(t *testing.T) {
	path := t.TempDir()
	s := open(t, path)
	// A lock of an open file description holds off every other one, of this process, too.
	holder, err := os.OpenFile(filepath.Join(path, ".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(holder.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil { // all of it
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Put(ctx, "key", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the lock is held: %v", err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "key", nil); err != nil {
		t.Errorf("once it is released: %v", err)
	}
}

package hostilestore

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/test/crashfs"
	"sluice/test/harness"
	"sluice/test/initiator"
	"sluice/test/s3server"
)

// dial connects from an initiator port, or ends the test.
func dial(t *testing.T, gw *harness.Gateway, port uint16) *initiator.Session {
	t.Helper()
	s, err := initiator.Dial(t.Context(), gw.Portal, gw.IQN(volumeName), port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// refusal returns how the target answered, or ends the test.
func refusal(t *testing.T, err error) *initiator.StatusError {
	t.Helper()
	refused, ok := errors.AsType[*initiator.StatusError](err)
	if !ok {
		t.Fatalf("it did not fail as a command does: %v", err)
	}
	return refused
}

// TestFullDisk: when the disk is full and the store away, writes fail and say so, reads go on, the status names the disk; when the store is back and
// room comes, writes go on.
func TestFullDisk(t *testing.T) {
	harness.NeedRoot(t)
	t.Parallel()
	server := s3server.Start(t)
	proxy := NewProxy(t, server)
	dir := harness.TempDir(t)
	segments := filepath.Join(dir, "segments")
	if err := os.Mkdir(segments, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", segments, "tmpfs", 0, "size=150m"); err != nil {
		harness.Missing(t, "mounting a small file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(segments, unix.MNT_DETACH) })
	gw := harness.Start(t, harness.Options{DataDir: dir, Store: proxy.URL("full"), Env: server.Env(), Args: []string{"--cache", "64MiB", "--upload-buffer", "512MiB"}})
	gw.CreateVolume(volumeName, "1GiB")
	s := dial(t, gw, 1)
	var c content
	proxy.Set(Cut)
	write := func() error {
		c.last++
		i := rand.IntN(pieces)
		was := c.numbers[i]
		err := c.write(s, i, c.last)
		if err == nil {
			return nil
		}
		// Whether a failed write is there is open: make it certain.
		c.numbers[i] = was
		if c.read(s, i) != nil {
			c.numbers[i] = c.last
		}
		if rerr := c.read(s, i); rerr != nil {
			t.Fatalf("%v after %v", rerr, err)
		}
		return err
	}
	var err error
	for n := 0; err == nil; n++ {
		if n > 20_000 {
			t.Fatal("20,000 writes of 16 KiB fit into 150 MiB")
		}
		err = write()
	}
	if r := refusal(t, err); r.Key != 0x7 || r.Code != 0x2707 { // DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT (SBC-3 4.7.3.6)
		t.Errorf("a write to a full disk: %v", r)
	}
	waitFor(t, gw, func(v trouble) bool {
		for _, w := range v.Waits {
			if w.Work == "write" && strings.Contains(w.Error, "no space") && !w.Since.IsZero() {
				return true
			}
		}
		return false
	})
	proxy.Set(nil)
	for deadline := time.Now().Add(time.Minute); write() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is room in the store again, and writes still fail")
		}
	}
	for range 1000 {
		if err := write(); err != nil {
			_ = refusal(t, err) // the uploads may be slower
			time.Sleep(10 * time.Millisecond)
		}
	}
	gw.CLI("snapshot", "create", volumeName)
	waitTrouble(t, gw, false)
	c.check(t, gw.Portal, gw.IQN(volumeName))
	gw.Kill()
	gw.Restart()
	c.check(t, gw.Portal, gw.IQN(volumeName))
}

// waitFor waits until the status of the volume is as it should be.
func waitFor(t *testing.T, gw *harness.Gateway, right func(trouble) bool) {
	t.Helper()
	var v trouble
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if v = troubleOf(t, gw); right(v) {
			t.Logf("status: %+v", v)
			return
		}
	}
	t.Fatalf("the status says %+v", v)
}

// TestBrokenDisk: a disk that fails writes or syncs, or has become read-only, stops the volume, which says why; when it is mended and
// the daemon started again, everything that was acknowledged is there.
func TestBrokenDisk(t *testing.T) {
	for _, test := range []struct {
		name  string
		fails func(kind crashfs.Kind) syscall.Errno
		flush bool // what fails first is the flush
		says  string
	}{
		{"EIO on write", on(syscall.EIO, crashfs.Write), false, "input/output error"},
		{"EIO on sync", on(syscall.EIO, crashfs.Sync), true, "input/output error"},
		{"read-only", on(syscall.EROFS, crashfs.Write, crashfs.Create, crashfs.Resize), false, "read-only file system"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			gw, disk := brokenGateway(t)
			s := dial(t, gw, 1)
			var c content
			for i := range pieces {
				c.last++
				if err := c.write(s, i, c.last); err != nil {
					t.Fatal(err)
				}
			}
			disk.Fail(test.fails)
			acknowledged := c
			c.last++
			err := c.write(s, 5, c.last)
			if test.flush {
				if err != nil {
					t.Fatal(err)
				}
				acknowledged = c
				err = s.Flush()
			}
			if r := refusal(t, err); r.Key != 0x3 && r.Key != 0x4 && r.Key != 0x7 { // MEDIUM ERROR, HARDWARE ERROR, DATA PROTECT
				t.Errorf("a command to a broken disk: %v", r)
			}
			waitFor(t, gw, func(v trouble) bool { return v.State == "failed" && strings.Contains(v.Error, test.says) })
			if err := s.Flush(); err == nil {
				t.Error("a flush succeeds after one that failed")
			}
			disk.Fail(nil)
			gw.Kill()
			gw.Restart()
			s = dial(t, gw, 1)
			if acknowledged.read(s, 5) != nil { // the write that failed may be there, too
				acknowledged.numbers[5] = c.last
			}
			acknowledged.check(t, gw.Portal, gw.IQN(volumeName))
			waitTrouble(t, gw, false)
			if err := acknowledged.write(s, 5, 1); err != nil {
				t.Errorf("a write to the mended disk: %v", err)
			}
		})
	}
}

// on fails some kinds of operations.
func on(errno syscall.Errno, kinds ...crashfs.Kind) crashfs.Failure {
	return func(kind crashfs.Kind) syscall.Errno {
		if slices.Contains(kinds, kind) {
			return errno
		}
		return 0
	}
}

// brokenGateway is one whose segments are on a disk that can fail.
func brokenGateway(t *testing.T) (*harness.Gateway, *crashfs.Recorder) {
	t.Helper()
	harness.NeedRoot(t)
	if _, err := os.Stat("/dev/fuse"); err != nil {
		harness.Missing(t, "no FUSE: %v", err)
	}
	dir := harness.TempDir(t)
	segments := filepath.Join(dir, "segments")
	if err := os.Mkdir(segments, 0o700); err != nil {
		t.Fatal(err)
	}
	disk := crashfs.New(crashfs.NewTree())
	if _, err := disk.Mount(segments); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(segments, unix.MNT_DETACH) })
	gw := harness.Start(t, harness.Options{DataDir: dir, Args: []string{"--cache", "256MiB"}})
	gw.CreateVolume(volumeName, "1GiB")
	return gw, disk
}

// TestUnreadableDisk: what cannot be read from disk comes from the bucket.
func TestUnreadableDisk(t *testing.T) {
	t.Parallel()
	gw, disk := brokenGateway(t)
	s := dial(t, gw, 1)
	var c content
	for i := range pieces {
		c.last++
		if err := c.write(s, i, c.last); err != nil {
			t.Fatal(err)
		}
	}
	gw.CLI("snapshot", "create", volumeName)
	_ = s.Close() // or the gateway would wait for its logging out
	gw.Stop()
	var failed, reads atomic.Int64
	armed := atomic.Bool{}
	disk.Fail(func(kind crashfs.Kind) syscall.Errno {
		if kind != crashfs.Read || !armed.Load() {
			return 0
		}
		if reads.Add(1)%3 == 0 {
			failed.Add(1)
			return syscall.EIO
		}
		return 0
	})
	gw.Restart()
	armed.Store(true)
	c.check(t, gw.Portal, gw.IQN(volumeName))
	t.Logf("%d of %d reads of the local disk failed", failed.Load(), reads.Load())
	if failed.Load() == 0 {
		t.Error("no read failed")
	}
	disk.Fail(nil)
	c.check(t, gw.Portal, gw.IQN(volumeName))
}

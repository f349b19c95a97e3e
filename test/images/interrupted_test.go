package images

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/test/harness"
)

// start runs a verb in a process of its own, that can be killed.
func start(t *testing.T, gw *harness.Gateway, args ...string) *harness.Process {
	t.Helper()
	cmd := exec.Command(harness.Binary(t), args...)
	cmd.Env = append(os.Environ(), "SLUICE_API="+gw.API)
	return harness.StartProcess(t, cmd, filepath.Join(t.TempDir(), "log"))
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after a minute", what)
		}
	}
}

// marked returns how far the only unfinished import of a gateway is, in bytes.
func marked(gw *harness.Gateway) int64 {
	notes, err := filepath.Glob(filepath.Join(gw.DataDir, "imports", "*.json"))
	if err != nil || len(notes) != 1 {
		return 0
	}
	body, err := os.ReadFile(notes[0])
	var note struct {
		Done int64 `json:"done_bytes"`
	}
	if err != nil || json.Unmarshal(body, &note) != nil {
		return 0
	}
	return note.Done
}

// slowImage serves an image over HTTP, and stops answering at a given byte until it is let go on: so an import can be interrupted
// where the test wants it, however fast the machine is.
type slowImage struct {
	path string
	stop atomic.Int64
	seen atomic.Int64 // the highest byte that was asked for, of those it answered
}

func (s *slowImage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var from int64
	if _, text, ok := strings.Cut(r.Header.Get("Range"), "bytes="); ok {
		if err := json.Unmarshal([]byte(text[:strings.IndexByte(text, '-')]), &from); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	for from >= s.stop.Load() {
		select {
		case <-r.Context().Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.seen.Store(max(s.seen.Load(), from))
	w.Header().Set("ETag", `"one"`)
	http.ServeFile(w, r, s.path)
}

// TestInterrupted kills the command line, then the daemon, in the middle of an import, and resumes it each time. Until it is finished
// nobody is let in, and what was done is not done again.
func TestInterrupted(t *testing.T) {
	const size = 320 * mib
	raw, sum := rawImage(t, size, 8*mib)
	image := &slowImage{path: raw}
	server := httptest.NewServer(image)
	defer server.Close()
	gw := harness.Start(t, harness.Options{})
	args := []string{"volume", "import", "disk", "--image", server.URL + "/disk.raw", "--format", "raw", "--create", "--resume"}

	image.stop.Store(100 * mib)
	process := start(t, gw, args...)
	await(t, "a first mark", func() bool { return marked(gw) >= 64*mib })
	process.Kill()
	first := marked(gw)
	if _, err := exec.LookPath("qemu-img"); err == nil {
		if out, err := harness.Try(t, "qemu-img", "info", gw.URL("disk")); err == nil {
			t.Errorf("a part of an image is served: %s", out)
		}
	}

	image.stop.Store(200 * mib)
	await(t, "the end of the first hold", func() bool { // the daemon has noticed that the client is gone
		process = start(t, gw, args...)
		select {
		case <-process.Exited():
			return false
		case <-time.After(300 * time.Millisecond):
			return true
		}
	})
	await(t, "a second mark", func() bool { return marked(gw) >= 192*mib })
	gw.Kill()
	<-process.Exited()
	if code := process.ExitCode(); code != 5 {
		t.Errorf("without a daemon the import ended with status %d: %s", code, process.LogTail(5))
	}
	gw.Restart()

	image.stop.Store(size)
	r := cli(t, gw, append(args, "--sha256", sum)...)
	if r.Resumed < first+64*mib || r.SHA256 != sum || r.Size != size {
		t.Errorf("resumed at %d of %d, checksum %s", r.Resumed, r.Size, r.SHA256)
	}
	t.Logf("killed at %d MiB and at %d MiB, then %v", first/mib, r.Resumed/mib, r)
	out := filepath.Join(filepath.Dir(raw), "out.raw")
	cli(t, gw, "volume", "export", "disk", "--out", out)
	if got := sumOf(t, out, size); got != sum {
		t.Errorf("the volume is another image: %s", got)
	}
	if notes, err := os.ReadDir(filepath.Join(gw.DataDir, "imports")); err != nil || len(notes) > 0 {
		t.Errorf("left: %v %v", notes, err)
	}
}

// TestExportKilled: whoever dies during an export, no snapshot and no image stays behind.
func TestExportKilled(t *testing.T) {
	raw, _ := rawImage(t, 64*mib, 8*mib)
	gw := harness.Start(t, harness.Options{})
	cli(t, gw, "volume", "import", "disk", "--image", raw, "--create")
	snapshots := func() int {
		var list struct {
			Snapshots []struct{} `json:"snapshots"`
		}
		if err := json.Unmarshal(gw.CLI("snapshot", "list", "--json"), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Snapshots)
	}
	// Nobody reads the pipe, so that the export waits in the middle.
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	export := func() *exec.Cmd {
		cmd := exec.Command(harness.Binary(t), "volume", "export", "disk", "--out", "-")
		cmd.Env = append(os.Environ(), "SLUICE_API="+gw.API)
		cmd.Stdout = writer
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		await(t, "a momentary snapshot", func() bool { return snapshots() == 1 })
		return cmd
	}
	cmd := export()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	await(t, "no snapshot after the client's death", func() bool { return snapshots() == 0 })

	cmd = export()
	gw.Kill()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	gw.Restart()
	await(t, "no snapshot after the daemon's death", func() bool { return snapshots() == 0 })
}

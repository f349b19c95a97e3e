package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"sluice/transfer/nbd"
)

// ToolError says that a program of QEMU's is missing.
type ToolError struct{ Tool string }

// Error says which, and how to get it.
func (e *ToolError) Error() string {
	return e.Tool + " is not installed: images in other formats than raw need QEMU's tools (Debian: apt install qemu-utils), " +
		"or convert the image to raw elsewhere"
}

// tool runs a program of QEMU's to its end.
func tool(ctx context.Context, name string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, &ToolError{name}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, toolFailed(ctx, name, err, stderr.String())
	}
	return out, nil
}

func toolFailed(ctx context.Context, name string, err error, said string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return explain(name, err, said)
}

// explain is why a program failed: what it said, if it said anything.
func explain(name string, err error, said string) error {
	if said = strings.TrimSpace(said); said != "" {
		return fmt.Errorf("%s: %s", name, strings.TrimPrefix(said, name+": "))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// imageInfo is the part of "qemu-img info" that matters.
type imageInfo struct {
	Backing  string `json:"backing-filename"`
	Specific struct {
		Data struct {
			DataFile string `json:"data-file"`
			Extents  []struct {
				File string `json:"filename"`
			} `json:"extents"`
		} `json:"data"`
	} `json:"format-specific"`
}

// checkAlone refuses an image that refers to other files.
func checkAlone(ctx context.Context, format Format, name string) error {
	out, err := tool(ctx, "qemu-img", "info", "--output=json", "-f", string(format), name)
	if err != nil {
		return err
	}
	var info imageInfo
	if err := json.Unmarshal(out, &info); err != nil {
		return fmt.Errorf("reading what qemu-img says of the image: %w", err)
	}
	const remedy = "make one image of it: qemu-img convert -O qcow2 IMAGE NEW"
	if info.Backing != "" {
		return fmt.Errorf("the image is only the difference to another one, %s: %s", info.Backing, remedy)
	}
	if f := info.Specific.Data.DataFile; f != "" {
		return fmt.Errorf("the data of the image is in another file, %s: %s", f, remedy)
	}
	own, err := filepath.Abs(name)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	for _, x := range info.Specific.Data.Extents {
		if x.File != "" && x.File != name && filepath.Dir(x.File) != filepath.Dir(own) && filepath.Dir(x.File) != filepath.Dir(name) {
			return fmt.Errorf("a part of the image is in another directory, %s: %s", x.File, remedy)
		}
	}
	return nil
}

// server is a qemu-nbd that serves one image to us alone.
type server struct {
	*nbd.Client
	cmd    *exec.Cmd
	dir    string // of its socket
	stderr bytes.Buffer
	ended  chan struct{} // closed when the process has ended; then err and stderr may be read
	err    error
}

// serve starts qemu-nbd and connects to it. The process ends with its only connection, and with ours.
func serve(ctx context.Context, format Format, name string, args ...string) (*server, error) {
	path, err := exec.LookPath("qemu-nbd")
	if err != nil {
		return nil, &ToolError{"qemu-nbd"}
	}
	dir, err := os.MkdirTemp("", "sluice-image-") // nobody else may enter it
	if err != nil {
		return nil, fmt.Errorf("starting qemu-nbd: %w", err)
	}
	s := &server{dir: dir, ended: make(chan struct{})}
	socket := filepath.Join(dir, "s")
	args = append(args, "--format="+string(format), "--socket="+socket, "--", name)
	s.cmd = exec.CommandContext(ctx, path, args...)
	// A group of its own: the interrupt key is for us, who end it in order.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	s.cmd.Stderr = &s.stderr
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting qemu-nbd: %w", err), os.RemoveAll(dir))
	}
	if err := s.connect(ctx, socket); err != nil {
		_ = s.cmd.Process.Kill() // if it has not ended
		<-s.ended
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// start starts the process, and waits for its end in the background, on a thread that is there until then: the
// process would end with it.
func (s *server) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			s.err = s.cmd.Wait()
			close(s.ended)
		}
	}()
	return <-started
}

// connectTime is how long qemu-nbd may take to open an image.
const connectTime = time.Minute

func (s *server) connect(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			s.Client, err = nbd.Connect(ctx, conn, "")
			return err
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return toolFailed(ctx, "qemu-nbd", s.err, s.stderr.String())
		case <-ctx.Done():
			return fmt.Errorf("waiting for qemu-nbd: %w", ctx.Err())
		}
	}
}

// stop ends the connection, and returns how qemu-nbd ended: it closes the image then.
func (s *server) stop() error {
	err := s.Close()
	<-s.ended
	if s.err != nil {
		err = errors.Join(err, explain("qemu-nbd", s.err, s.stderr.String()))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// qemuSource is an image that qemu-nbd reads.
type qemuSource struct {
	server *server
	known  []nbd.Extent // from at on
	at     int64
}

func openQEMU(ctx context.Context, format Format, name string) (*qemuSource, error) {
	if err := checkAlone(ctx, format, name); err != nil {
		return nil, fmt.Errorf("opening a %s image: %w", format, err)
	}
	s, err := serve(ctx, format, name, "--read-only")
	if err != nil {
		return nil, fmt.Errorf("opening a %s image: %w", format, err)
	}
	return &qemuSource{server: s}, nil
}

// Size implements Source.
func (q *qemuSource) Size() int64 { return q.server.Size() }

// Extent implements Source.
func (q *qemuSource) Extent(ctx context.Context, off int64) (bool, int64, error) {
	for len(q.known) > 0 && q.at+q.known[0].Length <= off {
		q.at += q.known[0].Length
		q.known = q.known[1:]
	}
	if len(q.known) == 0 || off < q.at {
		list, err := q.server.Extents(ctx, off, q.Size()-off)
		if err != nil {
			return false, 0, fmt.Errorf("asking qemu-nbd where there is data: %w", err)
		}
		q.known, q.at = list, off
	}
	x := q.known[0]
	return !x.Zero, q.at + x.Length - off, nil
}

// ReadAt implements Source.
func (q *qemuSource) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := q.server.ReadAt(ctx, p, off); err != nil {
		return fmt.Errorf("reading the image at byte %d: %w", off, err)
	}
	return nil
}

// Close implements Source.
func (q *qemuSource) Close() error { return q.server.stop() }

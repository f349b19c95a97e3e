package s3server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a running S3 server with one bucket. Its methods are for one goroutine
// at a time, and end the test when they fail.
type Server struct {
	Endpoint  string // http://127.0.0.1:PORT
	Region    string
	Bucket    string
	AccessKey string
	SecretKey string

	t       testing.TB
	binary  string
	address string // 127.0.0.1:PORT
	dir     string // holds objects/ and versions/
	process *process
}

const (
	region     = "us-east-1"
	bucket     = "sluice-test"
	accessKey  = "testkey"
	secretKey  = "testsecret1"
	healthPath = "/health"

	startTimeout = 30 * time.Second
)

// Start starts a server with an empty bucket and waits until it answers. It ends with
// the test. If the server cannot be built here, the test is skipped; with
// SLUICE_REQUIRE_S3=1 it fails.
func Start(t testing.TB) *Server {
	t.Helper()
	binary, err := build()
	if err != nil {
		unavailable(t, err)
	}
	dir, err := dataDir(t)
	if err != nil {
		unavailable(t, err)
	}
	s := &Server{
		Region: region, Bucket: bucket, AccessKey: accessKey, SecretKey: secretKey,
		t: t, binary: binary, dir: dir,
	}
	t.Cleanup(s.Kill)
	// Another process can take the port between our finding it free and the server
	// listening on it, so try a few.
	for range 3 {
		if s.address, err = freeAddress(); err != nil {
			t.Fatalf("find a free port: %v", err)
		}
		s.Endpoint = "http://" + s.address
		if err = s.start(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("start the S3 server: %v", err)
	}
	if err := s.createBucket(t.Context()); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	return s
}

func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("SLUICE_REQUIRE_S3") == "1" {
		t.Fatalf("no S3 server: %v", err)
	}
	t.Skipf("no S3 server to test with: %v", err)
}

// Env returns the settings that give a process the server's credentials, as NAME=value.
func (s *Server) Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + s.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
		"AWS_REGION=" + s.Region,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// Setenv gives this process the server's credentials, until the test ends.
func (s *Server) Setenv(t testing.TB) {
	t.Helper()
	for _, setting := range s.Env() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
}

// URL returns the store URL of a prefix in the server's bucket.
func (s *Server) URL(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s&region=%s&path-style=true", s.Bucket, prefix, s.Endpoint, s.Region)
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	s.process.signal(syscall.SIGKILL)
	<-s.process.ended
	s.process = nil
}

// Restart kills the process if it runs, and starts it on the same port and data.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatalf("restart the S3 server: %v", err)
	}
}

// Freeze stops the process with SIGSTOP and waits until it has stopped: from then on
// the kernel accepts connections for it, and nothing is answered.
func (s *Server) Freeze() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	for range 1000 {
		if s.process.stopped() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatal("the S3 server does not stop")
}

// Thaw lets a frozen process go on.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if s.process == nil {
		s.t.Fatalf("send %v: the S3 server does not run", sig)
	}
	s.process.signal(sig)
}

// start runs the program and waits until it says that it is healthy.
func (s *Server) start() error {
	// Connections are kept alive only on request. A larger I/O buffer doubles the rate
	// of small ranged reads. The two directories must share no string prefix.
	p, err := startProcess(s.binary, "--access", s.AccessKey, "--secret", s.SecretKey,
		"--region", s.Region, "--port", s.address, "--quiet", "--keep-alive", "--health", healthPath,
		"posix", "--io-buffer-size", "131072",
		"--versioning-dir", filepath.Join(s.dir, "versions"), filepath.Join(s.dir, "objects"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := s.awaitHealth(ctx, p); err != nil {
		p.signal(syscall.SIGKILL)
		<-p.ended
		return fmt.Errorf("%w; it said: %s", err, p.output.String())
	}
	s.process = p
	return nil
}

func (s *Server) awaitHealth(ctx context.Context, p *process) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if healthy(ctx, s.Endpoint+healthPath) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return errors.New("the server ended at once")
		case <-ctx.Done():
			return errors.New("the server does not become healthy")
		}
	}
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

func freeAddress() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// build returns the path of the server's program, building it if need be. Once a
// process is enough: asking the go command takes a second even when nothing is to do.
var build = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "tool", "-C", filepath.Join(root, "tools"), "-n", "versitygw")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build versitygw: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
})

// moduleRoot returns the nearest folder above that holds tools/go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "tools", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find tools/go.mod: not in the source tree")
		}
		dir = parent
	}
}

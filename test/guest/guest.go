package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Backend is a way to boot the guest.
type Backend string

// The backends, the faster one first.
const (
	UML  Backend = "uml"
	QEMU Backend = "qemu"
)

// Guest says what to boot and what it may reach.
type Guest struct {
	Backend  Backend
	CacheDir string    // where build.sh left its result; see [Cache]
	Memory   int       // MiB; 0 means 1024, of which the user land takes 260
	Forward  []int     // ports on the host's 127.0.0.1 that the guest may reach
	Disk     string    // a file that is a disk of the guest, /dev/ubda; none if empty; only with UML
	Console  io.Writer // kernel messages; nil discards them
}

// ExitError is returned by [Guest.Run] when the script ended with another status than 0.
type ExitError struct{ Status int }

func (e *ExitError) Error() string {
	return fmt.Sprintf("the script in the guest ended with status %d", e.Status)
}

var (
	// ErrNotStarted means that the guest never came up; another backend may do better.
	ErrNotStarted = errors.New("the guest did not start")

	errNoResult = errors.New("the guest ended before its script did")
)

// Cache returns the directory that build.sh fills for an image, which is "" or a name that
// build.sh knows: guest or guest-NAME under $SLUICE_TEST_CACHE, or else under sluice-test in
// the user's cache directory.
func Cache(image string) (string, error) {
	name := "guest"
	if image != "" {
		name += "-" + image
	}
	if dir := os.Getenv("SLUICE_TEST_CACHE"); dir != "" {
		return filepath.Join(dir, name), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache directory: %w", err)
	}
	return filepath.Join(dir, "sluice-test", name), nil
}

// Run boots the guest, runs script in it with bash, copies what it prints to out, and
// waits until the guest is gone. It ends the guest when ctx does.
func (g Guest) Run(ctx context.Context, script string, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	network, err := g.connect(ctx)
	if err != nil {
		return fmt.Errorf("connecting the guest: %w", err)
	}
	defer network.close()
	control, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(network.listen, "0"))
	if err != nil {
		return fmt.Errorf("listening for the guest: %w", err)
	}
	defer control.Close()
	scratch, err := os.MkdirTemp("", "sluice-guest-")
	if err != nil {
		return fmt.Errorf("starting the guest: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()

	cmd := g.command(ctx, network, control.Addr().(*net.TCPAddr).Port, scratch)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the guest: %w", err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()  // how the guest ended says nothing about the script
		control.Close() // wakes Accept when the guest never called
		close(done)
	}()
	result := serve(ctx, control, script, out)
	if result != nil && !errors.As(result, new(*ExitError)) {
		cancel()
	}
	// A guest that has reported but does not power off has nothing more to tell.
	timer := time.AfterFunc(10*time.Second, cancel)
	defer timer.Stop()
	<-done
	return result
}

// serve gives the script to the guest and copies its output until the status line, or until ctx ends: a guest that was
// killed closes nothing.
func serve(ctx context.Context, control net.Listener, script string, out io.Writer) error {
	conn, err := control.Accept()
	if err != nil {
		return ErrNotStarted
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "%d\n%s", len(script), script); err != nil {
		return fmt.Errorf("sending the script: %w", err)
	}
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return errNoResult
		}
		if text, ok := strings.CutPrefix(line, "exit="); ok {
			status, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				return fmt.Errorf("reading the script's status: %w", err)
			}
			if status != 0 {
				return &ExitError{status}
			}
			return nil
		}
		if _, err := io.WriteString(out, line); err != nil {
			return fmt.Errorf("copying the script's output: %w", err)
		}
	}
}

// command returns the process that is the guest. It is killed when ctx ends.
func (g Guest) command(ctx context.Context, n *network, port int, scratch string) *exec.Cmd {
	memory := strconv.Itoa(max(g.Memory, 1024))
	initrd := filepath.Join(g.CacheDir, "root.cpio")
	boot := fmt.Sprintf("quiet panic=-1 sluice.ip=%s sluice.host=%s sluice.port=%d", n.guest, n.host, port)
	var cmd *exec.Cmd
	if g.Backend == UML {
		args := []string{
			"mem=" + memory + "M", "initrd=" + initrd, "umid=guest", "uml_dir=" + scratch + "/",
			"vec0:transport=tap,ifname=" + n.tap + ",depth=128,gro=1", "con=null", "con0=null,fd:1", "ssl=null",
		}
		if g.Disk != "" {
			args = append(args, "ubd0="+g.Disk)
		}
		cmd = exec.CommandContext(ctx, filepath.Join(g.CacheDir, "linux.uml"), append(args, strings.Fields(boot)...)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+memoryDir(scratch), "UML_DIR="+scratch)
	} else {
		cmd = exec.CommandContext(ctx, "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off",
			"-m", memory, "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
			"-kernel", filepath.Join(g.CacheDir, "vmlinuz"), "-initrd", initrd,
			"-netdev", "user,id=n,ipv6=off", "-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci",
			"-append", "console=ttyS0 mitigations=off net.ifnames=0 random.trust_cpu=1 "+boot)
	}
	cmd.Stdout, cmd.Stderr = g.Console, g.Console
	ownGroup(cmd)
	return cmd
}

// memoryDir returns a directory for user-mode Linux's memory file: a tmpfs if there is one.
func memoryDir(fallback string) string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return fallback
}

package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// network is how one guest reaches its host.
type network struct {
	guest  string // the guest's address with its prefix length
	host   string // the host's address as the guest sees it
	listen string // where the host listens for connections to that address
	tap    string // name of the tap device, or ""

	relays []net.Listener
	wait   sync.WaitGroup
}

// connect prepares the network. User-mode Linux gets a tap device of its own, with
// addresses from 198.18.0.0/15 (RFC 2544, set aside for tests) derived from our process
// ID, so that two test runs do not meet, and a relay for each forwarded port.
func (g Guest) connect(ctx context.Context) (*network, error) {
	if g.Backend == QEMU {
		return &network{guest: "10.0.2.15/24", host: "10.0.2.2", listen: "127.0.0.1"}, nil
	}
	id := os.Getpid() & 0x3fff
	subnet := fmt.Sprintf("198.18.%d.", id>>6)
	n := &network{
		guest: g.Address() + "/30",
		host:  fmt.Sprintf("%s%d", subnet, id&0x3f<<2|1),
		tap:   fmt.Sprintf("sluice%d", id),
	}
	n.listen = n.host
	_ = ip("link", "del", n.tap) // left by a run that was killed
	err := errors.Join(
		ip("tuntap", "add", "dev", n.tap, "mode", "tap"),
		ip("addr", "add", n.host+"/30", "dev", n.tap),
		ip("link", "set", n.tap, "up"),
		// user-mode Linux at times misses an interrupt until the next packet comes: resend early.
		ip("route", "replace", fmt.Sprintf("%s%d/30", subnet, id&0x3f<<2), "dev", n.tap, "src", n.host, "rto_min", "10ms"),
	)
	for _, port := range g.Forward {
		if err == nil {
			err = n.relay(ctx, port)
		}
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// Address returns where the host reaches the guest while it runs: only with user-mode Linux.
func (g Guest) Address() string {
	id := os.Getpid() & 0x3fff
	return fmt.Sprintf("198.18.%d.%d", id>>6, id&0x3f<<2|2)
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// relay passes connections to port on the tap device's address on to 127.0.0.1.
func (n *network) relay(ctx context.Context, port int) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("%s:%d", n.host, port))
	if err != nil {
		return fmt.Errorf("relaying port %d: %w", port, err)
	}
	n.relays = append(n.relays, listener)
	n.wait.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			n.wait.Go(func() { splice(ctx, near, fmt.Sprintf("127.0.0.1:%d", port)) })
		}
	})
	return nil
}

// splice copies both ways between near and a new connection to address until either
// side ends, or ctx does.
func splice(ctx context.Context, near net.Conn, address string) {
	far, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		near.Close()
		return
	}
	shut := func() { near.Close(); far.Close() }
	defer context.AfterFunc(ctx, shut)()
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(near, far); shut() })
	both.Go(func() { _, _ = io.Copy(far, near); shut() })
	both.Wait()
}

func (n *network) close() {
	for _, listener := range n.relays {
		listener.Close()
	}
	if n.tap != "" {
		_ = ip("link", "del", n.tap)
	}
}

// ownGroup makes cancelling the command kill all of its processes: user-mode Linux has
// one for every guest process.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

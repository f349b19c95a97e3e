package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/gostor/gotgt/pkg/config"
	gotgt "github.com/gostor/gotgt/pkg/scsi"
)

// DriverName is the name under which the engine is known in gotgt's registry of target
// drivers.
const DriverName = "sluice-iscsi"

// Driver is the engine as a target driver of gotgt. It gives gotgt's frame a way to run
// and to watch a Server. What gotgt would configure by files and by device numbers, a
// Server is told in Go values, so the methods for that refuse.
type Driver struct{ *Server }

var _ gotgt.SCSITargetDriver = Driver{}

// Register makes the engine known to gotgt under DriverName, with these options. The
// registry is not protected by a lock: call it before anything else uses gotgt, and once.
func Register(o Options) {
	gotgt.RegisterTargetDriver(DriverName, func(*gotgt.SCSITargetService) (gotgt.SCSITargetDriver, error) {
		if o.Authorizer == nil {
			return nil, errors.New("options without an authorizer")
		}
		return Driver{New(o)}, nil
	})
}

// Open obtains a server from gotgt's registry; Register must have been called.
func Open() (*Server, error) {
	// The service would be gotgt's own SCSI engine, which is not used.
	d, err := gotgt.NewTargetDriver(DriverName, nil)
	if err != nil {
		return nil, fmt.Errorf("open target driver: %w", err)
	}
	driver, ok := d.(Driver)
	if !ok {
		return nil, fmt.Errorf("target driver %s is a %T", DriverName, d)
	}
	return driver.Server, nil
}

// Run serves a portal at this port of the loopback interface until Close.
func (d Driver) Run(port int) error {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("open portal: %w", err)
	}
	if err := d.Serve(context.Background(), l); !errors.Is(err, ErrClosed) {
		return err
	}
	return nil
}

// NewTarget refuses: see Server.AddTarget.
func (d Driver) NewTarget(name string, _ *config.Config) error {
	return fmt.Errorf("new target %s from a configuration of gotgt: %w", name, errors.ErrUnsupported)
}

// RereadTargetLUNMap does nothing: the LUNs of a target do not change.
func (d Driver) RereadTargetLUNMap() {}

// Close stops the server at once.
func (d Driver) Close() error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Shutdown(now); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Resize refuses: a logical unit knows its own size.
func (d Driver) Resize(uint64) error {
	return fmt.Errorf("resize through the target driver: %w", errors.ErrUnsupported)
}

// Stats counts the commands of the sessions that are logged in.
func (d Driver) Stats() gotgt.Stats {
	stats := gotgt.Stats{SCSIIOCount: map[int]int64{}}
	for _, s := range d.Sessions("") {
		stats.IsClientConnected = true
		stats.SCSIIOCount[int(s.TSIH)] = int64(s.Commands)
	}
	return stats
}

// SetClusterIP does nothing: a discovery tells the address that it came to.
func (d Driver) SetClusterIP(string) {}

// EnableBlockMultipleHostLogin does nothing: an Authorizer decides who may log in.
func (d Driver) EnableBlockMultipleHostLogin() {}

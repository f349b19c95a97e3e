package target

import (
	"log/slog"
	"net"
	"os"
	"os/signal"
	"testing"

	"sluice/target/login"
	"sluice/target/scsi"
)

// everybody lets every initiator in.
type everybody struct{}

func (everybody) Authorize(string, string, net.Addr) (login.Access, error) {
	return login.Access{}, nil
}

// TestServe serves a RAM disk at $SLUICE_TARGET_SERVE until it is interrupted, for tools
// that are driven by hand.
func TestServe(t *testing.T) {
	address := os.Getenv("SLUICE_TARGET_SERVE")
	if address == "" {
		t.Skip("set SLUICE_TARGET_SERVE to an address to serve a RAM disk for tools that are driven by hand")
	}
	s := New(Options{Authorizer: everybody{}, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	err := s.AddTarget(Target{Name: "iqn.2026-11.test:ram", LUs: map[uint64]scsi.LogicalUnit{0: newRAMDisk(1 << 30)}, Other: &noUnit{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
}

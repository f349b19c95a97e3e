package target

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"testing"

	"sluice/target/login"
	"sluice/target/sbc"
	"sluice/target/scsi"
)

// everybody lets every initiator in.
type everybody struct{}

func (everybody) Authorize(string, string, net.Addr) (login.Access, error) {
	return login.Access{}, nil
}

// ramStore is the same as a disk for the real device server.
type ramStore struct {
	mu   sync.RWMutex
	data []byte
}

func (r *ramStore) Size() int64 { return int64(len(r.data)) }

func (r *ramStore) Read(_ context.Context, p []byte, off int64, _ bool) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	copy(p, r.data[off:])
	return nil
}

func (r *ramStore) Write(_ context.Context, bufs [][]byte, offs []int64, _ bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, p := range bufs {
		copy(r.data[offs[i]:], p)
	}
	return nil
}

func (r *ramStore) Flush(context.Context) error { return nil }

func (r *ramStore) Zero(_ context.Context, off, n int64, _ bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.data[off : off+n])
	return nil
}

func (r *ramStore) Mapped(_ context.Context, off int64) (bool, int64, error) {
	return true, r.Size() - off, nil
}

// TestServe serves a disk in memory at $SLUICE_TARGET_SERVE until it is interrupted, for
// tools that are driven by hand.
func TestServe(t *testing.T) {
	address := os.Getenv("SLUICE_TARGET_SERVE")
	if address == "" {
		t.Skip("set SLUICE_TARGET_SERVE to an address to serve a RAM disk for tools that are driven by hand")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	s := New(Options{Authorizer: everybody{}, Logger: log})
	disk, err := sbc.New(sbc.Options{Disk: &ramStore{data: make([]byte, 1<<30)}, ID: [16]byte{1}, Target: targetIQN, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddTarget(Target{Name: targetIQN, LUs: map[uint64]scsi.LogicalUnit{0: disk}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Listen(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	<-interrupted
	if err := (Driver{s}).Close(); err != nil {
		t.Fatal(err)
	}
}

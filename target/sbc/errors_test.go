package sbc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"sluice/target/scsi"
)

// TestErrors fails every kind of call to the disk in every way, and looks at what the
// initiator is told. An error never ends as GOOD.
func TestErrors(t *testing.T) {
	one, two := make([]byte, sector), make([]byte, 2*sector)
	ones := slices.Repeat([]byte{1}, sector)
	commands := []struct {
		name string
		cdb  []byte
		out  []byte
		ops  []string // calls that it makes, each of which is failed
	}{
		{"READ", cdb10(0x28, 0, 1, 1), nil, []string{"read"}},
		{"WRITE", cdb10(0x2a, 0, 1, 1), one, []string{"write"}},
		{"WRITE FUA", cdb10(0x2a, 8, 1, 1), one, []string{"write", "flush"}},
		{"WRITE AND VERIFY", cdb10(0x2e, 0, 1, 1), one, []string{"write", "flush", "read"}},
		{"VERIFY", cdb10(0x2f, 2, 1, 1), one, []string{"read"}},
		{"SYNCHRONIZE CACHE", cdb10(0x35, 0, 0, 0), nil, []string{"flush"}},
		{"WRITE SAME zeros", cdb10(0x41, 0, 1, 1), one, []string{"zero"}},
		{"WRITE SAME ones", cdb10(0x41, 0, 1, 1), ones, []string{"write"}},
		{"UNMAP", cdb10(0x42, 0, 0, 24), unmapList(1, 1), []string{"zero"}},
		{"COMPARE AND WRITE", compareCDB(1, 1), two, []string{"read", "write"}},
		{"ORWRITE FUA", cdb16(0x8b, 8, 1, 1), one, []string{"read", "write", "flush"}},
		{"GET LBA STATUS", cdb16(0x9e, 0x12, 1, 24), nil, []string{"mapped"}},
	}
	wrap := func(err error) error { return fmt.Errorf("somewhere below: %w", err) }
	for _, c := range commands {
		for _, op := range c.ops {
			reading := len(c.ops) == 1 && op != "write" && op != "zero" && op != "flush"
			pick := func(read, write string) string {
				if reading {
					return read
				}
				return write
			}
			for err, want := range map[error]string{
				wrap(errors.New("boom")):       pick("3/1100", "3/0c00"),
				wrap(syscall.EIO):              pick("3/1100", "3/0c00"),
				wrap(syscall.ENOSPC):           pick("3/1100", "7/2707"),
				wrap(syscall.EROFS):            pick("3/1100", "7/2700"),
				wrap(ErrNotReady):              "2/0401",
				wrap(context.Canceled):         "status 40",
				wrap(context.DeadlineExceeded): pick("3/1100", "3/0c00"),
			} {
				r := newRig(t)
				r.ram.hook = func(_ context.Context, called string, _ bool) error {
					if called == op {
						return err
					}
					return nil
				}
				x := r.do(c.cdb, c.out, sector)
				if got := x.verdict(); got != want {
					t.Errorf("%s, %s fails with %v: %s, want %s", c.name, op, err, got, want)
				}
				if len(x.In) != 0 {
					t.Errorf("%s, %s fails with %v: %d bytes of data-in", c.name, op, err, len(x.In))
				}
			}
		}
	}
}

// TestPanic lets the disk panic below commands that run in goroutines: they fail, and the disk
// still serves the next ones.
func TestPanic(t *testing.T) {
	r := newRig(t)
	one, two := make([]byte, sector), make([]byte, 2*sector)
	for _, c := range []struct {
		op  string
		cdb []byte
		out []byte
	}{
		{"read", cdb16(0x8b, 0, 1, 1), one},
		{"write", cdb16(0x8b, 0, 1, 1), one},
		{"read", compareCDB(1, 1), two},
		{"write", cdb10(0x2a, 8, 1, 1), one},
		{"zero", cdb10(0x42, 0, 0, 24), unmapList(1, 1)},
		{"flush", cdb10(0x35, 0, 0, 0), nil},
		{"mapped", cdb16(0x9e, 0x12, 0, 24), nil},
	} {
		r.ram.hook = func(_ context.Context, called string, _ bool) error {
			if called == c.op {
				panic("a bug in the disk")
			}
			return nil
		}
		if got := r.do(c.cdb, c.out, sector).verdict(); got != "4/4400" {
			t.Errorf("CDB %x: %s", c.cdb, got)
		}
		r.ram.hook = nil
		r.good(cdb10(0x2a, 0, 1, 1), one, 0)
		r.good(cdb16(0x8b, 0, 1, 1), one, 0)
	}
}

// TestPanicInSubmit is the same in the transport's goroutine, which survives it.
func TestPanicInSubmit(t *testing.T) {
	r := newRig(t)
	r.ram.hook = func(context.Context, string, bool) error { panic("a bug in the disk") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is for the transport to see")
			}
		}()
		x := command(r.d, r.n, cdb10(0x2a, 0, 1, 1), make([]byte, sector), 0)
		r.d.Submit(t.Context(), []*scsi.Command{&x.Command})
	}()
	r.ram.hook = nil
	r.good(cdb16(0x8b, 0, 1, 1), make([]byte, sector), 0)
}

// TestAbort cancels a read that waits.
func TestAbort(t *testing.T) {
	r := newRig(t)
	waiting := make(chan struct{})
	r.ram.hook = func(ctx context.Context, _ string, wait bool) error {
		if !wait {
			return syscall.EAGAIN
		}
		close(waiting)
		<-ctx.Done()
		return fmt.Errorf("reading: %w", ctx.Err())
	}
	x := command(r.d, r.n, cdb10(0x28, 0, 1, 1), nil, sector)
	r.d.Submit(t.Context(), []*scsi.Command{&x.Command})
	<-waiting
	r.d.Abort(&x.Command)
	if got := x.wait(t).verdict(); got != "status 40" || len(x.In) != 0 {
		t.Errorf("aborted: %s with %d bytes", got, len(x.In))
	}
	r.d.Abort(&x.Command) // and of what has ended: nothing
}

package scsi

import (
	"context"
	"strings"
	"sync"
	"testing"
)

// TestAttentions follows unit attentions to those who are to have them.
func TestAttentions(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.nexus("a"), r.nexus("b")
	r.u.Attention(a, CapacityChanged)
	r.u.Attention(a, CapacityChanged) // once is enough
	r.expect(a, readCDB, nil, "good")
	r.expect(b, inquiryCDB(0, 0, 36), nil, "good") // these do not report it, nor clear it
	r.expect(b, []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}, nil, "good")
	r.expect(b, readCDB, nil, "6/2a09")
	r.expect(b, readCDB, nil, "good")

	r.u.Attention(nil, CapacityChanged)
	r.u.Attention(nil, ModeParametersChanged)
	if got := r.expect(a, []byte{3, 0, 0, 0, 18, 0}, nil, "good").In; got[2] != 6 || got[12] != 0x2a || got[13] != 0x09 {
		t.Errorf("REQUEST SENSE: % x", got)
	}
	if got := r.expect(a, []byte{3, 1, 0, 0, 18, 0}, nil, "good").In; got[0] != 0x72 || got[1] != 6 || got[3] != 0x01 {
		t.Errorf("REQUEST SENSE in descriptors: % x", got)
	}
	if got := r.expect(a, []byte{3, 0, 0, 0, 18, 0}, nil, "good").In; got[2] != 0 || got[12] != 0 {
		t.Errorf("REQUEST SENSE without any: % x", got)
	}
	r.expect(b, []byte{0xff, 0, 0, 0, 0, 0}, nil, "6/2a09") // also unknown commands report it
	r.expect(b, turCDB, nil, "6/2a01")

	r.u.Reset(a)
	r.expect(a, turCDB, nil, "6/2903")
	r.expect(b, turCDB, nil, "6/2903")
	if r.u.restricted.Load() {
		t.Error("commands still take the slow way")
	}
	r.u.Detach(b)
	r.u.Attention(nil, CapacityChanged)
	if _, ok := r.u.nexuses[b]; ok {
		t.Error("who has gone is still told")
	}
}

// TestReserve is RESERVE and RELEASE: the holder alone has access, until it goes.
func TestReserve(t *testing.T) {
	for _, cdbs := range [][2][]byte{
		{{0x16, 0, 0, 0, 0, 0}, {0x17, 0, 0, 0, 0, 0}},
		{{0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		reserve, release := cdbs[0], cdbs[1]
		r := newRig(t, nil)
		a, b := r.nexus("a"), r.nexus("b")
		r.expect(a, reserve, nil, "good")
		r.expect(a, reserve, nil, "good")
		r.expect(a, writeCDB, nil, "good")
		for _, cdb := range [][]byte{readCDB, writeCDB, turCDB, reserve, {0x1a, 0, 0x3f, 0, 255, 0}, {0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0}} {
			r.expect(b, cdb, nil, "conflict")
		}
		r.expect(b, inquiryCDB(0, 0, 36), nil, "good")
		r.expect(b, release, nil, "good") // and does nothing
		r.expect(b, readCDB, nil, "conflict")
		r.expect(a, release, nil, "good")
		r.expect(b, reserve, nil, "good")
		r.u.Detach(b)
		r.expect(a, reserve, nil, "good")
		r.u.Reset(a)
		c := r.nexus("c")
		r.expect(c, writeCDB, nil, "good")

		r.must(r.prOut(c, prRegister, 0, 0, 1, 0))
		r.expect(c, reserve, nil, "conflict") // one kind of reservation excludes the other
	}
}

// TestPanicInCommand fails the command that panics, and no other.
func TestPanicInCommand(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	r.work = func(context.Context) Status { panic("a bug") }
	r.expect(n, workCDB, nil, "4/4400")
	r.expect(n, turCDB, nil, "good")
	if len(r.u.running) != 0 {
		t.Error("the command still counts as running")
	}
}

// TestAbort cancels one of two commands that run.
func TestAbort(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	started, finish := make(chan struct{}), make(chan struct{})
	r.work = func(ctx context.Context) Status {
		started <- struct{}{}
		select {
		case <-ctx.Done():
			return TaskAborted
		case <-finish:
			return Good
		}
	}
	x, y := r.command(n, workCDB, nil), r.command(n, workCDB, nil)
	r.u.Submit(t.Context(), []*Command{&x.Command, &y.Command})
	<-started
	<-started
	r.u.Abort(&x.Command)
	if got := x.wait(t).verdict(); got != "status 40" {
		t.Errorf("aborted: %s", got)
	}
	close(finish)
	if got := y.wait(t).verdict(); got != "good" {
		t.Errorf("not aborted: %s", got)
	}
}

// TestConcurrently is for the race detector: everything at once, and each command once.
func TestConcurrently(t *testing.T) {
	r := newRig(t, &memory{})
	r.work = func(ctx context.Context) Status { return Good }
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			n := &Nexus{Initiator: strings.Repeat("x", i+1)}
			for range 30 {
				r.u.Attach(n)
				for _, cdb := range [][]byte{
					turCDB, readCDB, writeCDB, workCDB, inquiryCDB(1, 0x83, 255),
					{0x1a, 0, 0x3f, 0, 255, 0},
					{0x16, 0, 0, 0, 0, 0},
					{0x17, 0, 0, 0, 0, 0},
					{0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0},
					{0x5e, 3, 0, 0, 0, 0, 0, 0, 255, 0},
				} {
					r.do(n, cdb, nil)
				}
				r.do(n, []byte{0x15, 0x10, 0, 0, 24, 0}, join([]byte{0, 0, 0, 0}, caching(byte(i)&1*4)))
				r.prOut(n, prRegisterAndIgnore, 0, 0, uint64(i+1), 1)
				r.prOut(n, prReserve, writeExclusiveAll, uint64(i+1), 0, 0)
				r.prOut(n, prPreemptAndAbort, writeExclusiveRegs, uint64(i+1), uint64(i), 0)
				r.prOut(n, prClear, 0, uint64(i+1), 0, 0)
				r.u.Reset(n)
				r.u.Detach(n)
			}
		})
	}
	wg.Wait()
	if len(r.u.running) != 0 || len(r.u.nexuses) != 0 {
		t.Errorf("%d commands and %d initiators are left", len(r.u.running), len(r.u.nexuses))
	}
}

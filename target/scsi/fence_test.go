package scsi

import (
	"context"
	"testing"
)

// TestFence fences a node off: when PREEMPT AND ABORT is answered nothing of that node can
// still reach the medium, and nobody else has noticed.
func TestFence(t *testing.T) {
	r := newRig(t, nil)
	a, b, c := r.nexus("a"), r.nexus("b"), r.nexus("c")
	r.must(r.prOut(a, prRegister, 0, 0, 1, 0))
	r.must(r.prOut(b, prRegister, 0, 0, 2, 0))
	start := func(n *Nexus, work func(context.Context) Status) *exchange {
		started := make(chan struct{})
		r.work = func(ctx context.Context) Status { close(started); return work(ctx) }
		x := r.command(n, workCDB, nil)
		r.u.Submit(t.Context(), []*Command{&x.Command})
		<-started
		return x
	}
	over := make(chan struct{})
	bystander := start(c, func(ctx context.Context) Status {
		select {
		case <-over:
			return Good
		case <-ctx.Done():
			return TaskAborted
		}
	})
	r.must(r.prOut(b, prReserve, exclusiveAccess, 2, 0, 0))
	cancelled, stop := make(chan struct{}), make(chan struct{})
	stubborn := start(b, func(ctx context.Context) Status { // it is cancelled, and takes its time
		<-ctx.Done()
		close(cancelled)
		<-stop
		return TaskAborted
	})
	// Admitted before, and not yet carried out: here, and in a goroutine.
	late, later, other := r.command(b, writeCDB, nil), r.command(b, workCDB, nil), r.command(c, inquiryCDB(0, 0, 36), nil)
	for _, x := range []*exchange{late, later, other} {
		if r.u.Admit(&x.Command) == nil {
			t.Fatalf("not admitted: %s", x.verdict())
		}
	}
	fence := r.command(a, []byte{0x5f, prPreemptAndAbort, byte(exclusiveAccess), 0, 0, 0, 0, 0, 24, 0}, prList(1, 2, 0))
	r.u.Submit(t.Context(), []*Command{&fence.Command})
	<-cancelled
	if fence.count.Load() != 0 {
		t.Error("answered while a command of the node that it fences off goes on")
	}
	close(stop)
	if got := fence.wait(t).verdict(); got != "good" {
		t.Error(got)
	}
	stubborn.wait(t)

	if r.u.Enter([]*Command{&late.Command}) {
		t.Error("a write that was admitted before the fence is carried out after it")
		r.u.Leave()
	}
	r.u.Go(t.Context(), &later.Command, func(context.Context) { t.Error("work behind the fence") })
	if got := later.wait(t).verdict(); got != "conflict" {
		t.Errorf("work that was admitted before the fence: %s", got)
	}
	r.u.Go(t.Context(), &other.Command, func(context.Context) { r.u.Finished(&other.Command); other.Complete() })
	if got := other.wait(t).verdict(); got != "good" {
		t.Errorf("what everybody may do: %s", got)
	}
	close(over)
	if got := bystander.wait(t).verdict(); got != "good" {
		t.Errorf("a command of somebody else: %s", got)
	}
	r.expect(b, turCDB, nil, "6/2a05")
	r.expect(b, writeCDB, nil, "conflict")
}

// TestFenceWithoutEnd aborts a PREEMPT AND ABORT that waits for a command which does not end.
func TestFenceWithoutEnd(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.nexus("a"), r.nexus("b")
	r.must(r.prOut(a, prRegister, 0, 0, 1, 0))
	r.must(r.prOut(b, prRegister, 0, 0, 2, 0))
	started, stop := make(chan struct{}), make(chan struct{})
	r.work = func(context.Context) Status { close(started); <-stop; return Good }
	stuck := r.command(b, workCDB, nil)
	r.u.Submit(t.Context(), []*Command{&stuck.Command})
	<-started
	fence := r.command(a, []byte{0x5f, prPreemptAndAbort, byte(exclusiveAccess), 0, 0, 0, 0, 0, 24, 0}, prList(1, 2, 0))
	r.u.Submit(t.Context(), []*Command{&fence.Command})
	r.u.Abort(&fence.Command)
	if got := fence.wait(t).verdict(); got != "status 40" {
		t.Error(got)
	}
	close(stop)
	stuck.wait(t)
}

// TestFenceEachOther: of two nodes that fence each other off one wins, and neither waits for the
// other for ever.
func TestFenceEachOther(t *testing.T) {
	for range 50 {
		r := newRig(t, nil)
		a, b := r.nexus("a"), r.nexus("b")
		r.must(r.prOut(a, prRegister, 0, 0, 1, 0))
		r.must(r.prOut(b, prRegister, 0, 0, 2, 0))
		cdb := []byte{0x5f, prPreemptAndAbort, byte(exclusiveAccess), 0, 0, 0, 0, 0, 24, 0}
		x, y := r.command(a, cdb, prList(1, 2, 0)), r.command(b, cdb, prList(2, 1, 0))
		r.u.Submit(t.Context(), []*Command{&x.Command})
		r.u.Submit(t.Context(), []*Command{&y.Command})
		got := map[string]int{}
		got[x.wait(t).verdict()]++
		got[y.wait(t).verdict()]++
		if got["good"] != 1 || got["conflict"]+got["status 40"]+got["6/2a05"] != 1 {
			t.Fatalf("%v", got)
		}
	}
}

// hanging is a Registry that takes its time.
type hanging struct {
	memory
	asked, goOn chan struct{}
}

func (h *hanging) Save(ctx context.Context, state []byte) error {
	h.asked <- struct{}{}
	<-h.goOn
	return h.memory.Save(ctx, state)
}

// TestSavingHoldsUpNobody: while reservations are saved other commands go on, and a reservation
// does not count before it is kept.
func TestSavingHoldsUpNobody(t *testing.T) {
	h := &hanging{asked: make(chan struct{}, 1), goOn: make(chan struct{}, 1)}
	r := newRig(t, h)
	a, b := r.nexus("a"), r.nexus("b")
	h.goOn <- struct{}{}
	r.must(r.prOut(a, prRegister, 0, 0, 1, 1))
	<-h.asked
	x := r.command(a, []byte{0x5f, prReserve, byte(exclusiveAccess), 0, 0, 0, 0, 0, 24, 0}, prList(1, 0, 0))
	r.u.Submit(t.Context(), []*Command{&x.Command})
	<-h.asked
	r.expect(b, writeCDB, nil, "good")
	r.expect(b, turCDB, nil, "good")
	r.expect(b, []byte{0x16, 0, 0, 0, 0, 0}, nil, "status 08") // RESERVE: BUSY
	if x.count.Load() != 0 {
		t.Error("answered before it is kept")
	}
	h.goOn <- struct{}{}
	if got := x.wait(t).verdict(); got != "good" {
		t.Error(got)
	}
	r.expect(b, writeCDB, nil, "conflict")
}

// TestParameterLists: of a list that will be refused nothing is taken.
func TestParameterLists(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	r.must(r.prOut(n, prRegister, 0, 0, 1, 0))
	for _, length := range []byte{0, 8, 23, 25, 255} {
		cdb := []byte{0x5f, prRegister, 0, 0, 0, 0, 0, 0, length, 0}
		if got := r.u.OutLength(cdb); got != 0 {
			t.Errorf("%d bytes are taken of %d", got, length)
		}
		r.expect(n, cdb, make([]byte, length), "5/1a00")
	}
	huge := []byte{0x5f, prRegister, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0}
	if got := r.u.OutLength(huge); got != 0 {
		t.Errorf("%d bytes are taken of 4 GiB", got)
	}
	r.expect(n, []byte{0x5f, prRegister, 0, 0, 0, 0, 0, 0, 24, 0}, make([]byte, 8), "5/1a00")
}

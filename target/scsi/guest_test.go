package scsi

import (
	"context"
	"errors"
	"testing"
)

// TestGuestMatrix: who may be a guest under every type of reservation. A guest has the rights of the
// best registered of its initiator's ports.
func TestGuestMatrix(t *testing.T) {
	const yes, no = true, false
	for _, tt := range []struct {
		typ                                      prType
		strangerReads, registeredReads           bool
		strangerWrites, registeredWrites, holder bool
	}{
		{writeExclusive, yes, yes, no, no, yes},
		{exclusiveAccess, no, no, no, no, yes},
		{writeExclusiveRegs, yes, yes, no, yes, yes},
		{exclusiveAccessRegs, no, yes, no, yes, yes},
		{writeExclusiveAll, yes, yes, no, yes, yes},
		{exclusiveAccessAll, no, yes, no, yes, yes},
	} {
		r := newRig(t, nil)
		holder, registered := r.nexus("holder"), r.nexus("registered")
		r.must(r.prOut(holder, prRegister, 0, 0, 1, 0))
		r.must(r.prOut(registered, prRegister, 0, 0, 2, 0))
		r.must(r.prOut(holder, prReserve, tt.typ, 1, 0, 0))
		for _, who := range []struct {
			nexus         *Nexus
			reads, writes bool
		}{
			{&Nexus{Initiator: "stranger"}, tt.strangerReads, tt.strangerWrites},
			{elsewhere(registered), tt.registeredReads, tt.registeredWrites},
			{elsewhere(holder), tt.holder, tt.holder},
		} {
			for access, want := range map[Access]bool{Reads: who.reads, Writes: who.writes} {
				_, leave, err := r.u.Join(t.Context(), &Command{Nexus: who.nexus}, access)
				if got := err == nil; got != want || err != nil && !errors.Is(err, ErrConflict) {
					t.Errorf("type %d, %s, access %d: %v", tt.typ, who.nexus.Initiator, access, err)
				}
				if err == nil {
					leave()
				}
			}
		}
	}
}

// elsewhere is a nexus of the same initiator with another unit: through another of its ports.
func elsewhere(n *Nexus) *Nexus {
	return &Nexus{Initiator: n.Initiator, ISID: [6]byte{0x80, 0xff}, Portal: 1}
}

// TestGuestAndReserve: RESERVE of SPC-2 keeps guests of other initiators out, also those who read.
func TestGuestAndReserve(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.nexus("a"), r.nexus("b")
	r.expect(a, []byte{0x16, 0, 0, 0, 0, 0}, nil, "good")
	if _, leave, err := r.u.Join(t.Context(), &Command{Nexus: elsewhere(a)}, Writes); err != nil {
		t.Error(err)
	} else {
		leave()
	}
	if _, _, err := r.u.Join(t.Context(), &Command{Nexus: elsewhere(b)}, Reads); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
}

// TestGuestIsFencedOff: PREEMPT AND ABORT cancels the guests of the initiator that is fenced off, and
// no others, and is answered when they have left.
func TestGuestIsFencedOff(t *testing.T) {
	r := newRig(t, nil)
	a, b, c := r.nexus("a"), r.nexus("b"), r.nexus("c")
	r.must(r.prOut(a, prRegister, 0, 0, 1, 0))
	r.must(r.prOut(b, prRegister, 0, 0, 2, 0))
	join := func(n *Nexus) (context.Context, func()) {
		ctx, leave, err := r.u.Join(t.Context(), &Command{Nexus: elsewhere(n)}, Writes)
		if err != nil {
			t.Fatal(err)
		}
		return ctx, leave
	}
	guest, leave := join(b)
	bystander, leaveToo := join(c)
	fence := r.command(a, []byte{0x5f, prPreemptAndAbort, byte(exclusiveAccess), 0, 0, 0, 0, 0, 24, 0}, prList(1, 2, 0))
	r.u.Submit(t.Context(), []*Command{&fence.Command})
	<-guest.Done()
	if fence.count.Load() != 0 {
		t.Error("answered while a guest is still here")
	}
	leave()
	if got := fence.wait(t).verdict(); got != "good" {
		t.Error(got)
	}
	if bystander.Err() != nil {
		t.Error("somebody else's guest was cancelled")
	}
	leaveToo()
}

// TestExpel waits for the guests, or for its own end, and lets nobody in afterwards.
func TestExpel(t *testing.T) {
	r := newRig(t, nil)
	guest, leave, err := r.u.Join(t.Context(), &Command{Nexus: r.nexus("a")}, Writes)
	if err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	if err := r.u.Expel(over); !errors.Is(err, context.Canceled) {
		t.Errorf("with a guest that stays: %v", err)
	}
	if guest.Err() == nil {
		t.Error("the guest does not know")
	}
	leave()
	if err := r.u.Expel(t.Context()); err != nil {
		t.Error(err)
	}
	if _, _, err := r.u.Join(t.Context(), &Command{Nexus: r.nexus("a")}, Reads); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

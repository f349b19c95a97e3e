package target

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/target/pdu"
	"sluice/target/scsi"
)

// events receives until the connection is closed, and then gives the asynchronous events
// that it was told of.
func (i *initiator) events() <-chan []pdu.AsyncEvent {
	done := make(chan []pdu.AsyncEvent, 1)
	go func() {
		var events []pdu.AsyncEvent
		for {
			h, _, err := i.tryReceive()
			if err != nil {
				done <- events
				return
			}
			if h.Opcode() == pdu.OpAsync {
				var a pdu.Async
				a.Unmarshal(&h)
				events = append(events, a.Event)
			}
		}
	}()
	return done
}

func (i *initiator) async() (a pdu.Async) {
	i.t.Helper()
	h, _ := i.expect(pdu.OpAsync)
	a.Unmarshal(&h)
	return a
}

// remove removes the rig's target and returns how long that took.
func (r *rig) remove() <-chan time.Duration {
	took := make(chan time.Duration, 1)
	begin := time.Now()
	go func() {
		if err := r.RemoveTarget(context.Background(), targetIQN); err != nil {
			r.t.Error(err)
		}
		took <- time.Since(begin)
	}()
	return took
}

// TestRemovedTargetAsksForLogout: who logs out when asked to is not disconnected, the
// removal waits no longer than for that, and sessions with other targets do not notice.
func TestRemovedTargetAsksForLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		const other = "iqn.2026-11.test:other"
		if err := r.AddTarget(Target{Name: other}); err != nil {
			t.Fatal(err)
		}
		bystander := r.connect()
		if status, _ := bystander.tryLogin("SessionType=Normal", "TargetName="+other); status != pdu.LoginSuccess {
			t.Fatalf("status %04x", uint16(status))
		}
		i := r.login()
		took := r.remove()
		if a := i.async(); a.Event != pdu.AsyncLogoutRequest || a.Param3 != 3 {
			t.Fatalf("told of %+v", a)
		}
		time.Sleep(time.Second)
		i.logout()
		_ = i.conn.Close()
		if d := <-took; d != time.Second {
			t.Fatalf("removed after %v", d)
		}
		bystander.silence()
	})
}

// TestRemovedTargetDropsTheDeaf: who does not log out is told that it is disconnected, when
// its commands have been aborted.
func TestRemovedTargetDropsTheDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		hang := newHanger(r.disk)
		i := r.login("DefaultTime2Wait=2", "DefaultTime2Retain=0")
		i.read(0, 1)
		hang.wait(1)
		took := r.remove()
		i.async()
		if a := i.async(); a.Event != pdu.AsyncDropSession || a.Param2 != 2 || a.Param3 != 0 {
			t.Fatalf("told of %+v", a)
		}
		i.closed()
		if d := <-took; d != 3*time.Second {
			t.Fatalf("removed after %v", d)
		}
		if running, nexuses := r.disk.inUse(); running != 0 || nexuses != 0 {
			t.Fatal("it is still in use")
		}
	})
}

// TestRemovedTargetDropsTheStuck: one that does not even read what it is sent holds up the
// removal for a moment only, and no other initiator.
func TestRemovedTargetDropsTheStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		stuck := r.login()
		stuck.read(0, 100) // and it never reads the answer
		synctest.Wait()
		other := r.connect()
		other.isid[5] = 3
		other.mustLogin()
		took := r.remove()
		if a := other.async(); a.Event != pdu.AsyncLogoutRequest {
			t.Fatalf("told of %+v", a)
		}
		other.logout()
		_ = other.conn.Close()
		if d := <-took; d != 3*time.Second+farewellTime {
			t.Fatalf("removed after %v", d)
		}
	})
}

// TestRemovalGivesUp: a removal ends with its context also when a command does not.
func TestRemovalGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		r.disk.inline = false
		release := make(chan struct{})
		r.disk.hook = func(context.Context, *scsi.Command, <-chan struct{}) bool {
			<-release
			return false
		}
		i := r.login()
		i.read(0, 1)
		events := i.events()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.RemoveTarget(ctx, targetIQN); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		close(release)
		<-events
	})
}

// TestDroppedSessionIsTold: an administrator's decision takes effect at once, but not in
// silence.
func TestDroppedSessionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		events := r.login().events()
		begin := time.Now()
		n, err := r.DropSessions(t.Context(), targetIQN, func(SessionInfo) bool { return true })
		if n != 1 || err != nil || time.Since(begin) != 0 {
			t.Fatalf("dropped %d after %v: %v", n, time.Since(begin), err)
		}
		if got := <-events; !slices.Equal(got, []pdu.AsyncEvent{pdu.AsyncDropSession}) {
			t.Fatalf("it was told of events %v", got)
		}
	})
}

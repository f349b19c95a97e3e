package target

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/target/pdu"
	"sluice/target/scsi"
)

// maxCmdSN receives a response with status GOOD and returns the window's end.
func (i *initiator) maxCmdSN() pdu.SN { i.t.Helper(); return i.good().MaxCmdSN }

// TestWindowUnderLoad: an initiator that keeps the window full never has more commands in
// the target than that, and all of them are answered, whatever the order they end in.
func TestWindowUnderLoad(t *testing.T) {
	const window, total = 16, 5000
	r := newRig(t, true, Options{Limits: Limits{CommandWindow: window}})
	var inside, most atomic.Int32
	r.disk.inline = false
	r.disk.hook = func(context.Context, *scsi.Command, <-chan struct{}) bool {
		n := inside.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		for range rand.IntN(100) { // they end in no order
			_ = most.Load()
		}
		inside.Add(-1)
		return true
	}
	i := r.login()
	end := i.cmdSN.Add(window - 1)
	answered := 0
	for sent := 0; answered < total; answered++ {
		for ; sent < total && !end.Less(i.cmdSN); sent++ {
			i.command(pdu.SCSICommand{Final: true}, nil)
		}
		end = i.maxCmdSN()
	}
	if n := most.Load(); n > window {
		t.Fatalf("%d commands at once", n)
	}
	i.silence()
}

// TestWindowIsKept: what an initiator sends beyond the window is ignored (RFC 7143 4.2.2.1),
// and does no harm to what is within.
func TestWindowIsKept(t *testing.T) {
	const window = 16
	r := newRig(t, true, Options{Limits: Limits{CommandWindow: window}})
	hang := newHanger(r.disk)
	i := r.login()
	for range 10 * window {
		i.write(0, 1, true, make([]byte, sector))
	}
	hang.wait(window)
	i.cmdSN -= 9 * window
	i.silence()
	if n := len(hang.started); n != 0 {
		t.Fatalf("%d more were executed", n)
	}
	close(hang.release)
	for range window {
		i.good()
	}
	i.write(0, 1, true, make([]byte, sector))
	i.good()
}

// TestWindowClosesForMemory: while much memory is in use the window does not move on, so that
// an initiator has to wait; when it is given back the window opens again.
func TestWindowClosesForMemory(t *testing.T) {
	const window, size = 64, 128 // size in sectors: 64 KiB, which needs no permission
	r := newRig(t, true, Options{Limits: Limits{CommandWindow: window, SessionMemory: 1 << 20}})
	hang := newHanger(r.disk)
	i := r.login("FirstBurstLength=65536", "MaxBurstLength=262144")
	begin := i.cmdSN
	for range 32 { // 2 MiB
		i.write(0, size, true, make([]byte, size*sector))
	}
	hang.wait(32)
	hang.release <- struct{}{}
	if got, want := i.maxCmdSN(), begin.Add(window-1); got != want {
		t.Fatalf("the window has moved by %d while memory is short", uint32(got-want))
	}
	close(hang.release)
	var last pdu.SN
	for range 31 {
		last = i.maxCmdSN()
	}
	if want := i.cmdSN.Add(window - 1); last != want {
		t.Fatalf("the window ends at %d, expected %d", last, want)
	}
}

// TestMemoryIsBounded: large reads and writes take turns, and no more than the session's
// share is used whatever is asked for; all get their turn.
func TestMemoryIsBounded(t *testing.T) {
	const size = 1024 // sectors: 512 KiB
	limit := int64(2 << 20)
	r := newRig(t, true, Options{Limits: Limits{SessionMemory: int(limit)}})
	i := r.login("InitialR2T=Yes", "ImmediateData=No", "MaxBurstLength=524288")
	for range 60 {
		i.write(0, size, true, nil)
	}
	c := r.sessionsOf("")[0].conn.Load()
	for n := 0; n < 60; {
		h, _ := i.receive()
		// One transfer more: that of a session in which all others wait is let through.
		if used := c.memory.Load(); used > limit+size*sector {
			t.Fatalf("%d bytes in use", used)
		}
		switch h.Opcode() {
		case pdu.OpR2T:
			var r pdu.R2T
			r.Unmarshal(&h)
			i.sendBurst(&r)
		case pdu.OpSCSIResponse:
			i.expSN++
			n++
		default:
			t.Fatalf("opcode %#02x", byte(h.Opcode()))
		}
	}
	i.silence()
	if used := c.memory.Load(); used != 0 {
		t.Fatalf("%d bytes are still counted", used)
	}
}

// sendBurst sends what an R2T asks for.
func (i *initiator) sendBurst(r *pdu.R2T) {
	i.t.Helper()
	const most = 64 << 10
	for off, sn := uint32(0), pdu.SN(0); off < r.Length; off, sn = off+most, sn+1 {
		n := min(most, r.Length-off)
		d := pdu.DataOut{Final: off+n == r.Length, ITT: r.ITT, TTT: r.TTT, DataSN: sn, Offset: r.Offset + off}
		i.dataOut(d, make([]byte, n))
	}
}

// TestVanishedInitiator: a peer that is gone without a word, in the middle of everything, is
// found within the configured time, and nothing of it is left.
func TestVanishedInitiator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{Limits: Limits{PingAfter: 6 * time.Second}})
		hang := newHanger(r.disk)
		i := r.login("InitialR2T=Yes", "ImmediateData=No")
		i.read(0, 1)
		i.read(8, 1)
		hang.wait(2)
		i.write(0, 100, true, nil) // its data will never come
		i.r2t()
		half := header(&pdu.SCSICommand{Final: true, CmdSN: i.cmdSN, ITT: 99})
		if _, err := i.conn.Write(half[:20]); err != nil {
			t.Fatal(err)
		}
		c := r.sessionsOf("")[0].conn.Load()
		begin := time.Now()
		events := i.events() // it takes what it is sent, and says nothing
		<-c.gone
		if d := time.Since(begin); d < 12*time.Second || d > 14*time.Second {
			t.Fatalf("found after %v", d)
		}
		<-events
		synctest.Wait()
		if used, n := c.memory.Load(), len(c.tasks); used != 0 || n != 0 {
			t.Fatalf("%d bytes and %d tasks are left", used, n)
		}
		if running, nexuses := r.disk.inUse(); len(r.Sessions("")) != 0 || running != 0 || nexuses != 0 {
			t.Fatal("the session is still there")
		}
	})
}

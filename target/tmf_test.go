package target

import (
	"bytes"
	"context"
	"testing"
	"time"

	"sluice/target/pdu"
	"sluice/target/scsi"
)

// hanger makes the commands of a disk hang until they are released, aborted or cancelled.
type hanger struct {
	release chan struct{}
	started chan struct{}
}

func newHanger(d *ramDisk) *hanger {
	h := &hanger{release: make(chan struct{}), started: make(chan struct{}, 1000)}
	d.inline = false
	d.hook = func(ctx context.Context, cmd *scsi.Command, abort <-chan struct{}) bool {
		h.started <- struct{}{}
		select {
		case <-h.release:
			return false
		case <-abort:
		case <-ctx.Done():
		}
		cmd.Status = scsi.TaskAborted
		return true
	}
	return h
}

func (h *hanger) wait(n int) {
	for range n {
		<-h.started
	}
}

func hookFor(see func(cdb []byte)) func(context.Context, *scsi.Command, <-chan struct{}) bool {
	return func(_ context.Context, cmd *scsi.Command, _ <-chan struct{}) bool {
		see(cmd.CDB)
		return true
	}
}

func (i *initiator) manage(p pdu.TaskRequest) {
	i.t.Helper()
	p.Immediate, p.ITT, p.CmdSN, p.ExpStatSN = true, 0xabc, i.cmdSN, i.expSN
	i.request(header(&p))
}

func (i *initiator) managed(want pdu.TaskResult) {
	i.t.Helper()
	h, _ := i.expect(pdu.OpTaskResponse)
	var r pdu.TaskResponse
	r.Unmarshal(&h)
	if r.ITT != 0xabc || r.Result != want {
		i.t.Fatalf("task management response %+v, expected result %d", r, want)
	}
}

// TestAbortTask: a command that hangs is cancelled, and gets no response; another one goes on.
func TestAbortTask(t *testing.T) {
	r := newRig(t, true, Options{})
	hang := newHanger(r.disk)
	i := r.login()
	keep, victim := i.read(0, 1), i.read(1, 1)
	hang.wait(2)
	i.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: victim, RefCmdSN: i.cmdSN - 1})
	i.managed(pdu.TaskComplete)
	i.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: victim, RefCmdSN: i.cmdSN - 1})
	i.managed(pdu.TaskNotFound)
	close(hang.release)
	if h, _ := i.expect(pdu.OpDataIn); h.ITT() != keep {
		t.Fatalf("an answer for task %d", h.ITT())
	}
	i.expSN++
	i.silence()
}

// TestAbortWaitsForData: a write that is aborted while its data is on the way is not
// executed, and what still comes is swallowed.
func TestAbortWaitsForData(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login("InitialR2T=Yes", "ImmediateData=No")
	itt := i.write(0, 2, true, nil)
	r2t := i.r2t()
	i.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: itt, RefCmdSN: i.cmdSN - 1})
	i.managed(pdu.TaskComplete)
	i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: r2t.TTT}, bytes.Repeat([]byte{1}, 2*sector))
	i.silence()
	if !bytes.Equal(r.disk.data, make([]byte, len(r.disk.data))) {
		t.Fatal("the aborted write was executed")
	}
	i.itt-- // the tag is free again
	itt = i.write(0, 1, true, nil)
	r2t = i.r2t()
	i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: r2t.TTT}, make([]byte, sector))
	i.good()
}

// TestLostCommand: the number of a command that never came counts as received once the
// initiator aborts it.
func TestLostCommand(t *testing.T) {
	i := newRig(t, true, Options{}).login()
	i.cmdSN++ // the command before was lost
	i.read(0, 1)
	i.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: 0x77, RefCmdSN: i.cmdSN - 2})
	i.managed(pdu.TaskComplete)
	i.expect(pdu.OpDataIn)
	i.expSN++
	i.silence()
}

// TestSetFunctions aborts the tasks of one or of all sessions.
func TestSetFunctions(t *testing.T) {
	for _, c := range []struct {
		function pdu.TaskFunction
		others   bool // tasks of other sessions end too
		resets   int
	}{
		{pdu.TaskAbortSet, false, 0},
		{pdu.TaskClearSet, true, 0},
		{pdu.TaskLUReset, true, 1},
		{pdu.TaskTargetWarmReset, true, 1},
	} {
		r := newRig(t, true, Options{})
		hang := newHanger(r.disk)
		one := r.login()
		two := r.connect()
		two.isid[5] = 9
		two.mustLogin()
		one.read(0, 1)
		one.write(1, 1, true, make([]byte, sector))
		two.read(0, 1)
		hang.wait(3)
		one.manage(pdu.TaskRequest{Function: c.function, ReferencedTag: pdu.NoTag})
		one.managed(pdu.TaskComplete)
		close(hang.release)
		if !c.others {
			two.expect(pdu.OpDataIn)
			two.expSN++
		}
		one.silence()
		two.silence()
		if r.disk.resets != c.resets {
			t.Errorf("function %d: %d resets, expected %d", c.function, r.disk.resets, c.resets)
		}
	}
}

// TestResponseWaits: a function is answered after the tasks have ended, not before.
func TestResponseWaits(t *testing.T) {
	r := newRig(t, true, Options{})
	r.disk.inline = false
	started, release := make(chan struct{}), make(chan struct{})
	r.disk.hook = func(context.Context, *scsi.Command, <-chan struct{}) bool {
		close(started)
		<-release // deaf to everything
		return false
	}
	i := r.login()
	i.write(0, 1, true, bytes.Repeat([]byte{7}, sector))
	<-started
	i.manage(pdu.TaskRequest{Function: pdu.TaskLUReset, ReferencedTag: pdu.NoTag})
	i.silence()
	close(release)
	i.managed(pdu.TaskComplete)
	if r.disk.data[0] != 7 || r.disk.resets != 1 {
		t.Fatal("the response came before the end of the command")
	}
	i.silence()
}

// TestFunctionFlood: functions that wait for a command which does not end are few; the others
// are rejected, so that they cannot eat memory.
func TestFunctionFlood(t *testing.T) {
	r := newRig(t, true, Options{})
	r.disk.inline = false
	started, release := make(chan struct{}), make(chan struct{})
	r.disk.hook = func(context.Context, *scsi.Command, <-chan struct{}) bool {
		close(started)
		<-release
		return false
	}
	i := r.login()
	i.read(0, 1)
	<-started
	const flood = 10 * maxFunctions
	for range flood {
		i.manage(pdu.TaskRequest{Function: pdu.TaskAbortSet, ReferencedTag: pdu.NoTag})
	}
	for range flood - maxFunctions {
		i.managed(pdu.TaskRejected)
	}
	close(release)
	for range maxFunctions {
		i.managed(pdu.TaskComplete)
	}
	i.manage(pdu.TaskRequest{Function: pdu.TaskAbortSet, ReferencedTag: pdu.NoTag})
	i.managed(pdu.TaskComplete)
}

func TestFunctionsThatAreRefused(t *testing.T) {
	i := newRig(t, true, Options{}).login()
	for _, c := range []struct {
		p    pdu.TaskRequest
		want pdu.TaskResult
	}{
		{pdu.TaskRequest{Function: pdu.TaskReassign}, pdu.TaskReassignUnsupported},
		{pdu.TaskRequest{Function: pdu.TaskClearACA}, pdu.TaskUnsupported},
		{pdu.TaskRequest{Function: 0x70}, pdu.TaskUnsupported},
		{pdu.TaskRequest{Function: pdu.TaskLUReset, LUN: 5 << 48}, pdu.TaskNoLUN},
		{pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: 1234}, pdu.TaskNotFound},
	} {
		i.manage(c.p)
		i.managed(c.want)
	}
}

// TestColdReset answers, and then ends all sessions.
func TestColdReset(t *testing.T) {
	r := newRig(t, true, Options{})
	one := r.login()
	two := r.connect()
	two.isid[5] = 9
	two.mustLogin()
	one.manage(pdu.TaskRequest{Function: pdu.TaskTargetColdReset})
	one.managed(pdu.TaskComplete)
	one.closed()
	two.closed()
}

// TestCommandsEndWithTheConnection: what hangs is cancelled when the initiator is gone.
func TestCommandsEndWithTheConnection(t *testing.T) {
	r := newRig(t, true, Options{})
	hang := newHanger(r.disk)
	i := r.login()
	for range 20 {
		i.read(0, 1)
	}
	hang.wait(20)
	ses := r.sessionsOf("")[0]
	_ = i.conn.Close()
	select {
	case <-ses.gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the session does not end")
	}
	if _, nexuses := r.disk.inUse(); nexuses != 0 {
		t.Fatal("the nexus is still attached")
	}
}

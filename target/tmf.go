package target

import (
	"sync/atomic"

	"sluice/target/pdu"
	"sluice/target/scsi"
)

// maxFunctions is how many task management functions of one connection may wait for the end of
// tasks.
const maxFunctions = 32

// taskFunction is a task management function under way (RFC 7143 11.5). Its response is
// sent when the last of the tasks that it aborts has ended.
type taskFunction struct {
	c    *conn
	p    pdu.TaskRequest
	left atomic.Int32 // tasks that have not ended, and one more while they are looked for
	// others are the sessions, but for that of c, whose tasks it has aborted.
	others  []*session
	aborted int // how many tasks it has aborted
}

// taskEnded is called with the lock of some connection held.
func (f *taskFunction) taskEnded() {
	if f.left.Add(-1) == 0 {
		f.c.srv.running.Go(func() { f.finish(pdu.TaskComplete) })
	}
}

// onTaskRequest takes a Task Management Function Request.
func (c *conn) onTaskRequest(r *request) error {
	f := &taskFunction{c: c}
	f.p.Unmarshal(&r.h)
	if c.ses.target == nil {
		return c.reject(&r.h, nil, pdu.ReasonProtocolError)
	}
	c.mu.Lock()
	c.pending++
	busy := c.pending > maxFunctions
	c.mu.Unlock()
	if busy {
		f.finish(pdu.TaskRejected)
		return c.catchUp()
	}
	c.submitBatch() // what came before is to be found where it will be looked for
	f.left.Store(1)
	result := f.start()
	if result != pdu.TaskComplete || f.left.Add(-1) == 0 {
		f.finish(result)
	}
	return c.catchUp()
}

// start aborts the tasks that a function is about.
func (f *taskFunction) start() pdu.TaskResult {
	t := f.c.ses.target
	lu := t.unit(f.p.LUN)
	onUnit := func(m *command) bool { return m.lu == lu }
	switch f.p.Function {
	case pdu.TaskAbort, pdu.TaskAbortSet, pdu.TaskClearSet, pdu.TaskLUReset:
		if lu == t.Other {
			return pdu.TaskNoLUN
		}
	default: // not about one unit, or not supported
	}
	switch f.p.Function {
	case pdu.TaskAbort:
		return f.abortTask(lu)
	case pdu.TaskAbortSet:
		f.aborted = f.c.abort(f, onUnit)
	case pdu.TaskClearSet, pdu.TaskLUReset:
		f.everywhere(onUnit)
	case pdu.TaskTargetWarmReset, pdu.TaskTargetColdReset:
		f.everywhere(func(*command) bool { return true })
	case pdu.TaskReassign: // it needs ErrorRecoveryLevel 2
		return pdu.TaskReassignUnsupported
	default:
		return pdu.TaskUnsupported
	}
	return pdu.TaskComplete
}

// everywhere aborts tasks of all sessions with the target.
func (f *taskFunction) everywhere(match func(*command) bool) {
	for _, ses := range f.c.srv.sessionsOf(f.c.ses.targetName()) {
		n := ses.conn.Load().abort(f, match)
		f.aborted += n
		if n > 0 && ses != f.c.ses {
			f.others = append(f.others, ses)
		}
	}
}

func (f *taskFunction) abortTask(lu scsi.LogicalUnit) pdu.TaskResult {
	c := f.c
	n := c.abort(f, func(m *command) bool { return m.itt == f.p.ReferencedTag && m.lu == lu })
	if f.aborted = n; n > 0 {
		return pdu.TaskComplete
	}
	// A command that was lost on the way: its number counts as received (RFC 7143 11.6.1).
	exp := pdu.SN(c.expCmdSN.Load())
	_, held := c.held[f.p.RefCmdSN]
	if !held && f.p.RefCmdSN.In(exp, pdu.SN(c.maxCmdSN.Load())) && f.p.RefCmdSN.Less(f.p.CmdSN) {
		c.held[f.p.RefCmdSN] = request{void: true}
		return pdu.TaskComplete
	}
	return pdu.TaskNotFound
}

// finish ends a function: resets tell the logical units, and the initiator is answered.
func (f *taskFunction) finish(result pdu.TaskResult) {
	c, t := f.c, f.c.ses.target
	ctl := c.srv.newControl()
	if result == pdu.TaskComplete {
		switch f.p.Function {
		case pdu.TaskClearSet:
			if lu, ok := t.unit(f.p.LUN).(Clearer); ok {
				for _, ses := range f.others {
					lu.Cleared(ses.nexus)
				}
			}
		case pdu.TaskLUReset:
			t.unit(f.p.LUN).Reset(c.ses.nexus)
		case pdu.TaskTargetWarmReset, pdu.TaskTargetColdReset:
			for _, lu := range t.units() {
				lu.Reset(c.ses.nexus)
			}
		default: // no reset
		}
		if f.p.Function == pdu.TaskTargetColdReset { // it ends all sessions (RFC 7143 11.5.1)
			ctl.sent = func() {
				for _, ses := range c.srv.sessionsOf(t.Name) {
					ses.dismiss(errColdReset)
				}
			}
		}
	}
	c.log.Info("task management", "function", byte(f.p.Function), "lun", f.p.LUN,
		"result", byte(result), "aborted", f.aborted)
	answer := pdu.TaskResponse{Result: result, ITT: f.p.ITT}
	answer.Marshal(&ctl.h)
	ctl.status = true
	c.mu.Lock()
	c.pending--
	c.push(ctl)
	c.flush()
}

// abort cancels the commands that match and returns how many they are. Those that have not
// reached their logical unit end at once; f, unless it is nil, learns when the others have.
func (c *conn) abort(f *taskFunction, match func(*command) bool) int {
	var running []*command
	n := 0
	c.mu.Lock()
	for _, m := range c.tasks {
		if !match(m) {
			continue
		}
		n++
		m.aborted = true
		if f != nil {
			f.left.Add(1)
			m.reports = append(m.reports, f)
		}
		if _, ok := m.lu.(Aborter); ok && m.stage == submitted {
			m.pins++
			running = append(running, m)
			c.retry = c.sending > 0
		}
		c.bury(m)
	}
	c.mu.Unlock()
	for _, m := range running {
		m.lu.(Aborter).Abort(&m.Command)
	}
	c.mu.Lock()
	for _, m := range running {
		c.unpin(m)
	}
	c.flush()
	return n
}

package scsi

import (
	"context"
	"encoding/binary"
)

// prListLength is that of the only parameter list we know: the one without TransportIDs.
const prListLength = 24

// prOutLength takes no list of another length; the command fails for it.
func prOutLength(cdb []byte) int64 {
	if binary.BigEndian.Uint32(cdb[5:]) != prListLength {
		return 0
	}
	return prListLength
}

// prOut carries out PERSISTENT RESERVE OUT (SPC-4 6.16), in a goroutine since it may have to
// save the registrations and to wait for commands that it aborts.
//
//	parameter list   0  reservation key (8)
//	                 8  service action reservation key (8)
//	                20  SPEC_I_PT 08, ALL_TG_PT 04, APTPL 01
func (u *Unit) prOut(ctx context.Context, c *Command) {
	if prOutLength(c.CDB) == 0 || len(c.Out) < prListLength {
		u.Fail(c, Illegal(ParameterListLength))
		return
	}
	q := &prRequest{
		action: int(c.CDB[1] & 0x1f), port: portOf(c.Nexus), typ: prType(c.CDB[2] & 0x0f),
		key: binary.BigEndian.Uint64(c.Out), new: binary.BigEndian.Uint64(c.Out[8:]), aptpl: c.Out[20]&0x01 != 0,
	}
	if bad := u.checkRequest(c, q.action, q.typ); bad != nil {
		u.Fail(c, *bad)
		return
	}
	u.Go(ctx, c, func(ctx context.Context) {
		status, bad := u.changeRegistrations(ctx, q)
		u.Finished(c)
		if bad != nil {
			u.Fail(c, *bad)
			return
		}
		c.Status, c.Transfer = status, prListLength
		c.Complete()
	})
}

// checkRequest looks for what a service action does not know or we do not support.
func (u *Unit) checkRequest(c *Command, action int, t prType) *Sense {
	var s Sense
	switch action {
	case prRegister, prRegisterAndIgnore:
		switch flags := c.Out[20]; {
		case flags&0x08 != 0: // SPEC_I_PT
			s = BadParameter(20, 3)
		case flags&0x04 != 0: // ALL_TG_PT
			s = BadParameter(20, 2)
		case flags&0x01 != 0 && u.cfg.Registry == nil: // APTPL
			s = BadParameter(20, 0)
		default:
			return nil
		}
	case prReserve, prRelease, prPreempt, prPreemptAndAbort:
		switch {
		case c.CDB[2]>>4 != 0: // of all scopes there is only that of the unit
			s = BadField(2, 7)
		case !t.valid():
			s = BadField(2, 3)
		default:
			return nil
		}
	default:
		return nil
	}
	return &s
}

// changeRegistrations carries out a request on a copy of the registrations, saves it, and
// makes it current. It returns when nothing of what was preempted goes on.
func (u *Unit) changeRegistrations(ctx context.Context, q *prRequest) (Status, *Sense) {
	result := u.change(ctx, q)
	if len(result.preempted) > 0 && u.abortAll(ctx, result.preempted) != nil {
		return TaskAborted, nil
	}
	return result.status, result.bad
}

func (u *Unit) change(ctx context.Context, q *prRequest) prResult {
	u.changing.Lock()
	defer u.changing.Unlock()
	if ctx.Err() != nil { // also if a PREEMPT AND ABORT has ended us meanwhile
		return prResult{status: TaskAborted}
	}
	u.mu.Lock()
	before, reserved := u.pr, u.holder != nil
	u.mu.Unlock()
	if reserved { // since it was admitted
		return kept()
	}
	next := before.clone()
	result := next.apply(q)
	if result.status != Good || result.bad != nil {
		return result
	}
	if u.outlast(&before) || u.outlast(&next) {
		if err := u.save(ctx, &next); err != nil {
			u.cfg.Logger.Error("persistent reservation", "error", err)
			return refused(Sense{Key: HardwareError, Code: InternalFailure})
		}
	}
	u.install(next, &result)
	return result
}

// install makes registrations current and queues the unit attentions that come of it.
func (u *Unit) install(next registrations, result *prResult) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pr = next
	if len(result.preempted) > 0 {
		u.fences.Add(1)
	}
	for n := range u.nexuses {
		port := portOf(n)
		for _, x := range result.notices {
			if x.port == port {
				u.attend(n, x.code)
			}
		}
	}
	u.updateRestricted()
}

// reserve carries out RESERVE (6) and (10) (SPC-2 7.21). Whoever comes here is not kept out
// by another's.
func (u *Unit) reserve(_ context.Context, c *Command) {
	defer c.Complete()         // when the locks are free again
	if !u.changing.TryLock() { // there may be a registrant in a moment
		c.Status = Busy
		return
	}
	defer u.changing.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.pr.Registrants) > 0 {
		c.Status = ReservationConflict
		return
	}
	u.holder = c.Nexus
	u.updateRestricted()
}

// release carries out RELEASE (6) and (10); from somebody else it does nothing (SPC-2 7.16).
func (u *Unit) release(_ context.Context, c *Command) {
	defer c.Complete() // when the locks are free again
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.pr.Registrants) > 0 {
		c.Status = ReservationConflict
		return
	}
	if u.holder == c.Nexus {
		u.holder = nil
		u.updateRestricted()
	}
}

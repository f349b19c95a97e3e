package scsi

import (
	"context"
	"encoding/binary"
	"slices"
)

// reserve carries out RESERVE (6) and (10) (SPC-2 7.21).
func (u *Unit) reserve(_ context.Context, c *Command) {
	u.mu.Lock()
	if len(u.pr.Registrants) > 0 {
		c.Status = ReservationConflict
	} else {
		u.holder = c.Nexus
		u.restricted.Store(true)
	}
	u.mu.Unlock()
	c.Complete()
}

// release carries out RELEASE (6) and (10); from somebody else it does nothing (SPC-2 7.16).
func (u *Unit) release(_ context.Context, c *Command) {
	u.mu.Lock()
	if len(u.pr.Registrants) > 0 {
		c.Status = ReservationConflict
	} else if u.holder == c.Nexus {
		u.holder = nil
		u.updateRestricted()
	}
	u.mu.Unlock()
	c.Complete()
}

// prRequest is a decoded PERSISTENT RESERVE OUT.
type prRequest struct {
	nexus    *Nexus
	port     initiatorPort
	typ      prType
	key, new uint64
	aptpl    bool
}

// prOut carries out PERSISTENT RESERVE OUT (SPC-4 6.16).
func (u *Unit) prOut(_ context.Context, c *Command) {
	if binary.BigEndian.Uint32(c.CDB[5:]) != 24 || len(c.Out) < 24 {
		u.Fail(c, Illegal(ParameterListLength))
		return
	}
	action := int(c.CDB[1] & 0x1f)
	r := prRequest{
		nexus: c.Nexus, port: portOf(c.Nexus), typ: prType(c.CDB[2] & 0x0f),
		key: binary.BigEndian.Uint64(c.Out), new: binary.BigEndian.Uint64(c.Out[8:]), aptpl: c.Out[20]&1 != 0,
	}
	switch {
	case c.Out[20]&0x08 != 0: // SPEC_I_PT
		u.Fail(c, BadParameter(20, 3))
		return
	case c.Out[20]&0x04 != 0: // ALL_TG_PT
		u.Fail(c, BadParameter(20, 2))
		return
	case r.aptpl && u.cfg.Registry == nil:
		u.Fail(c, BadParameter(20, 0))
		return
	case action == prReserve || action == prRelease || action == prPreempt || action == prPreemptAndAbort:
		if c.CDB[2]>>4 != 0 {
			u.Fail(c, BadField(2, 7))
			return
		}
		if !r.typ.valid() {
			u.Fail(c, BadField(2, 3))
			return
		}
	}
	u.mu.Lock()
	before := u.snapshot()
	status, bad := u.prAction(action, &r)
	if status == Good && bad == nil {
		if err := u.persist(); err != nil {
			u.pr = before
			u.cfg.Logger.Error("persistent reservation", "error", err)
			bad = &Sense{Key: HardwareError, Code: InternalFailure}
		}
	}
	u.updateRestricted()
	u.mu.Unlock()
	if bad != nil {
		u.Fail(c, *bad)
		return
	}
	c.Status, c.Transfer = status, 24
	c.Complete()
}

func (u *Unit) snapshot() registrations {
	s := u.pr
	s.Registrants = slices.Clone(u.pr.Registrants)
	return s
}

// prAction changes the registrations. The caller holds mu.
func (u *Unit) prAction(action int, r *prRequest) (Status, *Sense) {
	me := u.pr.find(r.port)
	switch action {
	case prRegister, prRegisterAndIgnore:
		return u.register(r, me, action == prRegisterAndIgnore)
	}
	if me == nil || me.Key != r.key {
		return ReservationConflict, nil
	}
	switch action {
	case prReserve:
		if !u.pr.reserved() {
			u.pr.reserve(r.port, r.typ)
		} else if !u.pr.holds(r.port) || u.pr.Type != r.typ {
			return ReservationConflict, nil
		}
	case prRelease:
		return Good, u.releasePersistent(r)
	case prClear:
		others := u.pr.Registrants
		u.pr.Registrants = nil
		u.pr.release()
		u.pr.Generation++
		u.attendPorts(others, r.nexus, ReservationsPreempted)
	case prPreempt, prPreemptAndAbort:
		return u.preempt(r, action == prPreemptAndAbort)
	}
	return Good, nil
}

// maxRegistrants bounds what initiators can make us keep.
const maxRegistrants = 256

// register carries out REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 5.12.7).
func (u *Unit) register(r *prRequest, me *registrant, ignore bool) (Status, *Sense) {
	switch {
	case me == nil && !ignore && r.key != 0, me != nil && !ignore && r.key != me.Key:
		return ReservationConflict, nil
	case me == nil && r.new == 0:
		return Good, nil // who is not registered has nothing to say, also not of APTPL
	case me == nil && len(u.pr.Registrants) == maxRegistrants:
		s := Illegal(InsufficientRegistrants)
		return Good, &s
	case me == nil:
		u.pr.Registrants = append(u.pr.Registrants, registrant{r.port, r.new})
	case r.new != 0:
		me.Key = r.new
	default:
		u.unregister(r, me)
	}
	u.pr.APTPL = r.aptpl
	u.pr.Generation++
	return Good, nil
}

// unregister ends a registration, and the reservation with it if it was its last holder.
func (u *Unit) unregister(r *prRequest, me *registrant) {
	held, t := u.pr.holds(me.Port), u.pr.Type
	port := me.Port
	u.pr.Registrants = slices.DeleteFunc(u.pr.Registrants, func(x registrant) bool { return x.Port == port })
	if !held || t.heldByAll() && len(u.pr.Registrants) > 0 {
		return
	}
	u.pr.release()
	if t.registrantsMay() {
		u.attendPorts(u.pr.Registrants, r.nexus, ReservationsReleased)
	}
}

func (u *Unit) releasePersistent(r *prRequest) *Sense {
	if !u.pr.holds(r.port) {
		return nil // also if there is no reservation
	}
	if u.pr.Type != r.typ {
		s := Illegal(InvalidReleaseOfPR)
		return &s
	}
	u.pr.release()
	if r.typ.registrantsMay() {
		u.attendPorts(u.pr.Registrants, r.nexus, ReservationsReleased)
	}
	return nil
}

// preempt carries out PREEMPT and PREEMPT AND ABORT (SPC-4 5.12.11.4).
func (u *Unit) preempt(r *prRequest, abort bool) (Status, *Sense) {
	takes, everybody := false, false
	switch {
	case !u.pr.reserved():
	case u.pr.Type.heldByAll():
		takes, everybody = r.new == 0, r.new == 0
	case r.new == 0:
		s := BadParameter(8, 7)
		return Good, &s
	default:
		takes = u.pr.find(*u.pr.Holder).Key == r.new
	}
	goes := func(x registrant) bool { return x.Port != r.port && (everybody || x.Key == r.new) }
	mine := r.new == r.key // a key of our own names us, too
	var gone []registrant
	for _, x := range u.pr.Registrants {
		if goes(x) {
			gone = append(gone, x)
		}
	}
	if len(gone) == 0 && !takes && (!mine || u.pr.find(r.port) == nil) {
		return ReservationConflict, nil
	}
	u.pr.Registrants = slices.DeleteFunc(u.pr.Registrants, goes)
	if mine && !takes { // we preempted ourselves
		u.pr.Registrants = slices.DeleteFunc(u.pr.Registrants, func(x registrant) bool { return x.Port == r.port })
	}
	u.attendPorts(gone, r.nexus, RegistrationsPreempted)
	if takes {
		if u.pr.Type != r.typ {
			u.attendPorts(u.pr.Registrants, r.nexus, ReservationsReleased)
		}
		u.pr.reserve(r.port, r.typ)
	} else if u.pr.Type.heldByAll() && len(u.pr.Registrants) == 0 {
		u.pr.release()
	}
	u.pr.Generation++
	if abort {
		for c, cancel := range u.running {
			if slices.ContainsFunc(gone, func(x registrant) bool { return x.Port == portOf(c.Nexus) }) {
				cancel()
			}
		}
	}
	return Good, nil
}

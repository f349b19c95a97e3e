package scsi

import "slices"

// The service actions of PERSISTENT RESERVE IN (SPC-4 table 192).
const (
	prReadKeys           = 0
	prReadReservation    = 1
	prReportCapabilities = 2
	prReadFullStatus     = 3
)

// The service actions of PERSISTENT RESERVE OUT (SPC-4 table 207). REGISTER AND MOVE (7) is
// not supported.
const (
	prRegister          = 0
	prReserve           = 1
	prRelease           = 2
	prClear             = 3
	prPreempt           = 4
	prPreemptAndAbort   = 5
	prRegisterAndIgnore = 6
)

// prType is the type of a persistent reservation (SPC-4 table 204).
type prType byte

const (
	writeExclusive      prType = 1
	exclusiveAccess     prType = 3
	writeExclusiveRegs  prType = 5 // registrants only
	exclusiveAccessRegs prType = 6
	writeExclusiveAll   prType = 7 // all registrants hold it
	exclusiveAccessAll  prType = 8
)

func (t prType) valid() bool {
	return t == writeExclusive || t == exclusiveAccess || t >= writeExclusiveRegs && t <= exclusiveAccessAll
}

// registrantsMay tells whether every registrant has access.
func (t prType) registrantsMay() bool { return t >= writeExclusiveRegs }

// heldByAll tells whether every registrant holds the reservation.
func (t prType) heldByAll() bool { return t >= writeExclusiveAll }

func (t prType) othersMayRead() bool {
	return t == writeExclusive || t == writeExclusiveRegs || t == writeExclusiveAll
}

// initiatorPort is who registers: it outlives its sessions. There is one target port, so
// that it stands for an I_T nexus.
type initiatorPort struct {
	Name string  `json:"name"`
	ISID [6]byte `json:"isid"`
}

func portOf(n *Nexus) initiatorPort { return initiatorPort{n.Initiator, n.ISID} }

type registrant struct {
	Port initiatorPort `json:"port"`
	Key  uint64        `json:"key"` // never 0
}

// registrations are the persistent reservations of one unit: a plain value, and what
// PERSISTENT RESERVE OUT does with it.
type registrations struct {
	Generation  uint32         `json:"-"`
	APTPL       bool           `json:"aptpl"`
	Registrants []registrant   `json:"registrants"`
	Type        prType         `json:"type"`   // 0: not reserved
	Holder      *initiatorPort `json:"holder"` // nil also if all registrants hold it
}

// maxRegistrants bounds what initiators can make a unit remember.
const maxRegistrants = 256

func (r registrations) clone() registrations {
	r.Registrants = slices.Clone(r.Registrants)
	return r
}

func (r *registrations) reserved() bool { return r.Type != 0 }

func (r *registrations) find(p initiatorPort) *registrant {
	i := slices.IndexFunc(r.Registrants, func(x registrant) bool { return x.Port == p })
	if i < 0 {
		return nil
	}
	return &r.Registrants[i]
}

// holds tells whether a port holds the reservation.
func (r *registrations) holds(p initiatorPort) bool {
	if r.Type.heldByAll() {
		return r.find(p) != nil
	}
	return r.reserved() && *r.Holder == p
}

// conflicts tells whether the reservation keeps a port from an access (SPC-4 table 66).
func (r *registrations) conflicts(p initiatorPort, a Access) bool {
	switch {
	case a == Anywhere, !r.reserved(), r.holds(p), r.Type.registrantsMay() && r.find(p) != nil:
		return false
	case a == Reads:
		return !r.Type.othersMayRead()
	}
	return true
}

// holderKey is zero where all registrants hold the reservation (SPC-4 6.15.3).
func (r *registrations) holderKey() uint64 {
	if r.Holder == nil {
		return 0
	}
	return r.find(*r.Holder).Key
}

func (r *registrations) reserve(p initiatorPort, t prType) {
	r.Type, r.Holder = t, nil
	if !t.heldByAll() {
		r.Holder = &p
	}
}

func (r *registrations) release() { r.Type, r.Holder = 0, nil }

// prRequest is a decoded PERSISTENT RESERVE OUT.
type prRequest struct {
	action   int
	port     initiatorPort
	typ      prType
	key, new uint64 // RESERVATION KEY and SERVICE ACTION RESERVATION KEY
	aptpl    bool
}

// prResult is what it leads to, besides what becomes of the registrations.
type prResult struct {
	status    Status
	bad       *Sense // CHECK CONDITION, instead of status
	notices   []notice
	preempted []initiatorPort // whose commands PREEMPT AND ABORT aborts
}

// notice is a unit attention that is due to a port.
type notice struct {
	port initiatorPort
	code Code
}

// tell makes a unit attention due to all of some registrants but the one who asked.
func (p *prResult) tell(who []registrant, but initiatorPort, code Code) {
	for _, x := range who {
		if x.Port != but {
			p.notices = append(p.notices, notice{x.Port, code})
		}
	}
}

// kept is the result for a port that a reservation or a key keeps out.
func kept() prResult { return prResult{status: ReservationConflict} }

func refused(s Sense) prResult { return prResult{bad: &s} }

// apply carries a request out. If the result is not GOOD nothing has changed.
func (r *registrations) apply(q *prRequest) prResult {
	me := r.find(q.port)
	switch {
	case q.action == prRegister || q.action == prRegisterAndIgnore:
		return r.register(q, me)
	case me == nil || me.Key != q.key:
		return kept()
	}
	switch q.action {
	case prReserve:
		if r.reserved() && (!r.holds(q.port) || r.Type != q.typ) {
			return kept()
		}
		if !r.reserved() {
			r.reserve(q.port, q.typ)
		}
		return prResult{}
	case prRelease:
		return r.releaseBy(q)
	case prClear:
		var p prResult
		p.tell(r.Registrants, q.port, ReservationsPreempted)
		r.Registrants = nil
		r.release()
		r.Generation++
		return p
	}
	return r.preempt(q)
}

// register carries out REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 table 209).
func (r *registrations) register(q *prRequest, me *registrant) prResult {
	var p prResult
	if q.action == prRegister {
		if me == nil && q.key != 0 || me != nil && q.key != me.Key {
			return kept()
		}
	}
	switch {
	case me == nil && q.new == 0:
		return p // nothing to do
	case me == nil && len(r.Registrants) >= maxRegistrants:
		return refused(Illegal(InsufficientRegistrants))
	case me == nil:
		r.Registrants = append(r.Registrants, registrant{q.port, q.new})
	case q.new != 0:
		me.Key = q.new
	default:
		p = r.unregister(q.port)
	}
	r.APTPL = q.aptpl
	r.Generation++
	return p
}

// unregister ends a registration, and the reservation with it if it was its last holder
// (SPC-4 5.12.11.3).
func (r *registrations) unregister(port initiatorPort) (p prResult) {
	held, t := r.holds(port), r.Type
	r.Registrants = slices.DeleteFunc(r.Registrants, func(x registrant) bool { return x.Port == port })
	if !held || t.heldByAll() && len(r.Registrants) > 0 {
		return p
	}
	r.release()
	if t.registrantsMay() {
		p.tell(r.Registrants, port, ReservationsReleased)
	}
	return p
}

// releaseBy carries out RELEASE (SPC-4 5.12.11.2).
func (r *registrations) releaseBy(q *prRequest) (p prResult) {
	if !r.holds(q.port) {
		return p // also if there is no reservation
	}
	if r.Type != q.typ {
		return refused(Illegal(InvalidReleaseOfPR))
	}
	r.release()
	if q.typ.registrantsMay() {
		p.tell(r.Registrants, q.port, ReservationsReleased)
	}
	return p
}

// preempt carries out PREEMPT and PREEMPT AND ABORT (SPC-4 5.12.11.4). A key names all
// registrants that have it, also the one who asks; that one stays registered if it takes the
// reservation.
func (r *registrations) preempt(q *prRequest) (p prResult) {
	all := r.Type.heldByAll()
	if q.new == 0 && !all {
		return refused(BadParameter(8, 7))
	}
	everybody := q.new == 0
	takes := everybody || r.reserved() && !all && r.holderKey() == q.new
	goes := func(x registrant) bool {
		if x.Port == q.port {
			return x.Key == q.new && !takes
		}
		return everybody || x.Key == q.new
	}
	var stay, gone []registrant
	for _, x := range r.Registrants {
		if goes(x) {
			gone = append(gone, x)
		} else {
			stay = append(stay, x)
		}
	}
	if len(gone) == 0 && !takes {
		return kept()
	}
	r.Registrants = stay
	p.tell(gone, q.port, RegistrationsPreempted)
	switch {
	case takes:
		if r.Type != q.typ {
			p.tell(stay, q.port, ReservationsReleased)
		}
		r.reserve(q.port, q.typ)
	case all && len(stay) == 0:
		r.release()
	}
	r.Generation++
	if q.action == prPreemptAndAbort {
		for _, x := range gone {
			if x.Port != q.port {
				p.preempted = append(p.preempted, x.Port)
			}
		}
	}
	return p
}

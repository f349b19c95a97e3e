package scsi

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Registry keeps persistent reservations for which the initiator asked that they survive
// a loss of power (APTPL, SPC-4 5.12.5).
type Registry interface {
	Load() ([]byte, error) // nothing, if nothing was saved
	Save(state []byte) error
}

// The service actions of PERSISTENT RESERVE OUT (SPC-4 table 207).
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

// initiatorPort is who registers: it outlives its sessions.
type initiatorPort struct {
	Name string  `json:"name"`
	ISID [6]byte `json:"isid"`
}

func portOf(n *Nexus) initiatorPort { return initiatorPort{n.Initiator, n.ISID} }

type registrant struct {
	Port initiatorPort `json:"port"`
	Key  uint64        `json:"key"`
}

// registrations are the persistent reservations of one unit.
type registrations struct {
	Generation  uint32         `json:"-"`
	APTPL       bool           `json:"aptpl"`
	Registrants []registrant   `json:"registrants"`
	Type        prType         `json:"type"`   // 0: not reserved
	Holder      *initiatorPort `json:"holder"` // nil also if all registrants hold it
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

func (r *registrations) reserve(p initiatorPort, t prType) {
	r.Type, r.Holder = t, nil
	if !t.heldByAll() {
		r.Holder = &p
	}
}

func (r *registrations) release() { r.Type, r.Holder = 0, nil }

// conflicts tells whether reservations of others keep a command from being carried out. The
// caller holds mu.
func (u *Unit) conflicts(c *Command, op *Op) bool {
	if u.holder != nil && u.holder != c.Nexus {
		switch c.CDB[0] {
		case 0x12, 0xa0, 0x03, 0x17, 0x57: // INQUIRY, REPORT LUNS, REQUEST SENSE, RELEASE
			return false
		}
		return true
	}
	if !u.pr.reserved() || op.Access == Anywhere {
		return false
	}
	p := portOf(c.Nexus)
	switch {
	case u.pr.holds(p), u.pr.Type.registrantsMay() && u.pr.find(p) != nil:
		return false
	case op.Access == Reads:
		return !u.pr.Type.othersMayRead()
	}
	return true
}

// attendRegistrants raises a unit attention for the registrants among ports, but not for n.
func (u *Unit) attendPorts(ports []registrant, n *Nexus, code Code) {
	for other := range u.nexuses {
		if other != n && slices.ContainsFunc(ports, func(r registrant) bool { return r.Port == portOf(other) }) {
			u.attend(other, code)
		}
	}
}

// persist saves the registrations if they are to survive. The caller holds mu.
func (u *Unit) persist() error {
	if u.cfg.Registry == nil {
		return nil
	}
	state := registrations{}
	if u.pr.APTPL {
		state = u.pr
	}
	body, err := json.Marshal(&state)
	if err == nil {
		err = u.cfg.Registry.Save(body)
	}
	if err != nil {
		return fmt.Errorf("saving persistent reservations: %w", err)
	}
	return nil
}

// check tells what is wrong with registrations that were loaded.
func (r *registrations) check() error {
	switch {
	case len(r.Registrants) > maxRegistrants:
		return fmt.Errorf("%d registrants", len(r.Registrants))
	case !r.reserved() && r.Holder == nil:
		return nil
	case !r.Type.valid():
		return fmt.Errorf("a reservation of the unknown type %d", r.Type)
	case r.Type.heldByAll() && r.Holder == nil && len(r.Registrants) > 0:
		return nil
	case r.Type.heldByAll() || r.Holder == nil || r.find(*r.Holder) == nil:
		return fmt.Errorf("a reservation of type %d whose holder is not registered", r.Type)
	}
	return nil
}

func (u *Unit) loadRegistrations() error {
	if u.cfg.Registry == nil {
		return nil
	}
	body, err := u.cfg.Registry.Load()
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &u.pr)
	}
	if err == nil {
		err = u.pr.check()
	}
	if err != nil {
		return fmt.Errorf("loading persistent reservations: %w", err)
	}
	u.updateRestricted()
	return nil
}

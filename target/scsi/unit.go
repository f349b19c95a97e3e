package scsi

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// Access says how a command gets on with the reservations of others (SPC-4 table 66, SBC-3
// table 13).
type Access byte

// The classes of access.
const (
	Reads    Access = iota // conflicts with an exclusive access reservation of another nexus
	Writes                 // conflicts with any reservation of another nexus
	Anywhere               // conflicts with no persistent reservation
)

// Op is an operation of a device server.
type Op struct {
	Code   byte
	Action int    // service action, or -1
	Usage  []byte // CDB usage data (SPC-4 6.35.3): bits that are looked at; its length is the CDB's
	Access Access
	// Exempt operations may be used by anybody also under RESERVE (SPC-2 table 10).
	Exempt bool
	// AccessOf returns the class for one CDB, where it depends on that; Anywhere is exempt, too.
	AccessOf func(cdb []byte) Access
	Timeout  uint32 // seconds, as recommended to initiators; 0: none
	// Out returns how many bytes of data-out the command takes; nil: none.
	Out func(cdb []byte) int64
	// Run carries the command out and completes it, now or later.
	Run func(ctx context.Context, c *Command)
}

// actionOf maps the operation codes that have service actions to their place in the CDB.
func actionOf(cdb []byte) int {
	switch cdb[0] {
	case 0x5e, 0x5f, 0x9e, 0x9f, 0xa3, 0xa4, 0x83, 0x84:
		return int(cdb[1] & 0x1f)
	}
	return -1
}

// Config is what all device servers are told.
type Config struct {
	Identity Identity
	Logger   *slog.Logger
	Registry Registry // keeps persistent reservations over restarts; nil: none are kept
	// Outlasting has all of them kept there, also those that no initiator asked to survive a loss of power (APTPL): what is one to the
	// unit is none to initiators, if another machine goes on for it.
	Outlasting bool
	Modes      Registry // keeps the saved values of mode pages; nil: nothing can be saved
	// Specific returns the device-specific parameter in the header of MODE SENSE (SBC-3 6.5.1,
	// SSC-4 8.3.1); nil: 0.
	Specific func() byte
	// LUNs returns the LUNs of the target, as REPORT LUNS lists them; nil: LUN 0 alone.
	LUNs func() []uint64
	// Blocks returns the number and the length of blocks for the block descriptor of MODE
	// SENSE; nil: there is none.
	Blocks func() (blocks uint64, size uint32)
	// Selected is called in a goroutine when MODE SELECT has changed mode pages, before that is
	// answered; nil: nothing is to be done.
	Selected func(ctx context.Context) error
	// Logs are the log pages of the device type: page code and parameters.
	Logs map[byte]func() []byte
}

// Unit is what every device server shares: dispatching, unit attentions, reservations,
// mode pages, identity. A device server embeds it and adds its operations. Its methods may be
// called concurrently.
type Unit struct {
	cfg   Config
	ops   map[uint16]*Op // by code and action
	list  []*Op          // in the order of their codes
	pages []*ModePage

	// restricted is set while unit attentions are due or reservations exist, so that
	// otherwise a command takes no lock.
	restricted atomic.Bool
	descriptor atomic.Bool // D_SENSE

	// fences counts the PREEMPT AND ABORTs. A command that was admitted before one may not
	// touch the medium after it without being asked again.
	fences atomic.Uint32
	// gate is held shared by writes that are carried out at once, and exclusively, for a
	// moment, by a PREEMPT AND ABORT that waits for these.
	gate sync.RWMutex
	// changing is held by the one PERSISTENT RESERVE OUT under way, also while it saves.
	changing sync.Mutex
	// saving is held while mode pages are saved.
	saving sync.Mutex

	mu      sync.Mutex // protects what follows; never held during I/O
	nexuses map[*Nexus][]Code
	pr      registrations // only replaced: what it refers to never changes
	holder  *Nexus        // of RESERVE(6) or RESERVE(10)
	running map[*Command]*task
	guests  map[*task]struct{} // commands of other units that touch our medium
	closed  bool               // no more guests
}

// NewUnit returns a unit with the operations that all device servers have, ops, and mode pages.
func NewUnit(cfg Config, ops []*Op, pages []*ModePage) (*Unit, error) {
	u := &Unit{cfg: cfg, ops: map[uint16]*Op{}, pages: pages, nexuses: map[*Nexus][]Code{}, running: map[*Command]*task{}, guests: map[*task]struct{}{}}
	for _, op := range append(u.primary(), ops...) {
		u.ops[opKey(op.Code, op.Action)] = op
	}
	u.list = sortedOps(u.ops)
	if err := u.loadModes(); err != nil {
		return nil, err
	}
	u.applyModes()
	if err := u.loadRegistrations(); err != nil {
		return nil, err
	}
	return u, nil
}

func opKey(code byte, action int) uint16 { return uint16(code)<<8 | uint16(action+1) }

// Lookup returns the operation of a CDB, or nil.
func (u *Unit) Lookup(cdb []byte) *Op {
	if len(cdb) < 6 {
		return nil
	}
	op := u.ops[opKey(cdb[0], actionOf(cdb))]
	if op == nil || len(cdb) < len(op.Usage) {
		return nil
	}
	return op
}

// OutLength implements LogicalUnit.
func (u *Unit) OutLength(cdb []byte) int64 {
	if op := u.Lookup(cdb); op != nil && op.Out != nil {
		return op.Out(cdb)
	}
	return 0
}

// Submit implements LogicalUnit.
func (u *Unit) Submit(ctx context.Context, batch []*Command) {
	for _, c := range batch {
		if op := u.Admit(c); op != nil {
			op.Run(ctx, c)
		}
	}
}

// Enter is called before commands that were admitted change the medium in the goroutine of
// Submit, and Leave afterwards; in between nobody waits. It returns false, and Leave is not to
// be called, if they may do so no more: pass them to Go, which asks again.
func (u *Unit) Enter(batch []*Command) bool {
	u.gate.RLock()
	fences := u.fences.Load()
	for _, c := range batch {
		if c.fences != fences {
			u.gate.RUnlock()
			return false
		}
	}
	return true
}

// Leave undoes Enter.
func (u *Unit) Leave() { u.gate.RUnlock() }

// Admit returns the operation of a command. If the command may not be carried out it
// completes it and returns nil.
func (u *Unit) Admit(c *Command) *Op {
	c.fences = u.fences.Load()
	op := u.Lookup(c.CDB)
	if u.restricted.Load() && !u.allowed(c, op) {
		return nil
	}
	if op == nil {
		u.refuseUnknown(c)
		return nil
	}
	for i, mask := range op.Usage {
		if extra := c.CDB[i] &^ mask; i > 0 && extra != 0 && i < len(op.Usage)-1 {
			u.Fail(c, BadField(i, highest(extra)))
			return nil
		}
	}
	if c.CDB[len(op.Usage)-1]&0x04 != 0 { // NACA, which we do not support
		u.Fail(c, BadField(len(op.Usage)-1, 2))
		return nil
	}
	return op
}

func highest(b byte) int {
	bit := 7
	for b>>bit == 0 {
		bit--
	}
	return bit
}

func (u *Unit) refuseUnknown(c *Command) {
	if len(c.CDB) > 1 {
		for _, op := range u.list {
			if op.Code == c.CDB[0] && op.Action >= 0 { // known, but not this service action
				u.Fail(c, BadField(1, 4))
				return
			}
		}
	}
	u.Fail(c, Illegal(InvalidOpcode))
}

// allowed reports a unit attention that is due, or a reservation conflict.
func (u *Unit) allowed(c *Command, op *Op) bool {
	u.mu.Lock()
	code := c.CDB[0]
	if due := u.nexuses[c.Nexus]; len(due) > 0 && code != 0x12 && code != 0xa0 && code != 0x03 {
		u.nexuses[c.Nexus] = due[1:]
		u.updateRestricted()
		u.mu.Unlock()
		u.Fail(c, Sense{Key: UnitAttention, Code: due[0]})
		return false
	}
	conflict := op != nil && u.conflicts(c, op)
	u.mu.Unlock()
	if conflict {
		c.Status = ReservationConflict
		c.Complete()
	}
	return !conflict
}

// conflicts tells whether reservations of others keep a command from being carried out. The
// caller holds mu.
func (u *Unit) conflicts(c *Command, op *Op) bool {
	access, exempt := op.Access, op.Exempt
	if op.AccessOf != nil {
		access = op.AccessOf(c.CDB)
		exempt = access == Anywhere
	}
	if u.holder != nil {
		if code := Opcode(op.Code); code == PersistentReserveIn || code == PersistentReserveOut {
			return true // whoever asks (SPC-2 5.5.1)
		}
		return u.holder != c.Nexus && !exempt
	}
	return u.pr.conflicts(portOf(c.Nexus), access)
}

// updateRestricted is called with mu held.
func (u *Unit) updateRestricted() {
	restricted := u.holder != nil || u.pr.reserved()
	for _, due := range u.nexuses {
		restricted = restricted || len(due) > 0
	}
	u.restricted.Store(restricted)
}

// Fail completes a command with CHECK CONDITION.
func (u *Unit) Fail(c *Command, s Sense) {
	c.Status = CheckCondition
	c.Sense = s.Append(c.Sense[:0], u.descriptor.Load())
	c.In, c.Transfer = nil, 0
	c.Complete()
}

// Answer completes a command whose data-in is c.In, cut to the allocation length of its CDB.
func (u *Unit) Answer(c *Command, allocation int) {
	c.In = c.In[:min(len(c.In), allocation)]
	c.Transfer = int64(len(c.In))
	c.Complete()
}

// Attach implements LogicalUnit. A new nexus is told of the power on (SAM-5 6.2).
func (u *Unit) Attach(n *Nexus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.nexuses[n] = []Code{PowerOn}
	u.updateRestricted()
}

// Detach implements LogicalUnit. It ends what the nexus holds for as long as it lives.
func (u *Unit) Detach(n *Nexus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.nexuses, n)
	if u.holder == n {
		u.holder = nil
	}
	u.updateRestricted()
}

// Reset implements LogicalUnit (SAM-5 6.3.3).
func (u *Unit) Reset(*Nexus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.holder = nil
	for _, p := range u.pages {
		p.reset()
	}
	u.applyModes()
	for t := range u.guests { // the transport knows nothing of them
		t.cancel()
	}
	u.attention(nil, BusDeviceReset)
}

// Attention raises a unit attention for every nexus but one.
func (u *Unit) Attention(but *Nexus, code Code) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.attention(but, code)
}

func (u *Unit) attention(but *Nexus, code Code) {
	for n := range u.nexuses {
		if n != but {
			u.attend(n, code)
		}
	}
}

// Cleared tells a nexus that another one has cleared its commands from the task set (SAM-5
// 5.14, CLEAR TASK SET with TAS being 0). Of a nexus that has gone it takes no notice.
func (u *Unit) Cleared(n *Nexus) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.nexuses[n]; ok {
		u.attend(n, CommandsCleared)
	}
}

// maxAttentions bounds what is queued for a nexus that asks for nothing.
const maxAttentions = 16

// attend queues a unit attention, once. The caller holds mu.
func (u *Unit) attend(n *Nexus, code Code) {
	due := u.nexuses[n]
	if !slices.Contains(due, code) && len(due) < maxAttentions {
		u.nexuses[n] = append(due, code)
	}
	u.restricted.Store(true)
}

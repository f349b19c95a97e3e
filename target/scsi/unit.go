package scsi

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
)

// Access says how a command gets on with the reservations of others (SPC-4 table 64).
type Access byte

// The classes of access.
const (
	Reads    Access = iota // reads the medium: conflicts with an exclusive access
	Writes                 // changes the medium or the unit: conflicts with any reservation
	Anywhere               // is allowed to everybody
)

// Op is an operation of a device server.
type Op struct {
	Code    byte
	Action  int    // service action, or -1
	Usage   []byte // CDB usage data (SPC-4 6.35.3): bits that are looked at; its length is the CDB's
	Access  Access
	Timeout uint32 // seconds, as recommended to initiators; 0: none
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
	// Blocks returns the number and the length of blocks for the block descriptor of MODE
	// SENSE; nil: there is none.
	Blocks func() (blocks uint64, size uint32)
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

	mu      sync.Mutex // protects what follows
	nexuses map[*Nexus][]Code
	pr      registrations
	holder  *Nexus // of RESERVE(6) or RESERVE(10)
	running map[*Command]context.CancelFunc
}

// NewUnit returns a unit with the operations that all device servers have, ops, and mode pages.
func NewUnit(cfg Config, ops []*Op, pages []*ModePage) (*Unit, error) {
	u := &Unit{cfg: cfg, ops: map[uint16]*Op{}, pages: pages, nexuses: map[*Nexus][]Code{}, running: map[*Command]context.CancelFunc{}}
	for _, op := range append(u.primary(), ops...) {
		u.ops[opKey(op.Code, op.Action)] = op
	}
	u.list = sortedOps(u.ops)
	for _, p := range pages {
		p.reset()
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

// Admit returns the operation of a command. If the command may not be carried out it
// completes it and returns nil.
func (u *Unit) Admit(c *Command) *Op {
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

// Go runs work, which completes c, in a goroutine of its own. Abort cancels its context;
// a panic in it fails the command.
func (u *Unit) Go(ctx context.Context, c *Command, work func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	u.mu.Lock()
	u.running[c] = cancel
	u.mu.Unlock()
	go func() {
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				u.cfg.Logger.Error("panic in a command", "panic", p, "cdb", c.CDB, "stack", string(debug.Stack()))
				u.Finished(c)
				u.Fail(c, Sense{Key: HardwareError, Code: InternalFailure})
			}
		}()
		work(ctx)
	}()
}

// Finished is called before a command that Go runs is completed.
func (u *Unit) Finished(c *Command) {
	u.mu.Lock()
	delete(u.running, c)
	u.mu.Unlock()
}

// Abort cancels a command that Go runs; it completes soon.
func (u *Unit) Abort(c *Command) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if cancel, ok := u.running[c]; ok {
		cancel()
	}
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

package scsi

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"
)

// primary are the operations that every device server has (SPC-4 6).
func (u *Unit) primary() []*Op {
	list := func(length int) func(cdb []byte) int64 {
		return func(cdb []byte) int64 {
			if length == 4 {
				return int64(cdb[4])
			}
			return int64(binary.BigEndian.Uint16(cdb[7:]))
		}
	}
	ops := []*Op{
		{Code: 0x00, Action: -1, Usage: []byte{0x00, 0, 0, 0, 0, 0x07}, Access: Anywhere, Run: u.ready},
		{Code: 0x03, Action: -1, Usage: []byte{0x03, 0x01, 0, 0, 0xff, 0x07}, Access: Anywhere, Exempt: true, Run: u.requestSense},
		{Code: 0x12, Action: -1, Usage: []byte{0x12, 0x01, 0xff, 0xff, 0xff, 0x07}, Access: Anywhere, Exempt: true, Run: u.inquiry},
		{Code: 0x15, Action: -1, Usage: []byte{0x15, 0x11, 0, 0, 0xff, 0x07}, Access: Writes, Out: list(4), Run: u.modeSelect},
		{Code: 0x16, Action: -1, Usage: []byte{0x16, 0x00, 0, 0, 0, 0x07}, Access: Anywhere, Run: u.reserve},
		{Code: 0x17, Action: -1, Usage: []byte{0x17, 0x00, 0, 0, 0, 0x07}, Access: Anywhere, Exempt: true, Run: u.release},
		{Code: 0x1a, Action: -1, Usage: []byte{0x1a, 0x08, 0xff, 0xff, 0xff, 0x07}, Access: Reads, Run: u.modeSense},
		{Code: 0x1d, Action: -1, Usage: []byte{0x1d, 0xf7, 0, 0xff, 0xff, 0x07}, Access: Writes, Run: u.sendDiagnostic},
		{Code: 0x1c, Action: -1, Usage: []byte{0x1c, 0x01, 0xff, 0xff, 0xff, 0x07}, Access: Reads, Run: u.receiveDiagnostic},
		{Code: 0x4d, Action: -1, Usage: []byte{0x4d, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0x07}, Access: Anywhere, Exempt: true, Run: u.logSense},
		{Code: 0x55, Action: -1, Usage: []byte{0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07}, Access: Writes, Out: list(10), Run: u.modeSelect},
		{Code: 0x56, Action: -1, Usage: []byte{0x56, 0x00, 0, 0, 0, 0, 0, 0, 0, 0x07}, Access: Anywhere, Run: u.reserve},
		{Code: 0x57, Action: -1, Usage: []byte{0x57, 0x00, 0, 0, 0, 0, 0, 0, 0, 0x07}, Access: Anywhere, Exempt: true, Run: u.release},
		{Code: 0x5a, Action: -1, Usage: []byte{0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0x07}, Access: Reads, Run: u.modeSense},
		{Code: 0xa0, Action: -1, Usage: []byte{0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07}, Access: Anywhere, Exempt: true, Run: u.reportLUNs},
		{Code: 0xa3, Action: 0x0a, Usage: []byte{0xa3, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07}, Access: Anywhere, Exempt: true, Run: u.reportPortGroups},
		{Code: 0xa3, Action: 0x0c, Usage: []byte{0xa3, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x07}, Access: Reads, Run: u.reportOps},
		{Code: 0xa3, Action: 0x0d, Usage: []byte{0xa3, 0x1f, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x07}, Access: Reads, Run: u.reportTMFs},
	}
	for action := range 4 {
		ops = append(ops, &Op{Code: 0x5e, Action: action, Usage: []byte{0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0x07}, Access: Anywhere, Run: u.prIn})
	}
	for _, action := range []int{prRegister, prReserve, prRelease, prClear, prPreempt, prPreemptAndAbort, prRegisterAndIgnore} {
		ops = append(ops, &Op{
			Code: 0x5f, Action: action, Usage: []byte{0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x07},
			Access: Anywhere, Out: prOutLength, Timeout: 60, Run: u.prOut,
		})
	}
	return ops
}

func sortedOps(ops map[uint16]*Op) []*Op {
	list := make([]*Op, 0, len(ops))
	for _, op := range ops {
		list = append(list, op)
	}
	slices.SortFunc(list, func(a, b *Op) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Action, b.Action))
	})
	return list
}

func (u *Unit) ready(_ context.Context, c *Command) { c.Complete() }

// requestSense reports a unit attention that is due, or nothing (SPC-4 6.39).
func (u *Unit) requestSense(_ context.Context, c *Command) {
	var s Sense
	u.mu.Lock()
	if due := u.nexuses[c.Nexus]; len(due) > 0 {
		s = Sense{Key: UnitAttention, Code: due[0]}
		u.nexuses[c.Nexus] = due[1:]
		u.updateRestricted()
	}
	u.mu.Unlock()
	c.In = s.Append(c.In[:0], c.CDB[1]&1 != 0)
	u.Answer(c, int(c.CDB[4]))
}

// reportLUNs lists the LUNs of the target (SPC-4 6.33).
func (u *Unit) reportLUNs(_ context.Context, c *Command) {
	report, allocation := c.CDB[2], binary.BigEndian.Uint32(c.CDB[6:])
	if allocation < 16 {
		u.Fail(c, BadField(6, 7))
		return
	}
	luns := []uint64{0}
	if u.cfg.LUNs != nil {
		luns = u.cfg.LUNs()
	}
	switch report {
	case 0x00, 0x02, 0x11:
	case 0x01, 0x10, 0x12: // well known, administrative and subsidiary ones: none
		luns = nil
	default:
		u.Fail(c, BadField(2, 7))
		return
	}
	c.In = binary.BigEndian.AppendUint32(c.In[:0], uint32(8*len(luns)))
	c.In = append(c.In, 0, 0, 0, 0)
	for _, lun := range luns {
		c.In = binary.BigEndian.AppendUint64(c.In, lun)
	}
	u.Answer(c, int(min(allocation, 1<<20)))
}

// reportOps carries out REPORT SUPPORTED OPERATION CODES (SPC-4 6.35).
func (u *Unit) reportOps(_ context.Context, c *Command) {
	timeouts := c.CDB[2]&0x80 != 0
	code, action := c.CDB[3], int(binary.BigEndian.Uint16(c.CDB[4:]))
	allocation := int(min(binary.BigEndian.Uint32(c.CDB[6:]), 1<<20))
	switch option := c.CDB[2] & 7; option {
	case 0:
		c.In = u.appendAllOps(c.In[:0], timeouts)
	case 1, 2, 3:
		withActions := slices.ContainsFunc(u.list, func(op *Op) bool { return op.Code == code && op.Action >= 0 })
		if option == 1 && withActions || option == 2 && !withActions && slices.ContainsFunc(u.list, func(op *Op) bool { return op.Code == code }) {
			u.Fail(c, BadField(2, 2))
			return
		}
		if !withActions {
			action = -1
		}
		var op *Op
		if action < 0x20 { // the field has more bits than any CDB
			op = u.ops[opKey(code, action)]
		}
		c.In = appendOneOp(c.In[:0], op, timeouts)
	default:
		u.Fail(c, BadField(2, 2))
		return
	}
	u.Answer(c, allocation)
}

func (u *Unit) appendAllOps(b []byte, timeouts bool) []byte {
	be := binary.BigEndian
	b = append(b, 0, 0, 0, 0)
	for _, op := range u.list {
		flags, action := byte(0), uint16(0)
		if op.Action >= 0 {
			flags, action = 0x01, uint16(op.Action)
		}
		if timeouts {
			flags |= 0x02
		}
		b = append(b, op.Code, 0)
		b = be.AppendUint16(b, action)
		b = append(b, 0, flags)
		b = be.AppendUint16(b, uint16(len(op.Usage)))
		if timeouts {
			b = op.appendTimeouts(b)
		}
	}
	be.PutUint32(b, uint32(len(b)-4))
	return b
}

func appendOneOp(b []byte, op *Op, timeouts bool) []byte {
	if op == nil {
		return append(b, 0, 0x01, 0, 0) // not supported
	}
	flags := byte(0x03) // supported as a standard has it
	if timeouts {
		flags |= 0x80
	}
	b = append(b, 0, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(op.Usage)))
	at := len(b)
	b = append(b, op.Usage...)
	b[at] = op.Code
	if op.Action >= 0 {
		b[at+1] = op.Usage[1]&^0x1f | byte(op.Action)
	}
	if timeouts {
		b = op.appendTimeouts(b)
	}
	return b
}

func (op *Op) appendTimeouts(b []byte) []byte {
	b = append(b, 0, 10, 0, 0)
	b = binary.BigEndian.AppendUint32(b, 0)
	return binary.BigEndian.AppendUint32(b, op.Timeout)
}

// reportTMFs lists the task management functions of the iSCSI target (SPC-4 6.36).
func (u *Unit) reportTMFs(_ context.Context, c *Command) {
	allocation := binary.BigEndian.Uint32(c.CDB[6:])
	if allocation < 4 {
		u.Fail(c, BadField(6, 7))
		return
	}
	c.In = append(c.In[:0], 0xda, 0, 0, 0) // ABORT TASK and SET, CLEAR TASK SET, LU RESET, TARGET RESET
	if c.CDB[2]&0x80 != 0 {
		c.In = append(c.In[:0], 0xda, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	u.Answer(c, int(min(allocation, 1<<20)))
}

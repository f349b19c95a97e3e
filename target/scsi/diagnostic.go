package scsi

import (
	"context"
	"encoding/binary"
)

// sendDiagnostic runs the default self test, which finds nothing (SPC-4 6.42).
func (u *Unit) sendDiagnostic(_ context.Context, c *Command) {
	switch {
	case c.CDB[1]>>5 != 0: // another self test
		u.Fail(c, BadField(1, 7))
	case binary.BigEndian.Uint16(c.CDB[3:]) != 0:
		u.Fail(c, BadField(3, 7))
	default:
		c.Complete()
	}
}

// receiveDiagnostic returns the only diagnostic page, the list of them (SPC-4 6.31, 7.2.3).
func (u *Unit) receiveDiagnostic(_ context.Context, c *Command) {
	if c.CDB[1]&1 != 0 && c.CDB[2] != 0 { // PCV and another page
		u.Fail(c, BadField(2, 7))
		return
	}
	c.In = append(c.In[:0], 0, 0, 0, 1, 0)
	u.Answer(c, int(binary.BigEndian.Uint16(c.CDB[3:])))
}

// logSense carries out LOG SENSE (SPC-4 6.10, 7.3): the list of pages, with or without
// subpages, and the pages of the device type. All page controls return the current values.
func (u *Unit) logSense(_ context.Context, c *Command) {
	page, subpage := c.CDB[2]&0x3f, c.CDB[3]
	parameters := u.cfg.Logs[page]
	b := append(c.In[:0], page, 0, 0, 0)
	switch {
	case page == 0 && subpage == 0:
		b = u.appendLogPages(b, false)
	case page == 0 && subpage == 0xff:
		b[0], b[1] = 0x40, 0xff
		b = append(u.appendLogPages(b, true), 0, 0xff)
	case parameters != nil && subpage == 0:
		b = append(b, parameters()...)
	default:
		u.Fail(c, BadField(2, 5))
		return
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-4))
	c.In = b
	u.Answer(c, int(binary.BigEndian.Uint16(c.CDB[7:])))
}

// appendLogPages appends the codes of all log pages, each with its subpage code if wanted.
func (u *Unit) appendLogPages(b []byte, subpages bool) []byte {
	for page := range byte(0x40) {
		if page != 0 && u.cfg.Logs[page] == nil {
			continue
		}
		b = append(b, page)
		if subpages {
			b = append(b, 0)
		}
	}
	return b
}

// reportPortGroups tells that the one target port is a group of its own, which is always
// active and optimized (SPC-4 6.37).
func (u *Unit) reportPortGroups(_ context.Context, c *Command) {
	const port = 1 // also the number of its group
	b := append(c.In[:0], 0, 0, 0, 12)
	switch format := c.CDB[1] >> 5; format {
	case 0:
	case 1: // extended header: no transition takes time
		b[3] += 4
		b = append(b, 0x10, 0, 0, 0)
	default:
		u.Fail(c, BadField(1, 7))
		return
	}
	c.In = append(b,
		0x80, 0x01, 0, port, // preferred; of the states, only active/optimized is supported
		0, 0, 0, 1,
		0, 0, 0, port)
	u.Answer(c, int(min(binary.BigEndian.Uint32(c.CDB[6:]), 1<<20)))
}

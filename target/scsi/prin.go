package scsi

import (
	"context"
	"encoding/binary"
	"fmt"
)

// prIn carries out PERSISTENT RESERVE IN (SPC-4 6.15).
func (u *Unit) prIn(_ context.Context, c *Command) {
	be := binary.BigEndian
	u.mu.Lock()
	b := be.AppendUint32(c.In[:0], u.pr.Generation)
	b = be.AppendUint32(b, 0)
	switch c.CDB[1] & 0x1f {
	case 0: // READ KEYS
		for _, r := range u.pr.Registrants {
			b = be.AppendUint64(b, r.Key)
		}
	case 1: // READ RESERVATION
		if u.pr.reserved() {
			b = be.AppendUint64(b, u.holderKey())
			b = append(b, 0, 0, 0, 0, 0, byte(u.pr.Type), 0, 0)
		}
	case 2: // REPORT CAPABILITIES: all types, and APTPL if we have where to keep it
		b = append(b[:0], 0, 8, 0, 0x80, 0xea, 0x01, 0, 0)
		if u.cfg.Registry != nil {
			b[2] |= 0x01
		}
		if u.pr.APTPL {
			b[3] |= 0x01
		}
	case 3: // READ FULL STATUS
		for _, r := range u.pr.Registrants {
			b = u.appendFullStatus(b, r)
		}
	}
	u.mu.Unlock()
	if c.CDB[1]&0x1f != 2 {
		be.PutUint32(b[4:], uint32(len(b)-8))
	}
	c.In = b
	u.Answer(c, int(be.Uint16(c.CDB[7:])))
}

// holderKey is zero where all registrants hold the reservation. The caller holds mu.
func (u *Unit) holderKey() uint64 {
	if u.pr.Holder == nil {
		return 0
	}
	if r := u.pr.find(*u.pr.Holder); r != nil {
		return r.Key
	}
	return 0
}

// appendFullStatus appends a full status descriptor (SPC-4 6.15.5) with an iSCSI TransportID (7.6.4.6).
func (u *Unit) appendFullStatus(b []byte, r registrant) []byte {
	be := binary.BigEndian
	b = be.AppendUint64(b, r.Key)
	flags, typ := byte(0), byte(0)
	if u.pr.holds(r.Port) {
		flags, typ = 0x01, byte(u.pr.Type)
	}
	b = append(b, 0, 0, 0, 0, flags, typ, 0, 0, 0, 0, 0, 1) // relative target port 1
	name := fmt.Sprintf("%s,i,0x%x", r.Port.Name, r.Port.ISID[:])
	id := zeroPadded(name)
	b = be.AppendUint32(b, uint32(4+len(id)))
	b = append(b, 0x45, 0)
	b = be.AppendUint16(b, uint16(len(id)))
	return append(b, id...)
}

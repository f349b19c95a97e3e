package scsi

import (
	"context"
	"encoding/binary"
	"encoding/hex"
)

// prIn carries out PERSISTENT RESERVE IN (SPC-4 6.15).
func (u *Unit) prIn(_ context.Context, c *Command) {
	be := binary.BigEndian
	action := int(c.CDB[1] & 0x1f)
	u.mu.Lock()
	r := u.pr // what is installed does not change any more
	u.mu.Unlock()
	b := be.AppendUint32(c.In[:0], r.Generation)
	b = be.AppendUint32(b, 0)
	switch action {
	case prReadKeys:
		for _, x := range r.Registrants {
			b = be.AppendUint64(b, x.Key)
		}
	case prReadReservation:
		if r.reserved() {
			b = be.AppendUint64(b, r.holderKey())
			b = append(b, 0, 0, 0, 0, 0, byte(r.Type), 0, 0)
		}
	case prReadFullStatus:
		for _, x := range r.Registrants {
			b = r.appendFullStatus(b, x)
		}
	case prReportCapabilities:
		b = append(b[:0], 0, 8, 0, 0x80, 0xea, 0x01, 0, 0) // TMV, all types
		if u.cfg.Registry != nil {
			b[2] |= 0x01 // PTPL_C
		}
		if r.APTPL {
			b[3] |= 0x01 // PTPL_A
		}
	}
	if action != prReportCapabilities {
		be.PutUint32(b[4:], uint32(len(b)-8))
	}
	c.In = b
	u.Answer(c, int(be.Uint16(c.CDB[7:])))
}

// appendFullStatus appends a full status descriptor (SPC-4 6.15.5) with an iSCSI TransportID
// of an initiator port (SPC-4 7.6.4.6).
func (r *registrations) appendFullStatus(b []byte, x registrant) []byte {
	be := binary.BigEndian
	b = be.AppendUint64(b, x.Key)
	flags, typ := byte(0), byte(0)
	if r.holds(x.Port) {
		flags, typ = 0x01, byte(r.Type)
	}
	b = append(b, 0, 0, 0, 0, flags, typ, 0, 0, 0, 0, 0, 1) // relative target port 1
	name := zeroPadded(x.Port.Name + ",i,0x" + hex.EncodeToString(x.Port.ISID[:]))
	b = be.AppendUint32(b, uint32(4+len(name)))
	b = append(b, 0x45, 0) // format 01b: with ISID; protocol iSCSI
	b = be.AppendUint16(b, uint16(len(name)))
	return append(b, name...)
}

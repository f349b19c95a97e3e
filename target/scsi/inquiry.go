package scsi

import (
	"context"
	"encoding/binary"
	"slices"
)

// Identity is what INQUIRY says of a unit.
type Identity struct {
	Type     byte     // peripheral device type (SPC-4 table 142): 0 disk
	Vendor   string   // up to 8 characters
	Product  string   // up to 16
	Revision string   // up to 4
	Serial   string   // unit serial number
	NAA      [16]byte // from which the NAA designator is made
	Target   string   // iSCSI name of the target
	Copies   bool     // third-party copies are supported: the 3PC bit
	// Versions are the version descriptors of the standards (SPC-4 6.4.4).
	Versions []uint16
	// Pages are the VPD pages of the device type: page code and content behind its header.
	Pages map[byte]func() []byte
}

func pad(dst []byte, s string, n int) []byte {
	for i := range n {
		if i < len(s) {
			dst = append(dst, s[i])
		} else {
			dst = append(dst, ' ')
		}
	}
	return dst
}

// inquiry carries out INQUIRY (SPC-4 6.6).
func (u *Unit) inquiry(_ context.Context, c *Command) {
	evpd, page := c.CDB[1]&1 != 0, c.CDB[2]
	allocation := int(binary.BigEndian.Uint16(c.CDB[3:]))
	if !evpd {
		if page != 0 {
			u.Fail(c, BadField(2, 7))
			return
		}
		c.In = u.cfg.Identity.standard(c.In[:0])
		u.Answer(c, allocation)
		return
	}
	body, ok := u.vpd(page)
	if !ok {
		u.Fail(c, BadField(2, 7))
		return
	}
	c.In = append(c.In[:0], u.cfg.Identity.Type, page)
	c.In = binary.BigEndian.AppendUint16(c.In, uint16(len(body)))
	c.In = append(c.In, body...)
	u.Answer(c, allocation)
}

// standard appends the standard INQUIRY data (SPC-4 6.6.2).
func (id *Identity) standard(b []byte) []byte {
	at := len(b)
	flags := byte(0x10) // TPGS
	if id.Copies {
		flags |= 0x08 // 3PC
	}
	// SPC-4, HISUP and response format 2; TPGS: the state of a port changes by itself, if at all.
	b = append(b, id.Type, 0, 6, 0x12, 0, flags, 0x10 /* MULTIP */, 0x02 /* CMDQUE */)
	b = pad(b, id.Vendor, 8)
	b = pad(b, id.Product, 16)
	b = pad(b, id.Revision, 4)
	b = append(b, make([]byte, 22)...)
	for i := range 8 {
		v := uint16(0)
		if i < len(id.Versions) {
			v = id.Versions[i]
		}
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = append(b, make([]byte, 22)...)
	b[at+4] = byte(len(b) - at - 5)
	return b
}

func (u *Unit) vpd(page byte) ([]byte, bool) {
	id := &u.cfg.Identity
	switch page {
	case 0x00: // supported pages
		pages := []byte{0x00, 0x80, 0x83, 0x86}
		for p := range id.Pages {
			pages = append(pages, p)
		}
		slices.Sort(pages)
		return pages, true
	case 0x80:
		return []byte(id.Serial), true
	case 0x83:
		return id.designators(), true
	case 0x86: // extended INQUIRY: SIMPSUP, and no more, since tasks are not ordered; V_SUP
		b := make([]byte, 60)
		b[1], b[2] = 0x01, 0x01
		return b, true
	}
	if f, ok := id.Pages[page]; ok {
		return f(), true
	}
	return nil, false
}

// designators is the device identification page (SPC-4 7.8.6).
func (id *Identity) designators() []byte {
	var b []byte
	add := func(codeSet, kind byte, value []byte) {
		b = append(b, codeSet, kind, 0, byte(len(value)))
		b = append(b, value...)
	}
	naa := id.Designator()
	add(0x01, 0x03, naa[:])
	add(0x02, 0x01, append(pad(nil, id.Vendor, 8), id.Serial...))
	const iscsi = 0x5 << 4
	port := id.Target + ",t,0x0001"
	add(0x01|iscsi, 0x80|0x10|0x04, []byte{0, 0, 0, 1})            // relative target port
	add(0x01|iscsi, 0x80|0x10|0x05, []byte{0, 0, 0, 1})            // target port group
	add(0x03|iscsi, 0x80|0x10|0x08, zeroPadded(port))              // target port name
	add(0x03|iscsi, 0x80|0x20|0x08, zeroPadded(id.Target))         // target device name
	add(0x03, 0x08, zeroPadded(id.Target+",L,0x0000000000000000")) // logical unit name
	return b
}

// Designator is the NAA designator, which names the unit in the device identification page and
// in third-party copies: NAA 6, locally made, as its first nibble says (SPC-4 7.8.6.6.5).
func (id *Identity) Designator() [16]byte {
	naa := id.NAA
	naa[0] = 0x60 | naa[0]&0x0f
	return naa
}

// zeroPadded ends a SCSI name string with zeros up to a multiple of four (SPC-4 7.8.6.11).
func zeroPadded(s string) []byte {
	b := append([]byte(s), 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

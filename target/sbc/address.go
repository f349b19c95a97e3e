package sbc

import (
	"encoding/binary"

	"sluice/target/scsi"
)

// address is the range of a command, in sectors.
type address struct {
	lba, n uint64
}

func (a address) offset() int64 { return int64(a.lba) * sector }
func (a address) bytes() int64  { return int64(a.n) * sector }

// addressOf decodes the address and the transfer length of a CDB that has them at the
// usual place for its group (SPC-4 4.2.2).
func addressOf(cdb []byte) address {
	be := binary.BigEndian
	switch cdb[0] >> 5 {
	case 0:
		n := uint64(cdb[4])
		if n == 0 {
			n = 256
		}
		return address{uint64(be.Uint32(cdb) & 0x1fffff), n}
	case 1, 2:
		return address{uint64(be.Uint32(cdb[2:])), uint64(be.Uint16(cdb[7:]))}
	case 5:
		return address{uint64(be.Uint32(cdb[2:])), uint64(be.Uint32(cdb[6:]))}
	}
	return address{be.Uint64(cdb[2:]), uint64(be.Uint32(cdb[10:]))}
}

// lengthField is the first byte of the transfer length in a CDB. A transport may pad CDBs,
// so that their length says nothing.
func lengthField(cdb []byte) int {
	switch cdb[0] >> 5 {
	case 0:
		return 4
	case 1, 2:
		return 7
	case 5:
		return 6
	}
	return 10
}

// inside tells whether the range is on the disk.
func (d *Device) inside(a address) bool {
	all := d.sectors()
	return a.lba <= all && a.n <= all-a.lba
}

// checkRange fails a command whose range is not on the disk or too long.
func (d *Device) checkRange(c *scsi.Command, a address) bool {
	if !d.inside(a) {
		d.Fail(c, scsi.Sense{Key: scsi.IllegalRequest, Code: scsi.LBAOutOfRange, Info: max(a.lba, d.sectors()), HasInfo: true})
		return false
	}
	if a.n > maxTransfer {
		d.Fail(c, scsi.BadField(lengthField(c.CDB), 7))
		return false
	}
	return true
}

// checkWrite fails a write that is out of range or not allowed.
func (d *Device) checkWrite(c *scsi.Command) bool {
	return d.checkRange(c, addressOf(c.CDB)) && d.writable(c)
}

func (d *Device) writable(c *scsi.Command) bool {
	if d.writeProtected() {
		d.Fail(c, scsi.Sense{Key: scsi.DataProtect, Code: scsi.WriteProtected})
		return false
	}
	return true
}

// writeProtected tells whether an initiator has set SWP (SPC-4 7.5.7).
func (d *Device) writeProtected() bool { return d.Mode(0x0a, 2)&0x08 != 0 }

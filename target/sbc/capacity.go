package sbc

import (
	"context"
	"encoding/binary"

	"sluice/target/scsi"
)

// readCapacity10 carries out READ CAPACITY (10) (SBC-3 5.15).
func (d *Device) readCapacity10(_ context.Context, c *scsi.Command) {
	be := binary.BigEndian
	if c.CDB[8]&1 == 0 && be.Uint32(c.CDB[2:]) != 0 {
		d.Fail(c, scsi.BadField(2, 7)) // an address without PMI
		return
	}
	c.In = be.AppendUint32(c.In[:0], uint32(min(d.sectors()-1, 1<<32-1)))
	c.In = be.AppendUint32(c.In, sector)
	d.Answer(c, len(c.In))
}

// readCapacity16 carries out READ CAPACITY (16) (SBC-3 5.16).
func (d *Device) readCapacity16(_ context.Context, c *scsi.Command) {
	be := binary.BigEndian
	if c.CDB[14]&1 == 0 && be.Uint64(c.CDB[2:]) != 0 {
		d.Fail(c, scsi.BadField(2, 7))
		return
	}
	c.In = be.AppendUint64(c.In[:0], d.sectors()-1)
	c.In = be.AppendUint32(c.In, sector)
	c.In = append(c.In, 0, physExponent, 0xc0 /* LBPME, LBPRZ */, 0)
	c.In = append(c.In, make([]byte, 16)...)
	d.Answer(c, int(min(be.Uint32(c.CDB[10:]), 32)))
}

// maxStatusRanges bounds the answer to one GET LBA STATUS; the initiator asks on from there.
const maxStatusRanges = 64

// lbaStatus carries out GET LBA STATUS (SBC-3 5.5).
func (d *Device) lbaStatus(ctx context.Context, c *scsi.Command) {
	be := binary.BigEndian
	lba, allocation := be.Uint64(c.CDB[2:]), int(min(be.Uint32(c.CDB[10:]), 1<<20))
	if lba >= d.sectors() {
		d.Fail(c, scsi.Sense{Key: scsi.IllegalRequest, Code: scsi.LBAOutOfRange, Info: lba, HasInfo: true})
		return
	}
	d.Go(ctx, c, func(ctx context.Context) {
		b := append(c.In[:0], 0, 0, 0, 0, 0, 0, 0, 0)
		for at, end := lba, d.sectors(); at < end && len(b) < 8+16*maxStatusRanges && (len(b) < allocation || len(b) == 8); {
			mapped, n, err := d.disk.Mapped(ctx, int64(at)*sector)
			if err != nil {
				d.finish(c, err, false)
				return
			}
			count := min(max(uint64(n)/sector, 1), end-at, 1<<32-1) // never 0, whatever the disk says
			status := byte(1)                                       // deallocated
			if mapped {
				status = 0
			}
			b = be.AppendUint64(b, at)
			b = be.AppendUint32(b, uint32(count))
			b = append(b, status, 0, 0, 0)
			at += count
		}
		be.PutUint32(b, uint32(len(b)-4))
		c.In = b
		d.Finished(c)
		d.Answer(c, allocation)
	})
}

// readDefects carries out READ DEFECT DATA (10) and (12): there are none (SBC-3 5.17).
func (d *Device) readDefects(_ context.Context, c *scsi.Command) {
	be := binary.BigEndian
	if c.CDB[0] == 0x37 {
		c.In = append(c.In[:0], 0, c.CDB[2]&0x1f, 0, 0)
		d.Answer(c, int(be.Uint16(c.CDB[7:])))
		return
	}
	c.In = append(c.In[:0], 0, c.CDB[1]&0x1f, 0, 0, 0, 0, 0, 0)
	d.Answer(c, int(min(be.Uint32(c.CDB[6:]), 8)))
}

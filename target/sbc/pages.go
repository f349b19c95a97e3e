package sbc

import (
	"context"
	"encoding/binary"

	"sluice/target/scsi"
)

// blockLimits is VPD page B0 (SBC-3 6.6.4), behind its header.
func (d *Device) blockLimits() []byte {
	be := binary.BigEndian
	b := make([]byte, 60)
	b[1] = maxCompare
	be.PutUint16(b[2:], 1<<physExponent) // optimal transfer length granularity
	be.PutUint32(b[4:], maxTransfer)
	be.PutUint32(b[8:], bestTransfer)
	be.PutUint32(b[16:], 1<<32-1) // sectors of one UNMAP
	be.PutUint32(b[20:], maxUnmapRanges)
	be.PutUint32(b[24:], 1<<physExponent) // optimal unmap granularity
	be.PutUint32(b[28:], 1<<31)           // its alignment is valid, and zero
	be.PutUint64(b[32:], maxWriteSame)
	if d.maxAtomic > 0 { // SBC-4 6.6.4; without atomic boundaries
		be.PutUint32(b[40:], uint32(d.maxAtomic))
		be.PutUint32(b[44:], block/sector) // alignment
		be.PutUint32(b[48:], block/sector) // granularity
	}
	return b
}

// characteristics is VPD page B1 (SBC-3 6.6.2): a medium that does not rotate.
func characteristics() []byte {
	b := make([]byte, 60)
	b[1] = 1
	return b
}

// provisioning is VPD page B2 (SBC-3 6.6.5): thin, with UNMAP and both WRITE SAME commands;
// what is not mapped reads as zeros.
func provisioning() []byte { return []byte{0, 0x80 | 0x40 | 0x20 | 0x04, 0x02, 0} }

// modePages are those of a disk: error recovery, caching, control, exceptions. One without a write cache cannot be given one.
func modePages(writeThrough bool) []*scsi.ModePage {
	caching := &scsi.ModePage{Code: 0x08, Default: make([]byte, 18), Changeable: make([]byte, 18)}
	if !writeThrough {
		caching.Default[0], caching.Changeable[0] = writeCache, writeCache
	}
	return []*scsi.ModePage{
		{Code: 0x01, Default: append([]byte{0xc0}, make([]byte, 9)...), Changeable: make([]byte, 10)}, // AWRE, ARRE
		caching,
		scsi.ControlPage(),
		{Code: 0x1c, Default: append([]byte{0x08}, make([]byte, 9)...), Changeable: make([]byte, 10)}, // DEXCPT
	}
}

// writeCache is WCE in the first byte of the caching page (SBC-3 6.5.5). It is set: a write
// is answered when it survives the death of the daemon, but only a flush makes it survive a
// loss of power.
const writeCache = 0x04

// selected flushes what was written while the cache was on, if it is off now.
func (d *Device) selected(ctx context.Context) error {
	if !d.writeThroughMode() {
		return nil
	}
	return d.disk.Flush(ctx)
}

func (d *Device) writeThroughMode() bool { return d.Mode(0x08, 0)&writeCache == 0 }

// specific is the device-specific parameter of MODE SENSE: DPOFUA, and WP if an initiator has write
// protected the disk (SBC-3 6.5.1).
func (d *Device) specific() byte {
	if d.writeProtected() {
		return 0x90
	}
	return 0x10
}

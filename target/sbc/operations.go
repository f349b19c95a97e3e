package sbc

import (
	"context"

	"sluice/target/scsi"
)

// usage returns CDB usage data: the operation code, then masks for some bytes; the address and
// length fields of the group are filled in.
func usage(code byte, masks map[int]byte) []byte {
	length := map[byte]int{0: 6, 1: 10, 2: 10, 4: 16, 5: 12}[code>>5]
	b := make([]byte, length)
	b[0] = code
	fields := map[int][2]int{6: {1, 4}, 10: {2, 8}, 12: {2, 9}, 16: {2, 13}}[length]
	for i := fields[0]; i <= fields[1]; i++ {
		b[i] = 0xff
	}
	switch length {
	case 6:
		b[1] = 0x1f
	case 10:
		b[6] = 0x1f // group number
	case 12:
		b[10] = 0x1f
	case 16:
		b[14] = 0x1f
	}
	b[length-1] = 0x07
	for i, m := range masks {
		b[i] = m
	}
	return b
}

// dataOut is the data-out of writes. Those that are too long will be refused and take none.
func dataOut(cdb []byte) int64 {
	if a := addressOf(cdb); a.n <= maxTransfer {
		return a.bytes()
	}
	return 0
}

// oneSector is the data-out of WRITE SAME, unless NDOB says that there is none.
func oneSector(cdb []byte) int64 {
	if cdb[0] == 0x93 && cdb[1]&0x01 != 0 {
		return 0
	}
	return sector
}

func compareOut(cdb []byte) int64 {
	if n := int64(cdb[13]); n <= maxCompare {
		return 2 * n * sector
	}
	return 0
}

func verifyOut(cdb []byte) int64 {
	switch cdb[1] >> 1 & 3 {
	case 1:
		return dataOut(cdb)
	case 3:
		return sector
	}
	return 0
}

// operations are the commands of a disk (SBC-3 5).
func (d *Device) operations() []*scsi.Op {
	type run = func(context.Context, *scsi.Command)
	var ops []*scsi.Op
	add := func(access scsi.Access, timeout uint32, out func([]byte) int64, r run, flags byte, codes ...byte) {
		for _, code := range codes {
			masks := map[int]byte{1: flags}
			if code>>5 == 0 {
				masks = nil
			}
			ops = append(ops, &scsi.Op{Code: code, Action: -1, Usage: usage(code, masks), Access: access, Timeout: timeout, Out: out, Run: r})
		}
	}
	add(scsi.Reads, 60, nil, d.read, 0x1a, 0x08, 0x28, 0xa8, 0x88)
	add(scsi.Writes, 60, dataOut, d.writeOne, 0x1a, 0x0a, 0x2a, 0xaa, 0x8a)
	add(scsi.Writes, 60, dataOut, d.writeAndVerify, 0x16, 0x2e, 0xae, 0x8e)
	add(scsi.Reads, 60, verifyOut, d.verify, 0x16, 0x2f, 0xaf, 0x8f)
	add(scsi.Writes, 60, nil, d.synchronize, 0x06, 0x35, 0x91)
	add(scsi.Reads, 60, nil, d.prefetch, 0x02, 0x34, 0x90)
	add(scsi.Writes, 600, oneSector, d.writeSame, 0x08, 0x41)
	add(scsi.Writes, 600, oneSector, d.writeSame, 0x09, 0x93)
	add(scsi.Writes, 60, dataOut, d.orWrite, 0x1a, 0x8b)
	plain := func(code byte, action int, access scsi.Access, u []byte, r run) *scsi.Op {
		return &scsi.Op{Code: code, Action: action, Access: access, Usage: u, Run: r, Timeout: 60}
	}
	caw := plain(0x89, -1, scsi.Writes, []byte{0x89, 0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0x1f, 0x07}, d.compareAndWrite)
	caw.Out = compareOut
	unmap := plain(0x42, -1, scsi.Writes, []byte{0x42, 0, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 0x07}, d.unmap)
	unmap.Out = func(cdb []byte) int64 { return int64(cdb[7])<<8 | int64(cdb[8]) }
	if d.maxAtomic > 0 {
		op := plain(0x9c, -1, scsi.Writes, usage(0x9c, map[int]byte{1: 0x1a, 10: 0, 11: 0}), d.writeAtomic)
		op.Out = d.atomicOut
		ops = append(ops, op)
	}
	ops = append(ops, d.copyOperations()...)
	return append(ops, caw, unmap,
		&scsi.Op{Code: 0x1b, Action: -1, AccessOf: startStopAccess, Usage: []byte{0x1b, 0x01, 0, 0x0f, 0xf7, 0x07}, Run: d.startStop, Timeout: 60},
		&scsi.Op{Code: 0x1e, Action: -1, AccessOf: preventAccess, Usage: []byte{0x1e, 0, 0, 0, 0x03, 0x07}, Run: d.prevent},
		plain(0x25, -1, scsi.Anywhere, []byte{0x25, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, 0x07}, d.readCapacity10),
		plain(0x37, -1, scsi.Reads, []byte{0x37, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0x07}, d.readDefects),
		plain(0xb7, -1, scsi.Reads, []byte{0xb7, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x07}, d.readDefects),
		plain(0x9e, 0x10, scsi.Anywhere, []byte{0x9e, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x07}, d.readCapacity16),
		plain(0x9e, 0x12, scsi.Reads, []byte{0x9e, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x07}, d.lbaStatus),
	)
}

// startStop carries out START STOP UNIT (SBC-3 5.20). The disk is always there, so that
// stopping it only flushes it.
func (d *Device) startStop(ctx context.Context, c *scsi.Command) {
	const start, eject, noFlush = 0x01, 0x02, 0x04
	switch flags := c.CDB[4]; {
	case flags&eject != 0:
		d.Fail(c, scsi.BadField(4, 1)) // the medium cannot be removed
	case flags&(start|noFlush) != 0:
		c.Complete()
	default:
		d.Go(ctx, c, func(ctx context.Context) { d.finish(c, d.disk.Flush(ctx), true) })
	}
}

// startStopAccess lets everybody start the unit, without a power condition.
func startStopAccess(cdb []byte) scsi.Access {
	if cdb[4]&0xf1 == 0x01 {
		return scsi.Anywhere
	}
	return scsi.Writes
}

// prevent carries out PREVENT ALLOW MEDIUM REMOVAL (SPC-4 6.15): nobody can remove it.
func (d *Device) prevent(_ context.Context, c *scsi.Command) { c.Complete() }

// preventAccess lets everybody allow it.
func preventAccess(cdb []byte) scsi.Access {
	if cdb[4]&0x03 == 0 {
		return scsi.Anywhere
	}
	return scsi.Writes
}

func (d *Device) writeOne(ctx context.Context, c *scsi.Command) {
	w := new(writes)
	if d.checkWrite(c) {
		d.gather(ctx, w, c)
		d.write(ctx, w)
	}
}

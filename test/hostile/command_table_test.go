package hostile

import (
	"encoding/binary"

	"sluice/target/pdu"
)

// ahead is an error in CmdSN.
func ahead(n int) edit { return number(24, uint32(n)) }

// numbers are wrong sequence numbers and task tags.
func numbers() []sequence {
	const silent = "ignored in silence, the window is as it was"
	return []sequence{
		{name: "CmdSN behind the window", must: silent, section: "4.2.2.1", steps: with(normal, executes, send(plain(0), ahead(-1)), alive, executes)},
		{name: "CmdSN far behind", must: silent, section: "4.2.2.1", steps: with(normal, send(plain(0), ahead(-1<<30)), alive, executes)},
		{name: "CmdSN on the other side of the numbers", must: silent, section: "4.2.2.1", steps: with(normal, send(plain(0), ahead(-1<<31)), alive, executes)},
		{name: "CmdSN beyond the window", must: silent, section: "4.2.2.1", steps: with(normal, send(plain(0), ahead(1<<20)), alive, executes)},
		{name: "CmdSN just beyond the window", must: silent, section: "4.2.2.1", steps: with(normal, send(plain(0), ahead(128)), alive, executes)},
		{name: "a write behind the window", must: silent + ", nothing is written", section: "4.2.2.1", steps: with(free, executes,
			send(writing(512, make([]byte, 512), write10(0, 1)...), ahead(-1)), alive, executes)},
		{name: "a write beyond the window", must: silent + ", nothing is written", section: "4.2.2.1", steps: with(free,
			send(writing(512, make([]byte, 512), write10(0, 1)...), ahead(128)), alive, executes)},
		{name: "a write replayed", must: "executed once", section: "4.2.2.1", writes: extent{8, 1}, steps: with(free,
			send(writing(512, make([]byte, 512), write10(8, 1)...)), good, send(writing(512, make([]byte, 512), write10(16, 1)...), ahead(-1)), alive, executes)},
		{name: "the same CmdSN twice, out of order", must: "the second is ignored", section: "4.2.2.1", steps: with(normal,
			send(plain(0), ahead(1)), send(plain(0), ahead(1)), alive, executes, func(p *peer) { p.cmdSN++ }, good, alive, executes)},
		{name: "commands in reverse order", must: "executed in the order of CmdSN", section: "4.2.2.1", steps: with(normal,
			send(plain(0), ahead(3)), send(plain(0), ahead(2)), send(plain(0), ahead(1)), alive, executes, func(p *peer) { p.cmdSN += 3 }, many(3, good), executes)},
		{name: "a gap that is never filled", must: "what came after it waits; pings are answered", section: "4.2.2.1", steps: with(normal,
			send(plain(0), ahead(1)), many(20, alive))},
		{name: "the whole window out of order", must: "executed when the first comes", section: "4.2.2.1", steps: with(normal, func(p *peer) {
			for i := range 127 {
				send(plain(0), ahead(127-i))(p)
			}
		}, alive, executes, func(p *peer) { p.cmdSN += 127 }, many(127, good), executes)},
		{name: "logout out of order", must: "it waits for its turn", section: "4.2.2.1", steps: with(normal,
			send(logout(0, 1), ahead(1)), alive, executes, loggedOut(pdu.LogoutClosed), closed)},
		{name: "text out of order", must: "it waits for its turn", section: "4.2.2.1", steps: with(normal,
			send(text("SendTargets="), ahead(1)), alive, send(plain(0)), answers(pdu.OpSCSIResponse, pdu.OpTextResponse), func(p *peer) { p.cmdSN++ }, executes)},
		{name: "ping out of order", must: "it waits for its turn", section: "4.2.2.1", steps: with(normal,
			send(nop('x'), ahead(1)), alive, send(plain(0)), answers(pdu.OpSCSIResponse, pdu.OpNopIn), func(p *peer) { p.cmdSN++ }, executes)},
		{name: "immediate command with a CmdSN far ahead", must: "executed: it is not in the order", section: "4.2.2.1", steps: with(normal,
			send(plain(0), immediate, ahead(5000)), good, executes)},
		{name: "ExpStatSN from the future", must: "nothing was sent that it could acknowledge; ignored", section: "4.2.2.2", steps: with(normal, send(plain(0), number(28, 1000)), good, executes)},
		{name: "ExpStatSN from the past", must: "with ErrorRecoveryLevel 0 nothing is sent again", section: "4.2.2.2", steps: with(normal, many(5, executes), send(plain(0), number(28, ^uint32(3))), good, executes)},
		{name: "task tag ffffffff for a command", must: "rejected: invalid PDU field", section: "11.2.1.8", steps: with(normal, send(plain(0), tag(pdu.NoTag)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "task tag of a running command", must: "rejected: task in progress; the first is untouched", section: "11.17.1, 4.2.2.1", writes: extent{0, 16}, steps: with(asked,
			send(writing(8192, nil, write10(0, 16)...), tag(7)), asks(0, 8192), send(plain(0), tag(7)), rejected(pdu.ReasonTaskInProgress),
			gives(0, make([]byte, 8192)), good, executes)},
		{name: "task tag of a running command, immediate", must: "rejected: task in progress", section: "11.17.1", writes: extent{0, 16}, steps: with(asked,
			send(writing(8192, nil, write10(0, 16)...), tag(7)), asks(0, 8192), send(plain(0), tag(7), immediate), rejected(pdu.ReasonTaskInProgress),
			gives(0, make([]byte, 8192)), good, executes)},
		{name: "task tag used again after its end", must: "executed", section: "11.2.1.8", steps: with(normal, many(50, send(plain(0), tag(7)), good), alive)},
		{name: "task tag 0", must: "a tag like any other", section: "11.2.1.8", steps: with(normal, send(plain(0), tag(0)), good, alive)},
		{name: "a thousand immediate commands that wait for data", must: "rejected beyond a bound: too many immediate commands", section: "4.2.2.1, 11.17.1", steps: with(asked, func(p *peer) {
			for range 1000 {
				send(writing(512, nil, write10(0, 1)...), immediate)(p)
			}
			r2ts, rejects := 0, 0
			for range 1000 {
				switch h, _, err := p.receive(); {
				case err != nil:
					p.t.Fatal(err)
				case h.Opcode() == pdu.OpR2T:
					r2ts++
				case h.Opcode() == pdu.OpReject && h[2] == byte(pdu.ReasonTooManyImmediate):
					rejects++
					p.expSN++
				}
			}
			if r2ts+rejects != 1000 || rejects < 500 {
				p.t.Fatalf("%d were taken, %d rejected", r2ts, rejects)
			}
		}, alive)},
		{name: "reserved task attribute", must: "executed or refused, nothing worse", section: "11.3.1", steps: with(normal, send(plain(0), at(1, 0x87)), func(p *peer) { p.expect(pdu.OpSCSIResponse) }, executes)},
		{name: "ACA attribute", must: "executed or refused, nothing worse", section: "11.3.1, SAM-5 8.6", steps: with(normal, send(plain(0), at(1, 0x84)), func(p *peer) { p.expect(pdu.OpSCSIResponse) }, executes)},
		{name: "neither F nor W", must: "F must be 1 without W; executed or refused", section: "11.3.1", steps: with(normal, send(plain(0), at(1, 0)), func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, executes)},
	}
}

// cdb16 is a READ or WRITE(16).
func cdb16(op byte, lba uint64, n int) []byte {
	cdb := make([]byte, 16)
	cdb[0] = op
	binary.BigEndian.PutUint64(cdb[2:], lba)
	binary.BigEndian.PutUint32(cdb[10:], uint32(n))
	return cdb
}

// anyEnd expects the response of a command, whatever its status, and no data at all.
func anyEnd(p *peer) { p.t.Helper(); p.expect(pdu.OpSCSIResponse) }

// lengths are disagreements between the expected data transfer length, the CDB and what is
// sent. The rule (RFC 7143 11.4.5, SAM-5 5.4.2): the smaller of the two moves, the rest
// is a residual, and nothing outside of what the CDB names changes.
func lengths() []sequence {
	const under, over = 0x02, 0x04
	zeros := func(n int) []byte { return make([]byte, n) }
	return []sequence{
		{name: "READ, expected less", must: "the part that was expected, and an overflow", section: "11.4.5", steps: with(normal, send(reading(512, read10(0, 4)...)), delivers(512, over, 1536), executes)},
		{name: "READ, expected more", must: "all, and an underflow", section: "11.4.5", steps: with(normal, send(reading(4096, read10(0, 4)...)), delivers(2048, under, 2048), executes)},
		{name: "READ, expected 0 with R", must: "no data, and an overflow", section: "11.4.5", steps: with(normal, send(reading(0, read10(0, 4)...)), delivers(0, over, 2048), executes)},
		{name: "READ, expected half a block", must: "256 bytes and an overflow", section: "11.4.5", steps: with(normal, send(reading(256, read10(0, 1)...)), delivers(256, over, 256), executes)},
		{name: "READ, expected 4 GiB", must: "all, and an underflow", section: "11.4.5", steps: with(normal, send(reading(1<<32-1, read10(0, 1)...)), delivers(512, under, 1<<32-1-512), executes)},
		{name: "READ, neither R nor W", must: "no data, and an overflow", section: "11.3.1, 11.4.5", steps: with(normal, send(plain(read10(0, 4)...)), delivers(0, over, 2048), executes)},
		{name: "READ with W", must: "no data comes; nothing is written", section: "11.3.1", steps: with(normal, send(writing(512, nil, read10(0, 1)...)), anyEnd, executes)},
		{name: "READ with W and data", must: "no data comes; nothing is written", section: "11.3.1", steps: with(normal, send(writing(512, zeros(512), read10(0, 1)...)), anyEnd, executes)},
		{name: "READ with R and W", must: "check condition: no bidirectional command is known", section: "11.3.1", steps: with(normal, send(reading(512, read10(0, 1)...), at(1, 0xe0)), sensed(5, 0x24, 0), executes)},
		{name: "WRITE with R and W", must: "check condition, nothing is written", section: "11.3.1", steps: with(free, send(writing(512, zeros(512), write10(0, 1)...), at(1, 0xe0)), sensed(5, 0x24, 0), executes)},
		{name: "WRITE with R", must: "nothing that was not sent is written", section: "11.3.1", steps: with(normal, send(reading(512, write10(0, 1)...)), anyEnd, executes)},
		{name: "WRITE, neither R nor W", must: "nothing that was not sent is written", section: "11.3.1", steps: with(normal, send(plain(write10(0, 1)...)), anyEnd, executes)},
		{
			name: "WRITE, expected more than the CDB names", must: "the CDB's blocks are written, the neighbours not, and an underflow", section: "11.4.5", writes: extent{8, 1},
			steps: with(free, send(writing(4096, zeros(4096), write10(8, 1)...)), residual(true, 3584), executes),
		},
		{
			name: "WRITE, expected more, by R2T", must: "only the CDB's bytes are asked for", section: "11.4.5, 11.8", writes: extent{8, 1},
			steps: with(asked, send(writing(4096, nil, write10(8, 1)...)), asks(0, 512), gives(0, zeros(512)), residual(true, 3584), executes),
		},
		{
			name: "WRITE at the end, expected more", must: "the disk does not grow", section: "11.4.5", writes: extent{volumeBlocks - 1, 1},
			steps: with(free, send(writing(8192, zeros(8192), write10(volumeBlocks-1, 1)...)), residual(true, 7680), executes),
		},
		{
			name: "WRITE, expected less than the CDB names", must: "nothing is written that was not sent", section: "11.4.5, SBC-3 4.2", writes: extent{8, 1},
			steps: with(free, send(writing(512, zeros(512), write10(8, 4)...)), anyEnd, executes),
		},
		{
			name: "WRITE, expected half a block", must: "no block changes in part", section: "11.4.5", writes: extent{8, 1},
			steps: with(free, send(writing(256, zeros(256), write10(8, 1)...)), anyEnd, executes),
		},
		{name: "WRITE, expected 0 with W", must: "nothing is written", section: "11.4.5", steps: with(free, send(writing(0, nil, write10(0, 4)...)), anyEnd, executes)},
		{
			name: "WRITE of 4 GiB expected", must: "the CDB's bytes are asked for", section: "11.4.5", writes: extent{8, 1},
			steps: with(asked, send(writing(1<<32-1, nil, write10(8, 1)...)), asks(0, 512), gives(0, zeros(512)), residual(true, 1<<32-1-512), executes),
		},
		{name: "WRITE(16) of 2 TiB", must: "refused before a byte is asked for", section: "SBC-3 5.34", steps: with(asked, send(writing(1<<32-1, nil, cdb16(0x8a, 0, 1<<32-1)...)), sensedAny(5), executes)},
		{name: "READ(16) of 2 TiB", must: "refused", section: "SBC-3 5.18", steps: with(normal, send(reading(1<<32-1, cdb16(0x88, 0, 1<<32-1)...)), sensedAny(5), executes)},
		{name: "TEST UNIT READY, expected 4 GiB", must: "GOOD with an underflow, no data", section: "11.4.5", steps: with(normal, send(reading(1<<32-1, 0)), delivers(0, under, 1<<32-1), executes)},
		{name: "TEST UNIT READY with W, expected 4 GiB", must: "GOOD with an underflow, no R2T", section: "11.4.5", steps: with(asked, send(writing(1<<32-1, nil, 0)), residual(true, 1<<32-1), executes)},
		{name: "INQUIRY with W", must: "no data-in", section: "11.3.1", steps: with(normal, send(writing(96, nil, 0x12, 0, 0, 0, 96)), anyEnd, executes)},
		{name: "INQUIRY with W and data", must: "no data-in", section: "11.3.1", steps: with(normal, send(writing(96, zeros(96), 0x12, 0, 0, 0, 96)), anyEnd, executes)},
		{name: "READ CAPACITY(10) with W", must: "no data-in", section: "11.3.1", steps: with(normal, send(writing(8, nil, 0x25)), anyEnd, executes)},
		{name: "MODE SENSE(6), expected 0", must: "no data", section: "11.4.5", steps: with(normal, send(reading(0, 0x1a, 0, 0x3f, 0, 255)), anyEnd, executes)},
		{name: "MODE SENSE(6), neither R nor W", must: "no data", section: "11.4.5", steps: with(normal, send(plain(0x1a, 0, 0x3f, 0, 255)), anyEnd, executes)},
		{name: "MODE SENSE(10), expected 1", must: "one byte and an overflow", section: "11.4.5", steps: with(normal, send(reading(1, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255)), overflowing(1), executes)},
		{name: "READ CAPACITY(16), expected 4", must: "four bytes and an overflow", section: "11.4.5", steps: with(normal, send(reading(4, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32)), overflowing(4), executes)},
		{name: "READ CAPACITY(10), expected 1", must: "one byte and an overflow", section: "11.4.5", steps: with(normal, send(reading(1, 0x25)), overflowing(1), executes)},
		{name: "INQUIRY, expected 1", must: "one byte and an overflow", section: "11.4.5", steps: with(normal, send(reading(1, 0x12, 0, 0, 0, 96)), overflowing(1), executes)},
		{name: "REPORT LUNS, expected 3", must: "three bytes and an overflow", section: "11.4.5", steps: with(normal, send(reading(3, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16)), overflowing(3), executes)},
		{name: "REPORT SUPPORTED OPERATION CODES, expected 2", must: "two bytes and an overflow", section: "11.4.5", steps: with(normal, send(reading(2, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16)), overflowing(2), executes)},
		{name: "PERSISTENT RESERVE OUT without data", must: "check condition: parameter list length", section: "SPC-4 6.16", steps: with(normal, send(plain(0x5f, 0, 0, 0, 0, 0, 0, 0, 24)), sensedAny(5), executes)},
		{name: "PERSISTENT RESERVE OUT, 8 of 24 bytes", must: "check condition", section: "SPC-4 6.16", steps: with(free, send(writing(8, zeros(8), 0x5f, 0, 0, 0, 0, 0, 0, 0, 24)), sensedAny(5), executes)},
		{name: "REGISTER AND MOVE with 8 bytes", must: "check condition", section: "SPC-4 6.16.4", steps: with(free, send(writing(8, zeros(8), 0x5f, 7, 0, 0, 0, 0, 0, 0, 8)), sensedAny(5), executes)},
		{name: "REGISTER AND MOVE, transport ID longer than the list", must: "check condition", section: "SPC-4 6.16.4", steps: with(free,
			send(writing(24, append(zeros(20), 0xff, 0xff, 0xff, 0xff), 0x5f, 7, 0, 0, 0, 0, 0, 0, 24)), sensedAny(5), executes)},
		{name: "UNMAP without a list", must: "GOOD or check condition, nothing is unmapped", section: "SBC-3 5.28", steps: with(normal, send(plain(0x42, 0, 0, 0, 0, 0, 0, 0, 24)), anyEnd, executes)},
		{name: "UNMAP with a list longer than the data", must: "nothing is unmapped", section: "SBC-3 5.28", steps: with(free,
			send(writing(24, append([]byte{0xff, 0xff, 0xff, 0xff}, zeros(20)...), 0x42, 0, 0, 0, 0, 0, 0, 0, 24)), anyEnd, executes)},
		{name: "UNMAP of 2^64 blocks", must: "check condition: LBA out of range", section: "SBC-3 5.28", steps: with(free,
			send(writing(24, append([]byte{0, 22, 0, 16, 0, 0, 0, 0}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), 0x42, 0, 0, 0, 0, 0, 0, 0, 24)),
			sensedAny(5), executes)},
		{name: "MODE SELECT(6) without data", must: "GOOD or check condition", section: "SPC-4 6.11", steps: with(normal, send(plain(0x15, 0x10, 0, 0, 24)), anyEnd, executes)},
		{name: "MODE SELECT(10), page longer than the list", must: "check condition", section: "SPC-4 7.5", steps: with(free,
			send(writing(12, append(zeros(8), 8, 255, 0, 0), 0x55, 0x10, 0, 0, 0, 0, 0, 0, 12)), sensedAny(5), executes)},
		{name: "COMPARE AND WRITE with half of its data", must: "check condition, nothing is written", section: "SBC-3 5.3", steps: with(free,
			send(writing(512, zeros(512), 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)), sensedAny(0), executes)},
		{name: "WRITE SAME(16) without data", must: "nothing that was not sent is written", section: "SBC-3 5.44", steps: with(normal,
			send(plain(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8)), anyEnd, executes)},
		{name: "WRITE SAME(16) of everything, with a quarter of a block", must: "check condition, nothing is written", section: "SBC-3 5.44", steps: with(free,
			send(writing(128, zeros(128), 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)), anyEnd, executes)},
		{name: "VERIFY(10) with BYTCHK and no data", must: "check condition or GOOD, nothing else", section: "SBC-3 5.29", steps: with(normal, send(plain(0x2f, 2, 0, 0, 0, 0, 0, 0, 8)), anyEnd, executes)},
		{name: "SEND DIAGNOSTIC with a list that does not come", must: "check condition or GOOD", section: "SPC-4 6.42", steps: with(normal, send(plain(0x1d, 0x10, 0, 0xff, 0xff)), anyEnd, executes)},
	}
}

// sensedAny expects a check condition with this sense key, or any status but GOOD for key 0.
func sensedAny(key byte) step {
	return func(p *peer) {
		p.t.Helper()
		h, data := p.expect(pdu.OpSCSIResponse)
		if h[3] == 0 || key != 0 && (len(data) < 5 || data[4]&15 != key) {
			p.t.Fatalf("got %s, where sense key %x is due", describe(&h, data), key)
		}
	}
}

// overflowing expects n bytes of data and GOOD with an overflow of any length.
func overflowing(n int) step {
	return func(p *peer) {
		p.t.Helper()
		h, data, err := p.receive()
		if err != nil {
			p.t.Fatal(err)
		}
		got := len(data)
		if h.Opcode() == pdu.OpDataIn && h[1]&1 == 0 {
			if h, data, err = p.receive(); err != nil {
				p.t.Fatal(err)
			}
		}
		p.expSN++
		if h[3] != 0 || h[1]&4 == 0 || got != n {
			p.t.Fatalf("%d bytes and %s, flags %#02x, where %d bytes with an overflow are due", got, describe(&h, data), h[1], n)
		}
	}
}

// cdbs are commands that make no sense to a disk.
func cdbs() []sequence {
	noSuch := func(name string, cdb ...byte) sequence {
		return sequence{name: name, must: "check condition: invalid operation code", section: "SPC-4 4.5.6", steps: with(normal, send(plain(cdb...)), sensed(5, 0x20, 0), executes)}
	}
	illegal := func(name, section string, cdb ...byte) sequence {
		return sequence{name: name, must: "check condition: illegal request", section: section, steps: with(normal, send(plain(cdb...)), sensedAny(5), executes)}
	}
	ranged := func(name string, cdb []byte) sequence {
		return sequence{name: name, must: "check condition: LBA out of range", section: "SBC-3 4.2", steps: with(normal, send(reading(512, cdb...)), sensed(5, 0x21, 0), executes)}
	}
	outside := func(name string, cdb []byte) sequence {
		return sequence{
			name: name, must: "check condition: LBA out of range, nothing is written", section: "SBC-3 4.2",
			steps: with(free, send(writing(512, make([]byte, 512), cdb...)), sensed(5, 0x21, 0), executes),
		}
	}
	return []sequence{
		noSuch("operation code ff", 0xff), noSuch("operation code c0", 0xc0), noSuch("FORMAT UNIT", 0x04), noSuch("REASSIGN BLOCKS", 0x07), noSuch("WRITE LONG(10)", 0x3f),
		noSuch("operation code 7e", 0x7e), noSuch("SPACE, of tapes", 0x11), noSuch("MOVE MEDIUM, of changers", 0xa5), noSuch("XDWRITEREAD(10)", 0x53),
		{name: "PREVENT ALLOW MEDIUM REMOVAL", must: "GOOD or an invalid operation code", section: "SBC-3 5.13", steps: with(normal, send(plain(0x1e, 0, 0, 0, 1)), anyEnd, executes)},
		{name: "ORWRITE(16)", must: "never more than an or", section: "SBC-3 5.12", writes: extent{8, 1}, steps: with(free,
			send(writing(512, make([]byte, 512), cdb16(0x8b, 8, 1)...)), anyEnd, executes)},
		{name: "ORWRITE(16) without data", must: "nothing is written", section: "SBC-3 5.12", steps: with(normal, send(plain(cdb16(0x8b, 8, 1)...)), anyEnd, executes)},
		{name: "variable length CDB without its rest", must: "check condition", section: "SPC-4 4.3.3", steps: with(normal, send(plain(0x7f, 0, 0, 0, 0, 0, 0, 24, 0, 9)), sensedAny(5), executes)},
		{name: "variable length CDB that says 255", must: "check condition", section: "SPC-4 4.3.3", steps: with(normal, send(plain(0x7f, 0, 0, 0, 0, 0, 0, 255, 0, 11)), sensedAny(5), executes)},
		{name: "NACA", must: "check condition, or ignored where it has no effect", section: "SAM-5 5.2", steps: with(normal, send(plain(0, 0, 0, 0, 0, 4)), anyEnd, executes)},
		ranged("READ(10) behind the end", read10(volumeBlocks, 1)), ranged("READ(10) across the end", read10(volumeBlocks-1, 2)), ranged("READ(10) at 2^32-1", read10(1<<32-1, 1)),
		ranged("READ(16) at 2^64-1", cdb16(0x88, 1<<64-1, 1)), ranged("READ(16) that wraps around", cdb16(0x88, 1<<64-1, 2)), ranged("READ(16) at 2^55, whose byte offset overflows", cdb16(0x88, 1<<55, 1)),
		outside("WRITE(10) behind the end", write10(volumeBlocks, 1)), outside("WRITE(16) at 2^64-1", cdb16(0x8a, 1<<64-1, 1)), outside("WRITE(16) at 2^55", cdb16(0x8a, 1<<55, 1)),
		outside("WRITE(10) that ends just behind the end", write10(volumeBlocks-1, 2)), outside("WRITE SAME(16) across the end", cdb16(0x93, volumeBlocks-1, 2)),
		illegal("READ(10) with protection wanted", "SBC-3 5.16", 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1),
		illegal("INQUIRY of a page that does not exist", "SPC-4 6.6", 0x12, 1, 0xfe, 0, 96),
		illegal("INQUIRY of a page without EVPD", "SPC-4 6.6", 0x12, 0, 0x80, 0, 96),
		illegal("MODE SENSE of a page that does not exist", "SPC-4 6.13", 0x1a, 0, 0x2f, 0, 255),
		illegal("LOG SENSE of a page that does not exist", "SPC-4 6.8", 0x4d, 0, 0x7e, 0, 0, 0, 0, 0, 255),
		illegal("PERSISTENT RESERVE IN, service action 31", "SPC-4 6.15", 0x5e, 0x1f, 0, 0, 0, 0, 0, 0, 255),
		illegal("SERVICE ACTION IN, action 31", "SPC-4 6.36", 0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32),
		illegal("REPORT LUNS, allocation length 0 and select report ff", "SPC-4 6.33", 0xa0, 0, 0xff),
		illegal("MAINTENANCE IN, action 31", "SPC-4 6.35", 0xa3, 0x1f),
	}
}

// units are logical unit numbers in all their forms.
func units() []sequence {
	absent := func(name string, v uint64) sequence {
		return sequence{name: name, must: "check condition: logical unit not supported; nothing is written", section: "SAM-5 4.7, 5.11", steps: with(free,
			send(writing(512, make([]byte, 512), write10(0, 1)...), lun(v)), sensed(5, 0x25, 0), executes)}
	}
	return []sequence{
		absent("LUN 1", 1<<48), absent("LUN 255", 255<<48), absent("LUN 16383, flat", 0x7fff<<48), absent("another bus", 0x0100<<48),
		absent("second level", 0x0000_0001_0000_0000), absent("fourth level", 1), absent("logical unit addressing", 0x8000<<48),
		absent("extended addressing", 0xc100<<48), absent("REPORT LUNS well known unit", 0xc101<<48), absent("not specified", 0xffff_ffff_ffff_ffff),
		{name: "LUN 0, flat", must: "the same unit as by peripheral addressing", section: "SAM-5 4.7.7.3", steps: with(normal, send(reading(512, read10(0, 1)...), lun(0x4000<<48)), delivers(512, 0, 0), executes)},
		{name: "INQUIRY of a unit that is not there", must: "peripheral qualifier 3", section: "SPC-4 6.6.2", steps: with(normal, send(reading(36, 0x12, 0, 0, 0, 36), lun(9<<48)), func(p *peer) {
			if _, data := p.expect(pdu.OpDataIn); len(data) == 0 || data[0] != 0x7f {
				p.t.Fatalf("INQUIRY data % x", data)
			}
		}, executes)},
		{name: "REPORT LUNS of a unit that is not there", must: "answered", section: "SPC-4 6.33", steps: with(normal, send(reading(16, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16), lun(9<<48)), delivers(16, 0, 0), executes)},
		{name: "reset of a unit that is not there", must: "LUN does not exist", section: "11.6.1", steps: with(normal, send(task(pdu.TaskLUReset, pdu.NoTag), lun(9<<48)), taskResult(pdu.TaskNoLUN), executes)},
		{name: "data-out with another LUN than its command", must: "the tag decides, or rejected; nothing else is written", section: "11.7", writes: extent{8, 1}, steps: with(asked,
			send(writing(512, nil, write10(8, 1)...)), asks(0, 512), gives(0, make([]byte, 512), lun(9<<48)), func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, alive)},
	}
}

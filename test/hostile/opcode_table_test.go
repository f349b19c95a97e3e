package hostile

import (
	"bytes"

	"sluice/target/pdu"
)

// opcodes that an initiator may not send, or that do not exist.
func opcodes() []sequence {
	var table []sequence
	for op := pdu.Opcode(0x07); op < 0x40; op++ {
		if op == pdu.OpSNACK {
			continue
		}
		kind := "reserved"
		switch {
		case op >= 0x1c && op <= 0x1e:
			kind = "vendor specific"
		case op >= 0x20:
			kind = "target's"
		}
		table = append(table, sequence{
			name: named("%s opcode %#02x with data", kind, byte(op)), must: "rejected: command not supported; the data is skipped",
			section: "11.17.1", steps: with(normal, send(opcode(op).with(func(m *message) { m.data = make([]byte, 777) })), rejected(pdu.ReasonUnsupported), executes, alive),
		})
	}
	immediately := sequence{
		name: "reserved opcode with the I bit", must: "rejected: command not supported", section: "11.17.1",
		steps: with(normal, send(opcode(0x0a), immediate), rejected(pdu.ReasonUnsupported), executes),
	}
	top := sequence{
		name: "the highest bit of byte 0", must: "it is reserved and ignored", section: "11.2.1.1",
		steps: with(normal, send(plain(0), at(0, 0x81)), good, alive),
	}
	flood := sequence{name: "10,000 unknown opcodes", must: "each is rejected", section: "11.17.1", steps: with(normal, func(p *peer) {
		go raw(bytes.Repeat(opcode(0x0b).encode(false, false), 10000))(p)
		for range 10000 {
			rejected(pdu.ReasonUnsupported)(p)
		}
	}, alive)}
	return append(table, immediately, top, flood)
}

// segments lie about their lengths, are cut, or come slowly.
func segments() []sequence {
	const fatal = "rejected: protocol error; closed, since what follows cannot be told apart"
	return []sequence{
		{name: "NOP-Out announces 16 MiB", must: fatal, section: "13.12, 7.3", steps: with(normal, send(nop(), announces(1<<24-1)), rejected(pdu.ReasonProtocolError), closed)},
		{name: "command announces one byte more than allowed", must: fatal, section: "13.12", steps: with(normal,
			send(writing(1<<20, nil, write10(0, 2048)...), announces(262145)), rejected(pdu.ReasonProtocolError), closed)},
		{name: "unknown opcode announces 16 MiB", must: fatal, section: "13.12", steps: with(normal, send(opcode(0x0c), announces(1<<24-1)), rejected(pdu.ReasonProtocolError), closed)},
		{name: "data-out announces 16 MiB", must: fatal, section: "13.12", steps: with(normal, send(dataOut(5, pdu.NoTag, 0, nil), announces(1<<24-1)), rejected(pdu.ReasonProtocolError), closed)},
		{name: "logout announces 16 MiB", must: fatal, section: "13.12", steps: with(normal, send(logout(0, 1), announces(1<<24-1)), rejected(pdu.ReasonProtocolError), closed)},
		{name: "text announces 16 MiB", must: fatal, section: "13.12", steps: with(normal, send(text(""), announces(1<<24-1)), rejected(pdu.ReasonProtocolError), closed)},
		{
			name: "as many bytes of ping as allowed", must: "as many as the initiator takes come back", section: "11.18",
			steps: with(session("MaxRecvDataSegmentLength=512"), send(nop(make([]byte, 262144)...)), func(p *peer) {
				if _, data := p.expect(pdu.OpNopIn); len(data) != 512 {
					p.t.Fatalf("%d bytes", len(data))
				}
			}, alive),
		},
		{name: "ping of one byte", must: "the padding is skipped", section: "11.2.3", steps: with(normal, send(nop('x')), pong, executes)},
		{name: "fewer bytes than announced, then gone", must: "nothing is written", section: "11.2.1.5", steps: with(free,
			send(writing(4096, make([]byte, 4096), write10(0, 8)...), cutBy(1)), hangsUp)},
		{name: "header cut, then gone", must: "nothing", section: "11.2.1", steps: with(normal, send(plain(0), cutBy(47)), hangsUp)},
		{
			name: "write byte by byte", must: "executed", section: "11.3", writes: extent{8, 1},
			steps: with(free, send(writing(512, make([]byte, 512), write10(8, 1)...), slowly), good, alive),
		},
		{name: "ping byte by byte with digests", must: "answered", section: "11.18", steps: with(digested, send(nop(make([]byte, 99)...), slowly), pong, alive)},
		{name: "a hundred commands in one packet", must: "each is executed", section: "4.2.2.1", steps: with(normal, func(p *peer) {
			var all []byte
			for range 100 {
				p.itt++
				m := plain(0).with(tag(p.itt), number(24, p.cmdSN))
				p.cmdSN++
				all = append(all, m.encode(false, false)...)
			}
			raw(all)(p)
		}, many(100, good), alive)},
		{
			name: "AHS announced that do not come", must: "the next PDU is taken for them; invalid field", section: "11.2.1.4",
			steps: with(normal, send(plain(0), wordsOfAHS(12), announces(0)), send(opcode(0x0b)), rejected(pdu.ReasonInvalidField), hangsUp),
		},
		{name: "AHS of an unknown type", must: "rejected: invalid PDU field", section: "11.2.2.1", steps: with(normal,
			send(plain(0), ahs(0, 1, 63, 0)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "AHS of length 0", must: "rejected: invalid PDU field", section: "11.2.2.2", steps: with(normal,
			send(plain(0), ahs(0, 0, 0, 0)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "AHS longer than all of them", must: "rejected: invalid PDU field", section: "11.2.2.2", steps: with(normal,
			send(plain(0), ahs(0xff, 0xff, 1, 0, 1, 2, 3, 4)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "two extended CDBs", must: "rejected: invalid PDU field", section: "11.2.2.3", steps: with(normal,
			send(plain(0x7f), ahs(0, 5, 1, 0, 1, 2, 3, 4, 0, 5, 1, 0, 1, 2, 3, 4)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "extended CDB of 1016 bytes", must: "rejected, or an invalid operation", section: "11.2.2.3", steps: with(normal,
			send(plain(0x7f), ahs(append([]byte{0x03, 0xf9, 1, 0}, make([]byte, 1016)...)...)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "extended CDB for TEST UNIT READY", must: "what follows a CDB is ignored or an invalid field", section: "SPC-4 4.3.2", steps: with(normal,
			send(plain(0), ahs(0, 5, 1, 0, 1, 2, 3, 4)), func(p *peer) { p.expect(pdu.OpSCSIResponse) }, executes)},
		{name: "bidirectional length on a read", must: "check condition: no bidirectional command is known", section: "11.2.2.4", steps: with(normal,
			send(reading(512, read10(0, 1)...), ahs(0, 5, 2, 0, 0, 0, 2, 0)), sensed(5, 0x24, 0), executes)},
		{name: "AHS on a ping", must: "ignored or rejected", section: "11.18", steps: with(normal, send(nop(), ahs(0, 1, 1, 0)), func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, executes)},
		{name: "AHS on data-out", must: "ignored or rejected", section: "11.7", steps: with(normal,
			send(dataOut(77, 78, 0, nil), ahs(0, 1, 1, 0)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "immediate data where none was agreed", must: "check condition: unexpected unsolicited data", section: "13.11, 11.4.7.2", steps: with(asked,
			send(writing(512, make([]byte, 512), write10(0, 1)...)), sensed(0x0b, 0x0c, 0x0c), executes)},
		{name: "unfinished sequence where R2T was agreed", must: "check condition: unexpected unsolicited data", section: "13.10, 11.4.7.2", steps: with(asked,
			send(unfinished(512, nil, write10(0, 1)...)), sensed(0x0b, 0x0c, 0x0c), executes)},
		{name: "immediate data beyond FirstBurstLength", must: "check condition: incorrect amount of data", section: "13.14, 11.4.7.2", steps: with(free,
			send(writing(16384, make([]byte, 16384), write10(0, 32)...)), sensed(0x0b, 0x0c, 0x0d), executes)},
		{name: "data with TEST UNIT READY", must: "check condition: unexpected unsolicited data", section: "11.3, 11.4.7.2", steps: with(normal,
			send(plain(0).with(func(m *message) { m.data = make([]byte, 512) })), sensed(0x0b, 0x0c, 0x0c), executes)},
		{name: "data with a READ", must: "check condition: unexpected unsolicited data", section: "11.3", steps: with(normal,
			send(reading(512, read10(0, 1)...).with(func(m *message) { m.data = make([]byte, 512) })), sensed(0x0b, 0x0c, 0x0c), executes)},
		{name: "data with a task management request", must: "skipped", section: "11.5", steps: with(normal,
			send(task(pdu.TaskAbortSet, pdu.NoTag).with(func(m *message) { m.data = make([]byte, 512) })), taskResult(pdu.TaskComplete), executes)},
	}
}

// digests that are wrong.
func digests() []sequence {
	return []sequence{
		{name: "both right", must: "executed", section: "13.1", steps: with(digested, executes, alive)},
		{name: "wrong header digest", must: "closed: the length cannot be trusted", section: "7.7", steps: with(digested, send(plain(0), wrongHeaderDigest), closed)},
		{name: "wrong header digest of a write", must: "closed, nothing is written", section: "7.7", steps: with(digested,
			send(writing(512, make([]byte, 512), write10(0, 1)...), wrongHeaderDigest), closed)},
		{name: "wrong data digest of immediate data", must: "rejected: data digest error; nothing is written", section: "7.7, 11.17.1", steps: with(digested,
			send(writing(512, make([]byte, 512), write10(0, 1)...), wrongDataDigest), rejected(pdu.ReasonDataDigest), hangsUp)},
		{name: "wrong data digest, then the same command again", must: "the repeated command is executed", section: "7.7", writes: extent{0, 1}, steps: with(digested,
			func(p *peer) {
				sn := p.cmdSN
				send(writing(512, make([]byte, 512), write10(0, 1)...), wrongDataDigest)(p)
				p.cmdSN = sn
			}, rejected(pdu.ReasonDataDigest), send(writing(512, make([]byte, 512), write10(0, 1)...)), good, alive)},
		{
			name: "wrong data digest of data-out", must: "rejected, and check condition: CRC error; nothing is written", section: "7.7, 11.4.7.2",
			steps: with(session("HeaderDigest=CRC32C", "DataDigest=CRC32C", "InitialR2T=Yes", "ImmediateData=No"), send(writing(512, nil, write10(0, 1)...)), asks(0, 512),
				gives(0, make([]byte, 512), wrongDataDigest), rejected(pdu.ReasonDataDigest), sensed(0x0b, 0x47, 0x05), executes),
		},
		{name: "wrong data digest of a ping", must: "rejected: data digest error", section: "7.7", steps: with(digested, send(nop('x'), immediate, wrongDataDigest), rejected(pdu.ReasonDataDigest), alive)},
		{name: "wrong data digest of a text", must: "rejected: data digest error", section: "7.7", steps: with(digested, send(text("SendTargets="), immediate, wrongDataDigest), rejected(pdu.ReasonDataDigest), alive)},
		{name: "wrong data digest of an unknown opcode", must: "rejected, the stream stays in step", section: "7.7", steps: with(digested,
			send(opcode(0x0b).with(func(m *message) { m.data = make([]byte, 9) }), wrongDataDigest), rejected(pdu.ReasonUnsupported), executes)},
		{name: "no digests though agreed", must: "closed", section: "13.1, 7.7", steps: with(digested, func(p *peer) {
			p.header, p.data = false, false
			send(plain(0))(p)
			send(plain(0))(p)
		}, hungUp)},
		{name: "digests though not agreed", must: "their bytes begin the next header; rejected or closed", section: "13.1", steps: with(normal, func(p *peer) {
			p.header = true
			send(plain(0))(p)
			p.header = false
		}, good, hangsUp)},
		{name: "header digest covers the AHS", must: "closed if they were changed", section: "13.1", steps: with(digested, func(p *peer) {
			m := plain(0x7f).with(ahs(0, 5, 1, 0, 1, 2, 3, 4), tag(1), number(24, p.cmdSN))
			b := m.encode(true, true)
			b[50] ^= 0xff
			raw(b)(p)
		}, closed)},
		{name: "data digest covers the padding", must: "rejected if it was changed", section: "13.1", steps: with(digested, func(p *peer) {
			m := nop('x').with(immediate, tag(1), number(24, p.cmdSN))
			b := m.encode(true, true)
			b[54] ^= 0xff // header, its digest, x, two of padding
			raw(b)(p)
		}, rejected(pdu.ReasonDataDigest), alive)},
	}
}

package hostile

import (
	"encoding/binary"

	"sluice/target/pdu"
)

// message is a PDU to be sent: as it should be, and with what is wrong about it.
type message struct {
	h    pdu.Header
	ahs  []byte
	data []byte

	numbered  bool // it takes the next CmdSN
	hasCmdSN  bool // bytes 24 to 27 are a CmdSN
	ownTag    bool // the task tag was given, 0 included
	lies      bool // the header's lengths were given
	headerCRC uint32
	dataCRC   uint32 // what to add to the digests
	cut       int    // bytes to leave out at the end
	dribble   bool   // sent byte by byte
}

// edit changes one thing about a message.
type edit func(*message)

// header is what every PDU of package pdu can do.
type marshaler interface{ Marshal(h *pdu.Header) }

func build(p marshaler, data []byte) message {
	var m message
	p.Marshal(&m.h)
	m.data = data
	switch m.h.Opcode() {
	case pdu.OpNopOut, pdu.OpSCSICommand, pdu.OpTaskRequest, pdu.OpTextRequest, pdu.OpLogout:
		m.hasCmdSN, m.numbered = true, !m.h.Immediate()
	default: // not in the order of CmdSN
	}
	return m
}

// The well formed messages.

func nop(data ...byte) message { return build(&pdu.NopOut{TTT: pdu.NoTag}, data) }

func command(c pdu.SCSICommand, data []byte) message { return build(&c, data) }

// plain is a command without data.
func plain(cdb ...byte) message {
	return command(pdu.SCSICommand{Final: true, CDB: fixed(cdb)}, nil)
}

// reading is a command that expects n bytes.
func reading(n int, cdb ...byte) message {
	return command(pdu.SCSICommand{Final: true, Read: true, ExpectedLength: uint32(n), CDB: fixed(cdb)}, nil)
}

// writing is a command that announces n bytes and sends these at once; no more come unasked.
func writing(n int, data []byte, cdb ...byte) message {
	return command(pdu.SCSICommand{Final: true, Write: true, ExpectedLength: uint32(n), CDB: fixed(cdb)}, data)
}

// unfinished is writing with unsolicited Data-Out to follow.
func unfinished(n int, data []byte, cdb ...byte) message {
	return command(pdu.SCSICommand{Write: true, ExpectedLength: uint32(n), CDB: fixed(cdb)}, data)
}

func dataOut(itt, ttt uint32, offset int, data []byte) message {
	return build(&pdu.DataOut{Final: true, ITT: itt, TTT: ttt, Offset: uint32(offset)}, data).with(tag(itt))
}

func task(f pdu.TaskFunction, ref uint32) message {
	return build(&pdu.TaskRequest{Immediate: true, Function: f, ReferencedTag: ref}, nil)
}

func text(s string) message {
	return build(&pdu.TextRequest{Final: true, TTT: pdu.NoTag}, []byte(s))
}

func logout(r pdu.LogoutReason, cid uint16) message {
	return build(&pdu.LogoutRequest{Reason: r, CID: cid}, nil)
}

func snack(t pdu.SNACKType) message {
	return build(&pdu.SNACK{Type: t, TTT: pdu.NoTag}, nil).with(tag(pdu.NoTag))
}

// opcode is a PDU of which nothing but the opcode is known.
func opcode(op pdu.Opcode) message {
	var m message
	m.h[0], m.h[1] = byte(op), 0x80
	return m
}

func fixed(cdb []byte) (c [16]byte) { copy(c[:], cdb); return c }

func read10(lba, n int) []byte  { return rw10(0x28, lba, n) }
func write10(lba, n int) []byte { return rw10(0x2a, lba, n) }

func rw10(op byte, lba, n int) []byte {
	cdb := make([]byte, 10)
	cdb[0] = op
	binary.BigEndian.PutUint32(cdb[2:], uint32(lba))
	binary.BigEndian.PutUint16(cdb[7:], uint16(n))
	return cdb
}

// with returns the message with edits.
func (m message) with(edits ...edit) message {
	for _, e := range edits {
		e(&m)
	}
	return m
}

// What may be wrong about a message.

func tag(itt uint32) edit {
	return func(m *message) { m.ownTag = true; binary.BigEndian.PutUint32(m.h[16:], itt) }
}

// immediate sets the I bit.
func immediate(m *message) { m.h[0] |= 0x40; m.numbered = false }

// at sets a byte of the header.
func at(i int, v ...byte) edit { return func(m *message) { copy(m.h[i:], v) } }

// number sets a word of the header.
func number(i int, v uint32) edit {
	return func(m *message) { binary.BigEndian.PutUint32(m.h[i:], v) }
}

func lun(v uint64) edit { return func(m *message) { binary.BigEndian.PutUint64(m.h[8:], v) } }

// announces makes the header speak of n bytes of data, whatever follows.
func announces(n int) edit {
	return func(m *message) { m.lies = true; m.h[5], m.h[6], m.h[7] = byte(n>>16), byte(n>>8), byte(n) }
}

// ahs puts additional header segments between header and data.
func ahs(b ...byte) edit { return func(m *message) { m.ahs = b } }

// wordsOfAHS makes the header speak of n words of them, whatever follows.
func wordsOfAHS(n byte) edit { return func(m *message) { m.lies = true; m.h[4] = n } }

func wrongHeaderDigest(m *message) { m.headerCRC = 1 }
func wrongDataDigest(m *message)   { m.dataCRC = 1 }

// cutBy leaves n bytes out at the end.
func cutBy(n int) edit { return func(m *message) { m.cut = n } }

// slowly sends byte by byte.
func slowly(m *message) { m.dribble = true }

// more marks that another PDU of the same sequence follows.
func more(m *message) { m.h[1] &^= 0x80 }

// encode is the message as on the wire.
func (m message) encode(headerDigest, dataDigest bool) []byte {
	if !m.lies {
		m.h[4] = byte(len(m.ahs) / 4)
		m.h[5], m.h[6], m.h[7] = byte(len(m.data)>>16), byte(len(m.data)>>8), byte(len(m.data))
	}
	out := append(append(make([]byte, 0, 64+len(m.data)), m.h[:]...), m.ahs...)
	if headerDigest {
		out = binary.LittleEndian.AppendUint32(out, pdu.HeaderDigest(&m.h, m.ahs)+m.headerCRC)
	}
	out = append(out, m.data...)
	out = append(out, make([]byte, pdu.Padding(len(m.data)))...)
	if dataDigest && len(m.data) > 0 {
		out = binary.LittleEndian.AppendUint32(out, pdu.DataDigest(m.data)+m.dataCRC)
	}
	return out[:len(out)-m.cut]
}

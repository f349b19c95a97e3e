package pdu

import "encoding/binary"

// HeaderLen is the length of a basic header segment in bytes.
const HeaderLen = 48

// MaxDataLength is the largest data segment that a header can announce, in bytes.
const MaxDataLength = 1<<24 - 1

// NoTag is the reserved value of initiator and target task tags: "no task"
// (RFC 7143 11.2.1.8, 11.7.4).
const NoTag uint32 = 0xffffffff

// Flags of byte 1 that several PDUs share.
const (
	flagFinal    = 0x80 // F; also T of login
	flagContinue = 0x40 // C of text and login
)

const flagImmediate = 0x40 // I, in byte 0

// Opcode says which message a header holds (RFC 7143 11.2.1.2), without the I bit.
type Opcode byte

// Opcodes that an initiator sends.
const (
	OpNopOut       Opcode = 0x00
	OpSCSICommand  Opcode = 0x01
	OpTaskRequest  Opcode = 0x02 // task management function request
	OpLoginRequest Opcode = 0x03
	OpTextRequest  Opcode = 0x04
	OpDataOut      Opcode = 0x05
	OpLogout       Opcode = 0x06 // logout request
	OpSNACK        Opcode = 0x10
)

// Opcodes that a target sends.
const (
	OpNopIn          Opcode = 0x20
	OpSCSIResponse   Opcode = 0x21
	OpTaskResponse   Opcode = 0x22 // task management function response
	OpLoginResponse  Opcode = 0x23
	OpTextResponse   Opcode = 0x24
	OpDataIn         Opcode = 0x25
	OpLogoutResponse Opcode = 0x26
	OpR2T            Opcode = 0x31
	OpAsync          Opcode = 0x32
	OpReject         Opcode = 0x3f
)

// Header is a basic header segment as on the wire.
type Header [HeaderLen]byte

// Opcode returns the opcode, whether or not this package knows it.
func (h *Header) Opcode() Opcode { return Opcode(h[0] & 0x3f) }

// Immediate returns the I bit: the request does not advance CmdSN (RFC 7143 4.2.2.1).
func (h *Header) Immediate() bool { return h[0]&flagImmediate != 0 }

// Final returns the F bit, which for login is the T bit.
func (h *Header) Final() bool { return h[1]&flagFinal != 0 }

// LUN returns bytes 8 to 15, which hold a logical unit number in most PDUs.
func (h *Header) LUN() uint64 { return binary.BigEndian.Uint64(h[8:]) }

// ITT returns the initiator task tag.
func (h *Header) ITT() uint32 { return h.u32(16) }

// CmdSN returns bytes 24 to 27 as the CmdSN that they hold in every request but
// Data-Out and SNACK.
func (h *Header) CmdSN() SN { return h.sn(24) }

// DataLength returns the length of the data segment in bytes, without padding.
func (h *Header) DataLength() int { return int(h.u32(4) & MaxDataLength) }

// Sizes returns the lengths in bytes of the additional header segments (0 to 1020), of
// the data segment (0 to 2^24-1) and of the padding that follows the data (0 to 3).
// Digests are not counted.
func (h *Header) Sizes() (ahs, data, pad int) {
	n := h.DataLength()
	return int(h[4]) * 4, n, Padding(n)
}

// Padding returns how many bytes make n a multiple of four.
func Padding(n int) int { return -n & 3 }

func (h *Header) u16(at int) uint16 { return binary.BigEndian.Uint16(h[at:]) }
func (h *Header) u32(at int) uint32 { return binary.BigEndian.Uint32(h[at:]) }
func (h *Header) sn(at int) SN      { return SN(h.u32(at)) }

func (h *Header) put16(at int, v uint16) { binary.BigEndian.PutUint16(h[at:], v) }
func (h *Header) put32(at int, v uint32) { binary.BigEndian.PutUint32(h[at:], v) }
func (h *Header) put64(at int, v uint64) { binary.BigEndian.PutUint64(h[at:], v) }
func (h *Header) putSN(at int, v SN)     { h.put32(at, uint32(v)) }

// start clears h and sets the fields that all PDUs have.
func (h *Header) start(op Opcode, flags byte, dataLength uint32, itt uint32) {
	*h = Header{}
	h[0] = byte(op)
	h[1] = flags
	h.put32(4, dataLength&MaxDataLength)
	h.put32(16, itt)
}

func (h *Header) setImmediate(on bool) { h[0] |= bit(on, flagImmediate) }

func (h *Header) has(flag byte) bool { return h[1]&flag != 0 }

func bit(on bool, mask byte) byte {
	if on {
		return mask
	}
	return 0
}

// Counters are the three sequence numbers that every PDU of a target carries
// (RFC 7143 4.2.2): the status number of this connection and the command window of the
// session, which is [ExpCmdSN, MaxCmdSN].
type Counters struct {
	StatSN   SN // where a PDU carries no status: the next one, or reserved
	ExpCmdSN SN
	MaxCmdSN SN
}

// PutCounters overwrites the sequence numbers of an already marshalled PDU of a target,
// so that they may be chosen as late as it is sent.
func (h *Header) PutCounters(c Counters) {
	h.putSN(24, c.StatSN)
	h.putSN(28, c.ExpCmdSN)
	h.putSN(32, c.MaxCmdSN)
}

func (h *Header) counters() Counters {
	return Counters{StatSN: h.sn(24), ExpCmdSN: h.sn(28), MaxCmdSN: h.sn(32)}
}

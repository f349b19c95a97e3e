package pdu

// NopOut is a NOP-Out (RFC 7143 11.18): a ping (TTT is NoTag), the answer to a target's
// ping (TTT is that of the NOP-In), or, with ITT NoTag, a confirmation of ExpStatSN that
// wants no answer.
type NopOut struct {
	Immediate  bool
	DataLength uint32 // of the ping data
	LUN        uint64 // that of the NOP-In that it answers
	ITT        uint32
	TTT        uint32
	CmdSN      SN
	ExpStatSN  SN
}

// Unmarshal reads the message that h holds; it cannot fail.
func (n *NopOut) Unmarshal(h *Header) {
	n.Immediate = h.Immediate()
	n.DataLength = uint32(h.DataLength())
	n.LUN = h.LUN()
	n.ITT = h.ITT()
	n.TTT = h.u32(20)
	n.CmdSN = h.sn(24)
	n.ExpStatSN = h.sn(28)
}

// Marshal sets all of h.
func (n *NopOut) Marshal(h *Header) {
	h.start(OpNopOut, flagFinal, n.DataLength, n.ITT)
	h.setImmediate(n.Immediate)
	h.put64(8, n.LUN)
	h.put32(20, n.TTT)
	h.putSN(24, n.CmdSN)
	h.putSN(28, n.ExpStatSN)
}

// NopIn is a NOP-In (RFC 7143 11.19): the answer to a ping (ITT is the NOP-Out's, the
// data is its data), or a ping of the target (ITT is NoTag; TTT is NoTag too if no answer
// is wanted). Only the former advances StatSN.
type NopIn struct {
	DataLength uint32
	LUN        uint64 // with a TTT
	ITT        uint32
	TTT        uint32
	Counters
}

// Unmarshal reads the message that h holds; it cannot fail.
func (n *NopIn) Unmarshal(h *Header) {
	n.DataLength = uint32(h.DataLength())
	n.LUN = h.LUN()
	n.ITT = h.ITT()
	n.TTT = h.u32(20)
	n.Counters = h.counters()
}

// Marshal sets all of h.
func (n *NopIn) Marshal(h *Header) {
	h.start(OpNopIn, flagFinal, n.DataLength, n.ITT)
	h.put64(8, n.LUN)
	h.put32(20, n.TTT)
	h.PutCounters(n.Counters)
}

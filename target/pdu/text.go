package pdu

// TextRequest is a Text Request (RFC 7143 11.10); its data segment holds keys.
type TextRequest struct {
	Immediate  bool
	Final      bool
	Continue   bool // the keys go on in the next PDU; not with Final
	DataLength uint32
	LUN        uint64 // that of the response that it goes on from
	ITT        uint32
	TTT        uint32 // that of the response that it goes on from, or NoTag
	CmdSN      SN
	ExpStatSN  SN
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *TextRequest) Unmarshal(h *Header) {
	r.Immediate = h.Immediate()
	r.Final = h.Final()
	r.Continue = h.has(flagContinue)
	r.DataLength = uint32(h.DataLength())
	r.LUN = h.LUN()
	r.ITT = h.ITT()
	r.TTT = h.u32(20)
	r.CmdSN = h.sn(24)
	r.ExpStatSN = h.sn(28)
}

// Marshal sets all of h.
func (r *TextRequest) Marshal(h *Header) {
	h.start(OpTextRequest, bit(r.Final, flagFinal)|bit(r.Continue, flagContinue), r.DataLength, r.ITT)
	h.setImmediate(r.Immediate)
	h.put64(8, r.LUN)
	h.put32(20, r.TTT)
	h.putSN(24, r.CmdSN)
	h.putSN(28, r.ExpStatSN)
}

// TextResponse is a Text Response (RFC 7143 11.11); its data segment holds keys.
type TextResponse struct {
	Final      bool
	Continue   bool // the keys go on in the next PDU; not with Final
	DataLength uint32
	LUN        uint64
	ITT        uint32
	TTT        uint32 // NoTag with Final, otherwise anything else
	Counters
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *TextResponse) Unmarshal(h *Header) {
	r.Final = h.Final()
	r.Continue = h.has(flagContinue)
	r.DataLength = uint32(h.DataLength())
	r.LUN = h.LUN()
	r.ITT = h.ITT()
	r.TTT = h.u32(20)
	r.Counters = h.counters()
}

// Marshal sets all of h.
func (r *TextResponse) Marshal(h *Header) {
	h.start(OpTextResponse, bit(r.Final, flagFinal)|bit(r.Continue, flagContinue), r.DataLength, r.ITT)
	h.put64(8, r.LUN)
	h.put32(20, r.TTT)
	h.PutCounters(r.Counters)
}

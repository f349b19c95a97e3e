package pdu

// RejectReason says why a PDU was rejected (RFC 7143 11.17.1).
type RejectReason byte

// Reject reasons.
const (
	ReasonDataDigest       RejectReason = 0x02
	ReasonSNACK            RejectReason = 0x03
	ReasonProtocolError    RejectReason = 0x04
	ReasonUnsupported      RejectReason = 0x05 // command not supported
	ReasonTooManyImmediate RejectReason = 0x06
	ReasonTaskInProgress   RejectReason = 0x07
	ReasonInvalidDataAck   RejectReason = 0x08
	ReasonInvalidField     RejectReason = 0x09
	ReasonNoTTT            RejectReason = 0x0a // long operation: out of target transfer tags
	ReasonWaitingForLogout RejectReason = 0x0c
)

// Reject is a Reject (RFC 7143 11.17). Its data segment holds the header of the PDU that
// was rejected.
type Reject struct {
	Reason     RejectReason
	DataLength uint32 // HeaderLen, plus the AHS if there were any
	Counters
	DataSN SN // DataSN or R2TSN of the first PDU that is missing, with reasons 2 and 8
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *Reject) Unmarshal(h *Header) {
	r.Reason = RejectReason(h[2])
	r.DataLength = uint32(h.DataLength())
	r.Counters = h.counters()
	r.DataSN = h.sn(36)
}

// Marshal sets all of h.
func (r *Reject) Marshal(h *Header) {
	h.start(OpReject, flagFinal, r.DataLength, NoTag)
	h[2] = byte(r.Reason)
	h.PutCounters(r.Counters)
	h.putSN(36, r.DataSN)
}

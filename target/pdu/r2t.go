package pdu

// R2T is a Ready To Transfer (RFC 7143 11.8): the target asks for data-out. It takes no
// StatSN: Counters.StatSN is the next one.
type R2T struct {
	LUN uint64
	ITT uint32
	TTT uint32
	Counters
	R2TSN  SN
	Offset uint32 // buffer offset in bytes
	Length uint32 // desired data transfer length in bytes, at most MaxBurstLength, not 0
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *R2T) Unmarshal(h *Header) {
	r.LUN = h.LUN()
	r.ITT = h.ITT()
	r.TTT = h.u32(20)
	r.Counters = h.counters()
	r.R2TSN = h.sn(36)
	r.Offset = h.u32(40)
	r.Length = h.u32(44)
}

// Marshal sets all of h.
func (r *R2T) Marshal(h *Header) {
	h.start(OpR2T, flagFinal, 0, r.ITT)
	h.put64(8, r.LUN)
	h.put32(20, r.TTT)
	h.PutCounters(r.Counters)
	h.putSN(36, r.R2TSN)
	h.put32(40, r.Offset)
	h.put32(44, r.Length)
}

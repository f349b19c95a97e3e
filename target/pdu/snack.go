package pdu

// SNACKType says what a SNACK asks for (RFC 7143 11.16.1).
type SNACKType byte

// SNACK types.
const (
	SNACKData    SNACKType = 0 // Data-In or R2T PDUs again
	SNACKStatus  SNACKType = 1 // responses again
	SNACKDataAck SNACKType = 2 // Data-In PDUs have arrived
	SNACKRData   SNACKType = 3 // Data-In PDUs again, resegmented
)

// SNACK is a SNACK Request (RFC 7143 11.16). With ErrorRecoveryLevel 0 a target has
// nothing to send again and answers it with a Reject.
type SNACK struct {
	Type      SNACKType // four bits
	LUN       uint64
	ITT       uint32
	TTT       uint32 // target task tag, or the SNACK tag of SNACKRData
	ExpStatSN SN
	Begin     SN     // the first DataSN, R2TSN or StatSN
	Length    uint32 // how many, 0 for all
}

// Unmarshal reads the message that h holds; it cannot fail.
func (s *SNACK) Unmarshal(h *Header) {
	s.Type = SNACKType(h[1] & 0x0f)
	s.LUN = h.LUN()
	s.ITT = h.ITT()
	s.TTT = h.u32(20)
	s.ExpStatSN = h.sn(28)
	s.Begin = h.sn(40)
	s.Length = h.u32(44)
}

// Marshal sets all of h.
func (s *SNACK) Marshal(h *Header) {
	h.start(OpSNACK, flagFinal|byte(s.Type)&0x0f, 0, s.ITT)
	h.put64(8, s.LUN)
	h.put32(20, s.TTT)
	h.putSN(28, s.ExpStatSN)
	h.putSN(40, s.Begin)
	h.put32(44, s.Length)
}

package pdu

// LogoutReason says what a Logout Request wants (RFC 7143 11.14.1).
type LogoutReason byte

// Logout reasons.
const (
	LogoutCloseSession    LogoutReason = 0
	LogoutCloseConnection LogoutReason = 1
	LogoutRecover         LogoutReason = 2 // remove the connection for recovery
)

// LogoutResult is the response to a logout (RFC 7143 11.15.1).
type LogoutResult byte

// Logout responses.
const (
	LogoutClosed             LogoutResult = 0
	LogoutNoCID              LogoutResult = 1 // CID not found
	LogoutRecoverUnsupported LogoutResult = 2
	LogoutCleanupFailed      LogoutResult = 3
)

// LogoutRequest is a Logout Request (RFC 7143 11.14).
type LogoutRequest struct {
	Immediate bool
	Reason    LogoutReason // seven bits
	ITT       uint32
	CID       uint16 // not meaningful with LogoutCloseSession
	CmdSN     SN
	ExpStatSN SN
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *LogoutRequest) Unmarshal(h *Header) {
	r.Immediate = h.Immediate()
	r.Reason = LogoutReason(h[1] & 0x7f)
	r.ITT = h.ITT()
	r.CID = h.u16(20)
	r.CmdSN = h.sn(24)
	r.ExpStatSN = h.sn(28)
}

// Marshal sets all of h.
func (r *LogoutRequest) Marshal(h *Header) {
	h.start(OpLogout, flagFinal|byte(r.Reason)&0x7f, 0, r.ITT)
	h.setImmediate(r.Immediate)
	h.put16(20, r.CID)
	h.putSN(24, r.CmdSN)
	h.putSN(28, r.ExpStatSN)
}

// LogoutResponse is a Logout Response (RFC 7143 11.15).
type LogoutResponse struct {
	Result LogoutResult
	ITT    uint32
	Counters
	Time2Wait   uint16 // seconds before a reconnection makes sense
	Time2Retain uint16 // seconds from then on that tasks are kept for it
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *LogoutResponse) Unmarshal(h *Header) {
	r.Result = LogoutResult(h[2])
	r.ITT = h.ITT()
	r.Counters = h.counters()
	r.Time2Wait = h.u16(40)
	r.Time2Retain = h.u16(42)
}

// Marshal sets all of h.
func (r *LogoutResponse) Marshal(h *Header) {
	h.start(OpLogoutResponse, flagFinal, 0, r.ITT)
	h[2] = byte(r.Result)
	h.PutCounters(r.Counters)
	h.put16(40, r.Time2Wait)
	h.put16(42, r.Time2Retain)
}

package pdu

// Stage is a stage of the login phase (RFC 7143 11.12.3).
type Stage byte

// Stages; 2 is reserved.
const (
	StageSecurity    Stage = 0
	StageOperational Stage = 1
	StageFullFeature Stage = 3
)

// LoginStatus is the status of a Login Response: its class in the high byte, its detail
// in the low one (RFC 7143 11.13.5).
type LoginStatus uint16

// Login statuses. After any but LoginSuccess the target closes the connection.
const (
	LoginSuccess            LoginStatus = 0x0000
	LoginMovedTemporarily   LoginStatus = 0x0101
	LoginMovedPermanently   LoginStatus = 0x0102
	LoginInitiatorError     LoginStatus = 0x0200
	LoginAuthFailure        LoginStatus = 0x0201
	LoginForbidden          LoginStatus = 0x0202 // authorization failure
	LoginNotFound           LoginStatus = 0x0203
	LoginRemoved            LoginStatus = 0x0204
	LoginBadVersion         LoginStatus = 0x0205
	LoginTooManyConnections LoginStatus = 0x0206
	LoginMissingParameter   LoginStatus = 0x0207
	LoginCannotInclude      LoginStatus = 0x0208 // in this session
	LoginBadSessionType     LoginStatus = 0x0209
	LoginNoSession          LoginStatus = 0x020a // session does not exist
	LoginInvalidRequest     LoginStatus = 0x020b // invalid request type during login
	LoginTargetError        LoginStatus = 0x0300
	LoginUnavailable        LoginStatus = 0x0301 // service unavailable
	LoginOutOfResources     LoginStatus = 0x0302
)

// LoginRequest is a Login Request (RFC 7143 11.12); its data segment holds keys. It is
// always immediate.
type LoginRequest struct {
	Transit    bool
	Continue   bool // the keys go on in the next PDU; not with Transit
	CSG        Stage
	NSG        Stage // meaningful if Transit
	VersionMax byte
	VersionMin byte
	DataLength uint32
	ISID       [6]byte
	TSIH       uint16
	ITT        uint32
	CID        uint16
	CmdSN      SN
	ExpStatSN  SN
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *LoginRequest) Unmarshal(h *Header) {
	r.Transit = h.Final()
	r.Continue = h.has(flagContinue)
	r.CSG = Stage(h[1] >> 2 & 3)
	r.NSG = Stage(h[1] & 3)
	r.VersionMax = h[2]
	r.VersionMin = h[3]
	r.DataLength = uint32(h.DataLength())
	copy(r.ISID[:], h[8:])
	r.TSIH = h.u16(14)
	r.ITT = h.ITT()
	r.CID = h.u16(20)
	r.CmdSN = h.sn(24)
	r.ExpStatSN = h.sn(28)
}

// Marshal sets all of h.
func (r *LoginRequest) Marshal(h *Header) {
	h.start(OpLoginRequest, loginFlags(r.Transit, r.Continue, r.CSG, r.NSG), r.DataLength, r.ITT)
	h.setImmediate(true)
	h[2] = r.VersionMax
	h[3] = r.VersionMin
	copy(h[8:], r.ISID[:])
	h.put16(14, r.TSIH)
	h.put16(20, r.CID)
	h.putSN(24, r.CmdSN)
	h.putSN(28, r.ExpStatSN)
}

// LoginResponse is a Login Response (RFC 7143 11.13); its data segment holds keys.
type LoginResponse struct {
	Transit       bool
	Continue      bool // the keys go on in the next PDU; not with Transit
	CSG           Stage
	NSG           Stage // meaningful if Transit
	VersionMax    byte
	VersionActive byte
	DataLength    uint32
	ISID          [6]byte
	TSIH          uint16
	ITT           uint32
	Counters
	Status LoginStatus
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *LoginResponse) Unmarshal(h *Header) {
	r.Transit = h.Final()
	r.Continue = h.has(flagContinue)
	r.CSG = Stage(h[1] >> 2 & 3)
	r.NSG = Stage(h[1] & 3)
	r.VersionMax = h[2]
	r.VersionActive = h[3]
	r.DataLength = uint32(h.DataLength())
	copy(r.ISID[:], h[8:])
	r.TSIH = h.u16(14)
	r.ITT = h.ITT()
	r.Counters = h.counters()
	r.Status = LoginStatus(h.u16(36))
}

// Marshal sets all of h.
func (r *LoginResponse) Marshal(h *Header) {
	h.start(OpLoginResponse, loginFlags(r.Transit, r.Continue, r.CSG, r.NSG), r.DataLength, r.ITT)
	h[2] = r.VersionMax
	h[3] = r.VersionActive
	copy(h[8:], r.ISID[:])
	h.put16(14, r.TSIH)
	h.PutCounters(r.Counters)
	h.put16(36, uint16(r.Status))
}

func loginFlags(transit, cont bool, csg, nsg Stage) byte {
	return bit(transit, flagFinal) | bit(cont, flagContinue) | byte(csg)&3<<2 | byte(nsg)&3
}

package pdu

import "encoding/binary"

// Response is the iSCSI service response of a SCSI Response (RFC 7143 11.4.3).
type Response byte

// Service responses.
const (
	ResponseCompleted     Response = 0x00 // command completed at target: Status counts
	ResponseTargetFailure Response = 0x01
)

// Residual flags of SCSI Response and, except those of a bidirectional command's read
// part, of Data-In.
const (
	flagBidiOverflow  = 0x10
	flagBidiUnderflow = 0x08
	flagOverflow      = 0x04
	flagUnderflow     = 0x02
)

// SCSIResponse is a SCSI Response (RFC 7143 11.4). Its data segment holds the sense data:
// see AppendSense.
type SCSIResponse struct {
	BidiOverflow  bool
	BidiUnderflow bool
	Overflow      bool // Residual bytes were not transferred for want of expected length
	Underflow     bool // Residual bytes of those expected were not transferred
	Response      Response
	Status        byte // SAM-5 5.3.1

	DataLength uint32
	ITT        uint32
	SNACKTag   uint32
	Counters
	ExpDataSN    SN // number of R2T and Data-In PDUs that were sent for the command
	BidiResidual uint32
	Residual     uint32
}

// Unmarshal reads the message that h holds; it cannot fail.
func (r *SCSIResponse) Unmarshal(h *Header) {
	r.BidiOverflow = h.has(flagBidiOverflow)
	r.BidiUnderflow = h.has(flagBidiUnderflow)
	r.Overflow = h.has(flagOverflow)
	r.Underflow = h.has(flagUnderflow)
	r.Response = Response(h[2])
	r.Status = h[3]
	r.DataLength = uint32(h.DataLength())
	r.ITT = h.ITT()
	r.SNACKTag = h.u32(20)
	r.Counters = h.counters()
	r.ExpDataSN = h.sn(36)
	r.BidiResidual = h.u32(40)
	r.Residual = h.u32(44)
}

// Marshal sets all of h.
func (r *SCSIResponse) Marshal(h *Header) {
	flags := flagFinal | bit(r.BidiOverflow, flagBidiOverflow) | bit(r.BidiUnderflow, flagBidiUnderflow) |
		bit(r.Overflow, flagOverflow) | bit(r.Underflow, flagUnderflow)
	h.start(OpSCSIResponse, flags, r.DataLength, r.ITT)
	h[2] = byte(r.Response)
	h[3] = r.Status
	h.put32(20, r.SNACKTag)
	h.PutCounters(r.Counters)
	h.putSN(36, r.ExpDataSN)
	h.put32(40, r.BidiResidual)
	h.put32(44, r.Residual)
}

// AppendSense appends sense data in the form that the data segment of a SCSI Response
// gives it: its length in two bytes, then the bytes (RFC 7143 11.4.7).
func AppendSense(dst, sense []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(sense)))
	return append(dst, sense...)
}

package pdu

// Flags of Data-In's byte 1, besides those of the residual.
const (
	flagAcknowledge = 0x40
	flagStatus      = 0x01
)

// DataIn is a SCSI Data-In (RFC 7143 11.7). With HasStatus it also carries the status of
// the command, which must be neither CHECK CONDITION nor accompanied by sense data; then
// Final must be set, and Status, the residual and StatSN have a meaning.
type DataIn struct {
	Final       bool // the last PDU of its sequence
	Acknowledge bool // asks for a DataACK SNACK; only with ErrorRecoveryLevel above 0
	Overflow    bool
	Underflow   bool
	HasStatus   bool
	Status      byte // SAM-5 5.3.1

	DataLength uint32
	LUN        uint64 // meaningful if Acknowledge
	ITT        uint32
	TTT        uint32 // NoTag unless Acknowledge
	Counters
	DataSN   SN
	Offset   uint32 // buffer offset in bytes
	Residual uint32 // in bytes
}

// Unmarshal reads the message that h holds; it cannot fail.
func (d *DataIn) Unmarshal(h *Header) {
	d.Final = h.Final()
	d.Acknowledge = h.has(flagAcknowledge)
	d.Overflow = h.has(flagOverflow)
	d.Underflow = h.has(flagUnderflow)
	d.HasStatus = h.has(flagStatus)
	d.Status = h[3]
	d.DataLength = uint32(h.DataLength())
	d.LUN = h.LUN()
	d.ITT = h.ITT()
	d.TTT = h.u32(20)
	d.Counters = h.counters()
	d.DataSN = h.sn(36)
	d.Offset = h.u32(40)
	d.Residual = h.u32(44)
}

// Marshal sets all of h.
func (d *DataIn) Marshal(h *Header) {
	flags := bit(d.Final, flagFinal) | bit(d.Acknowledge, flagAcknowledge) |
		bit(d.Overflow, flagOverflow) | bit(d.Underflow, flagUnderflow) | bit(d.HasStatus, flagStatus)
	h.start(OpDataIn, flags, d.DataLength, d.ITT)
	h[3] = d.Status
	h.put64(8, d.LUN)
	h.put32(20, d.TTT)
	h.PutCounters(d.Counters)
	h.putSN(36, d.DataSN)
	h.put32(40, d.Offset)
	h.put32(44, d.Residual)
}

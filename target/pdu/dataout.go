package pdu

// DataOut is a SCSI Data-Out (RFC 7143 11.7).
type DataOut struct {
	Final      bool // the last PDU of its sequence
	DataLength uint32
	LUN        uint64 // meaningful if TTT is not NoTag
	ITT        uint32
	TTT        uint32 // of the R2T that it answers, or NoTag: unsolicited
	ExpStatSN  SN
	DataSN     SN
	Offset     uint32 // buffer offset in bytes
}

// Unmarshal reads the message that h holds; it cannot fail.
func (d *DataOut) Unmarshal(h *Header) {
	d.Final = h.Final()
	d.DataLength = uint32(h.DataLength())
	d.LUN = h.LUN()
	d.ITT = h.ITT()
	d.TTT = h.u32(20)
	d.ExpStatSN = h.sn(28)
	d.DataSN = h.sn(36)
	d.Offset = h.u32(40)
}

// Marshal sets all of h.
func (d *DataOut) Marshal(h *Header) {
	h.start(OpDataOut, bit(d.Final, flagFinal), d.DataLength, d.ITT)
	h.put64(8, d.LUN)
	h.put32(20, d.TTT)
	h.putSN(28, d.ExpStatSN)
	h.putSN(36, d.DataSN)
	h.put32(40, d.Offset)
}

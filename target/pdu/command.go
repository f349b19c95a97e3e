package pdu

// Flags of a SCSI command's byte 1.
const (
	flagRead  = 0x40
	flagWrite = 0x20
)

// TaskAttr is the task attribute of a SCSI command (RFC 7143 11.3.1, SAM-5 8.6).
type TaskAttr byte

// Task attributes.
const (
	AttrUntagged    TaskAttr = 0
	AttrSimple      TaskAttr = 1
	AttrOrdered     TaskAttr = 2
	AttrHeadOfQueue TaskAttr = 3
	AttrACA         TaskAttr = 4
)

// SCSICommand is a SCSI Command (RFC 7143 11.3).
type SCSICommand struct {
	Immediate bool
	Final     bool // no unsolicited Data-Out follows
	Read      bool
	Write     bool
	Attr      TaskAttr // three bits

	AHSWords       byte   // length of the additional header segments in words of four bytes
	DataLength     uint32 // of the immediate data, in bytes
	LUN            uint64
	ITT            uint32
	ExpectedLength uint32 // expected data transfer length, in bytes
	CmdSN          SN
	ExpStatSN      SN
	CDB            [16]byte // the first 16 bytes; the rest of a longer one is in the AHS
}

// Unmarshal reads the message that h holds; it cannot fail.
func (c *SCSICommand) Unmarshal(h *Header) {
	c.Immediate = h.Immediate()
	c.Final = h.Final()
	c.Read = h.has(flagRead)
	c.Write = h.has(flagWrite)
	c.Attr = TaskAttr(h[1] & 7)
	c.AHSWords = h[4]
	c.DataLength = uint32(h.DataLength())
	c.LUN = h.LUN()
	c.ITT = h.ITT()
	c.ExpectedLength = h.u32(20)
	c.CmdSN = h.sn(24)
	c.ExpStatSN = h.sn(28)
	copy(c.CDB[:], h[32:])
}

// Marshal sets all of h.
func (c *SCSICommand) Marshal(h *Header) {
	flags := bit(c.Final, flagFinal) | bit(c.Read, flagRead) | bit(c.Write, flagWrite)
	h.start(OpSCSICommand, flags|byte(c.Attr)&7, c.DataLength, c.ITT)
	h.setImmediate(c.Immediate)
	h[4] = c.AHSWords
	h.put64(8, c.LUN)
	h.put32(20, c.ExpectedLength)
	h.putSN(24, c.CmdSN)
	h.putSN(28, c.ExpStatSN)
	copy(h[32:], c.CDB[:])
}

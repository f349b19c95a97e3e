package scsi

import "context"

// Status is a SCSI status byte (SAM-5 5.3.1).
type Status byte

// The status codes that sluice returns.
const (
	Good                Status = 0x00
	CheckCondition      Status = 0x02
	ConditionMet        Status = 0x04
	Busy                Status = 0x08
	ReservationConflict Status = 0x18
	TaskSetFull         Status = 0x28
	TaskAborted         Status = 0x40
)

// Command is one SCSI command between a transport and a device server. The transport
// fills the first group and has received all of Out before it submits the command; the
// device server fills the second group and calls Complete exactly once. Commands are
// pooled by the transport: neither side keeps one after Complete.
type Command struct {
	Nexus *Nexus // the I_T nexus that it came over
	LUN   uint64 // as on the wire (SAM-5 4.7), big endian
	CDB   []byte // 6 to 260 bytes
	Tag   uint64
	Out   []byte // data-out as received: min(expected, OutLength) bytes
	InMax int    // bytes of data-in that the initiator expects (0 if none)
	// OutMax is how many bytes of data-out the initiator was ready to send.
	OutMax int64

	Status Status
	Sense  []byte // fixed or descriptor format, without the iSCSI length prefix
	// In is the data-in. The device server appends to In[:0] or sets it to a buffer from
	// Buffer; the transport sends at most InMax bytes of it.
	In []byte
	// Transfer is the length that the CDB itself asked to transfer, in bytes, from which
	// the transport reckons residual underflow and overflow (SAM-5 5.3.2, RFC 7143 11.4.5).
	Transfer int64

	transport Transport
	fences    uint32 // Unit.fences when it was admitted
}

// Bind prepares a pooled command for use: it forgets all of the previous one but keeps
// the transport and the capacity of its buffers.
func (c *Command) Bind(t Transport) { *c = Command{transport: t, In: c.In[:0], Sense: c.Sense[:0]} }

// Buffer returns n bytes that live until the response has been sent.
func (c *Command) Buffer(n int) []byte { return c.transport.Buffer(c, n) }

// Complete hands the command back to its transport; the caller must not touch it again.
func (c *Command) Complete() { c.transport.Done(c) }

// Transport is what a device server needs of the transport that a command came over.
type Transport interface {
	// Buffer returns n bytes whose content is undefined, aligned to 4096, that live until
	// the command's response has been sent. It never blocks.
	Buffer(cmd *Command, n int) []byte
	// Done takes over a completed command. It may be called from any goroutine.
	Done(cmd *Command)
}

// LogicalUnit executes commands: a disk, a tape drive, a changer. All methods may be
// called concurrently.
type LogicalUnit interface {
	// OutLength says how many bytes of data-out a command takes, without changing any
	// state; the transport asks the initiator for no more. Malformed CDBs take none.
	OutLength(cdb []byte) int64
	// Submit starts the commands of a batch, which arrived together in this order. Those
	// that can be answered at once are completed before it returns, without a goroutine
	// hand-off; the others run concurrently and are cancelled with ctx or by Abort.
	Submit(ctx context.Context, batch []*Command)
	// Attach and Detach tell that a nexus has come and gone.
	Attach(n *Nexus)
	Detach(n *Nexus)
	// Reset carries out LOGICAL UNIT RESET (SAM-5 7.7): reservations, mode pages, and unit
	// attentions; the transport has aborted the commands.
	Reset(by *Nexus)
}

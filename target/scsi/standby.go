package scsi

import "context"

// Standby is a logical unit behind a port in the standby state (SPC-4 5.15.2.4.4): it says what it is, and nothing more. An initiator with several
// paths to a disk keeps the one through it in reserve.
type Standby struct{ LogicalUnit }

// answered tells whether a command works in the standby state. Those about capacity do, too: initiators that cannot ask for it
// make no disk of a path.
func (Standby) answered(cdb []byte) bool {
	switch Opcode(cdb[0]) {
	case Inquiry, ReportLUNs, RequestSense, ReadCapacity10, ModeSense6, ModeSense10:
		return true
	case ServiceActionIn16:
		return len(cdb) > 1 && cdb[1]&0x1f == 0x10 // READ CAPACITY (16)
	default:
		return false
	}
}

// OutLength implements LogicalUnit.
func (Standby) OutLength([]byte) int64 { return 0 }

// Submit implements LogicalUnit.
func (s Standby) Submit(ctx context.Context, batch []*Command) {
	for i, c := range batch {
		if s.answered(c.CDB) {
			s.LogicalUnit.Submit(ctx, batch[i:i+1])
			continue
		}
		c.Status = CheckCondition
		c.Sense = Sense{Key: NotReady, Code: PortInStandby}.Append(c.Sense[:0], false)
		c.Complete()
	}
}

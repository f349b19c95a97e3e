package scsi

import (
	"context"
	"encoding/binary"
)

// Absent answers for the LUNs of a target behind which there is nothing (SPC-4 6.6.2,
// SAM-5 4.7.4).
type Absent struct{}

// OutLength implements LogicalUnit.
func (Absent) OutLength([]byte) int64 { return 0 }

// Submit implements LogicalUnit.
func (a Absent) Submit(_ context.Context, batch []*Command) {
	for _, c := range batch {
		a.execute(c)
		c.Complete()
	}
}

func (Absent) execute(c *Command) {
	allocation := 0
	switch {
	case len(c.CDB) >= 6 && c.CDB[0] == 0x12 && c.CDB[1]&1 == 0:
		id := Identity{Type: 0x1f}
		c.In = id.standard(c.In[:0])
		c.In[0] = 0x7f // not capable of having a unit here
		allocation = int(binary.BigEndian.Uint16(c.CDB[3:]))
	case len(c.CDB) >= 12 && c.CDB[0] == 0xa0:
		c.In = append(c.In[:0], 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		allocation = int(min(binary.BigEndian.Uint32(c.CDB[6:]), 1<<20))
	case len(c.CDB) >= 6 && c.CDB[0] == 0x03:
		c.In = Illegal(LUNotSupported).Append(c.In[:0], c.CDB[1]&1 != 0)
		allocation = int(c.CDB[4])
	default:
		c.Status = CheckCondition
		c.Sense = Illegal(LUNotSupported).Append(c.Sense[:0], false)
		return
	}
	c.In = c.In[:min(len(c.In), allocation)]
	c.Transfer = int64(len(c.In))
}

// Attach implements LogicalUnit.
func (Absent) Attach(*Nexus) {}

// Detach implements LogicalUnit.
func (Absent) Detach(*Nexus) {}

// Reset implements LogicalUnit.
func (Absent) Reset(*Nexus) {}

package appliance

import (
	"context"

	"github.com/google/uuid"

	"sluice/target/sbc"
	"sluice/target/scsi"
)

// newUnit makes a disk device server. Until there is one, all commands are refused.
func newUnit(uuid.UUID, sbc.Disk) (*unit, error) {
	return &unit{disk: refuser{}, others: refuser{}, grown: func() {}}, nil
}

type refuser struct{}

func (refuser) OutLength([]byte) int64 { return 0 }
func (refuser) Submit(_ context.Context, batch []*scsi.Command) {
	for _, c := range batch {
		c.Status = scsi.Busy
		c.Complete()
	}
}
func (refuser) Attach(*scsi.Nexus) {}
func (refuser) Detach(*scsi.Nexus) {}
func (refuser) Reset(*scsi.Nexus)  {}

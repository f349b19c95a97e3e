package appliance

import (
	"github.com/google/uuid"

	"sluice/target/sbc"
)

// exported is a disk that is a target's LUN.
type exported struct {
	id     uuid.UUID // of the volume
	device *sbc.Device
}

// Peer implements sbc.Peers: a volume may copy from and to the others for initiators that would
// be let in there, too.
func (t *targets) Peer(of *sbc.Device, initiator string, naa [16]byte) *sbc.Device {
	t.mu.Lock()
	defer t.mu.Unlock()
	var from, to *exported
	for _, x := range t.disks {
		if x.device == of {
			from = x
		}
		if x.device.Designator() == naa {
			to = x
		}
	}
	if from == nil || to == nil || !t.access.of(to.id).trusts(t.access.of(from.id), initiator) {
		return nil
	}
	return to.device
}

// trusts tells whether an initiator that the rules from have let in, as the one whose name it says,
// has shown there all that these rules ask for. Names alone prove nothing: who has the
// secret of one volume must not reach another under a name that it made up.
func (r *ruling) trusts(from *ruling, initiator string) bool {
	if r.open() {
		return from.open() // it is on this machine, as these ask
	}
	needed, err := r.admit(initiator, false)
	if err != nil || needed == nil {
		return err == nil
	}
	if from.open() {
		return false
	}
	shown, ok := from.CHAP[initiator]
	return ok && shown.User == r.CHAP[initiator].User && shown.Secret == r.CHAP[initiator].Secret
}

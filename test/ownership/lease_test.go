package ownership

import "testing"

// leaseScenarios say how much happens.
var leaseScenarios = map[string]leaseBudget{
	"deaths":  {start: 2, take: 2, renew: 1, kill: 1},
	"stops":   {start: 2, take: 2, stop: 1, suspend: 1},
	"answers": {start: 2, take: 2, renew: 1, lost: 1},
}

// leaseDeep are those of SLUICE_MODEL=deep: one minute, 1 GB.
var leaseDeep = map[string]leaseBudget{
	"deaths":  {start: 3, take: 3, renew: 1, kill: 1},
	"stops":   {start: 2, take: 2, renew: 1, stop: 1, suspend: 2},
	"answers": {start: 2, take: 3, renew: 1, lost: 1},
}

// TestLeaseModel visits every state of the leases within some bounds, with clocks that differ, and finds nothing wrong in any.
func TestLeaseModel(t *testing.T) {
	everyState(t, leaseScenarios, leaseDeep, new(leaseModel).explore,
		"is killed", "stops in order", "asks to renew", "looks at the head", "sees the head", "acknowledges I/O", "does not acknowledge",
		"arrive late", "hears that it is done", "hears that the head has changed", "waits for no answer", "misses", "suspended",
	)
}

// TestLeaseMutations takes mechanisms out of the model, and looks for I/O that two gateways answer at a time.
func TestLeaseMutations(t *testing.T) {
	for _, c := range []struct {
		name     string
		without  leaseMechanisms
		scenario string
	}{
		{"a confirmation counts from its answer", leaseMechanisms{fromQuestion: true}, "answers"},
		{"to see one's own head is a confirmation", leaseMechanisms{byRenewal: true}, "answers"},
		{"the lease is looked at before the I/O only", leaseMechanisms{acknowledge: true}, "answers"},
		{"a standby waits for as long as the lease", leaseMechanisms{longer: true}, "answers"},
		{"a standby counts from its question", leaseMechanisms{fromAnswer: true}, "answers"},
		{"a standby takes the volume from any head", leaseMechanisms{ifSeen: true}, "answers"},
		{"a suspension does not count", leaseMechanisms{suspension: true}, "stops"},
		{"who stops goes on answering", leaseMechanisms{silence: true}, "stops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := (&leaseModel{c.without}).explore(leaseScenarios[c.scenario])
			if e.bad == "" {
				t.Fatalf("%d states, and nothing is wrong in them", e.states)
			}
			t.Logf("after %d states: %s", e.states, e)
		})
	}
}

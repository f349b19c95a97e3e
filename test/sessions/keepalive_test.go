package sessions

import (
	"encoding/json"
	"testing"
	"time"

	"sluice/target/pdu"
	"sluice/test/harness"
)

// TestVanishedInitiator: an initiator behind a cable that was pulled is found within
// initiator-timeout, also one that has left a write half done; one that answers pings, and
// does nothing else, stays.
func TestVanishedInitiator(t *testing.T) {
	gw := harness.Start(t, harness.Options{Args: []string{"--initiator-timeout", "5s"}})
	gw.CreateVolume("alone", "1GiB")
	p := NewPath(t, gw.Portal)
	idle := newRaw(t, gw, "alone", 1)
	vanished := newRawOn(t, p.Address(), gw.IQN("alone"), 2)
	half := pdu.SCSICommand{Write: true, ITT: 77, CmdSN: vanished.cmdSN, ExpectedLength: 8 * sector, CDB: rw(0x2a, 0, 8)}
	var h pdu.Header
	half.Marshal(&h)
	vanished.send(&h, nil)
	if n := sessionCount(t, gw); n != 2 {
		t.Fatalf("%d sessions", n)
	}
	p.Cut()
	begin := time.Now()
	for pings := 0; sessionCount(t, gw) != 1; {
		h, err := idle.next(time.Second / 10)
		if err == nil && h.Opcode() == pdu.OpNopIn {
			var n pdu.NopIn
			n.Unmarshal(&h)
			out := pdu.NopOut{Immediate: true, ITT: pdu.NoTag, TTT: n.TTT, CmdSN: idle.cmdSN, ExpStatSN: idle.expSN}
			out.Marshal(&h)
			idle.send(&h, nil)
			pings++
		}
		if time.Since(begin) > patience {
			t.Fatalf("there are %d sessions after %v, and %d pings", sessionCount(t, gw), patience, pings)
		}
	}
	idle.await(idle.write(0, pattern(1, 8)))
}

func sessionCount(t *testing.T, gw *harness.Gateway) int {
	t.Helper()
	var status struct {
		Sessions int `json:"sessions"`
	}
	if err := json.Unmarshal(gw.CLI("status", "--json"), &status); err != nil {
		t.Fatal(err)
	}
	return status.Sessions
}

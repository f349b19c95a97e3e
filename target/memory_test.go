package target

import (
	"testing"
	"time"

	"sluice/target/pdu"
)

// TestSessionsShareMemory: many greedy sessions fill no more than Limits.Memory and one
// transfer each, all of their transfers are done in the end, and nothing stays counted.
func TestSessionsShareMemory(t *testing.T) {
	const (
		sessions, reads = 5, 20
		blocks          = 400 // 200 KiB
		size            = blocks * sector
	)
	r := newRig(t, true, Options{Limits: Limits{Memory: 10 * size, SessionMemory: 8 * size}})
	hang := newHanger(r.disk)
	var all []*initiator
	for n := range sessions {
		i := r.connect()
		i.isid[5] = byte(n + 1)
		i.mustLogin("MaxRecvDataSegmentLength=262144")
		for range reads {
			i.read(0, blocks)
		}
		i.silence() // all have been looked at
		all = append(all, i)
	}
	if used := r.memory.Load(); used > (10+sessions)*size {
		t.Errorf("%d bytes are in use, where %d are allowed", used, 10*size)
	}
	if started := len(hang.started); started < sessions || started > 10+sessions {
		t.Errorf("%d reads were started", started)
	}
	close(hang.release)
	for _, i := range all {
		for range reads {
			if _, data := i.expect(pdu.OpDataIn); len(data) != size {
				t.Fatalf("%d bytes", len(data))
			}
			i.expSN++
		}
	}
	for deadline := time.Now().Add(5 * time.Second); r.memory.Load() != 0; all[0].silence() {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes were not given back", r.memory.Load())
		}
	}
}

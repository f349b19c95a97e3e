package standby

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"sluice/test/harness"
	"sluice/test/initiator"
)

// The service actions of PERSISTENT RESERVE OUT (SPC-4 table 207).
const (
	register = 0
	reserve  = 1
	release  = 2
	preempt  = 4
)

// writers is the type of a reservation under which registrants write, and others only read (SPC-4 table 204).
const writers = 5

// host is one initiator port, that is logged in to whichever gateway serves the volume.
type host struct {
	*initiator.Session
	t    *testing.T
	port uint16
}

func (h *host) login(gw *harness.Gateway) {
	h.t.Helper()
	s, err := initiator.Dial(h.t.Context(), gw.Portal, gw.IQN(volume), h.port)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = s.Close() })
	h.Session = s
}

// do sends a command that has to succeed.
func (h *host) do(cdb [16]byte, out []byte, in int) []byte {
	h.t.Helper()
	got, err := h.Do(cdb, out, in)
	if err != nil {
		h.t.Fatalf("% x: %v", cdb[:10], err)
	}
	return got
}

// out sends a PERSISTENT RESERVE OUT, which does not ask for anything to outlive a loss of power (APTPL).
func (h *host) out(action byte, key, other uint64) {
	h.t.Helper()
	list := make([]byte, 24)
	binary.BigEndian.PutUint64(list, key)
	binary.BigEndian.PutUint64(list[8:], other)
	h.do([16]byte{0x5f, action, writers, 8: 24}, list, 0)
}

// keys returns the keys that are registered (READ KEYS, SPC-4 6.15.2).
func (h *host) keys() (keys []uint64) {
	h.t.Helper()
	got := h.do([16]byte{0x5e, 8: 64}, nil, 64)
	for b := range slices.Chunk(got[8:8+binary.BigEndian.Uint32(got[4:])], 8) {
		keys = append(keys, binary.BigEndian.Uint64(b))
	}
	return keys
}

// mayWrite tells whether a write is carried out, or meets a reservation.
func (h *host) mayWrite() bool {
	h.t.Helper()
	err := h.Write(make([]byte, initiator.Sector), 0, false)
	if refused, ok := errors.AsType[*initiator.StatusError](err); ok && refused.Status == 0x18 {
		return false
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return true
}

// writeCache tells whether the disk says that it has one (WCE, SBC-3 6.5.5).
func (h *host) writeCache() bool {
	h.t.Helper()
	return h.do([16]byte{0x1a, 0x08, 0x08, 4: 24}, nil, 24)[4+2]&0x04 != 0
}

// TestTheFencedStayFenced kills a gateway after one node of a cluster was shut out of the volume by another: the standby shuts it out, too, and knows
// what else initiators asked the volume to keep. What they take back there does not come again with the first gateway.
func TestTheFencedStayFenced(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	node, fenced := &host{t: t, port: 1}, &host{t: t, port: 2}
	node.login(p.a)
	fenced.login(p.a)
	node.out(register, 0, 1)
	fenced.out(register, 0, 2)
	node.out(reserve, 1, 0)
	if !fenced.mayWrite() {
		t.Fatal("a registrant cannot write")
	}
	node.out(preempt, 1, 2)
	list := append([]byte{3: 0}, bytes.Repeat([]byte{0}, 20)...) // header, and the caching page with WCE clear
	list[4], list[5] = 0x08, 18
	node.do([16]byte{0x15, 0x11, 4: byte(len(list))}, list, 0)

	p.a.Kill()
	p.awaitState(p.b, "attached")
	node.login(p.b)
	fenced.login(p.b)
	if fenced.mayWrite() {
		t.Error("who was shut out writes through the standby")
	}
	if !node.mayWrite() {
		t.Error("who shut it out cannot write through the standby")
	}
	if got := node.keys(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("registered: %v", got)
	}
	if node.writeCache() {
		t.Error("the write cache was switched off for good, and the standby has one")
	}
	node.out(register, 1, 0) // which ends the reservation

	p.a.Restart()
	p.awaitState(p.a, "elsewhere")
	p.b.Kill()
	p.awaitState(p.a, "attached")
	fenced.login(p.a)
	if !fenced.mayWrite() {
		t.Error("a reservation that was ended came back")
	}
	if got := fenced.keys(); len(got) > 0 {
		t.Errorf("registered: %v", got)
	}
}

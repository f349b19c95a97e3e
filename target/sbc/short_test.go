package sbc

import (
	"bytes"
	"fmt"
	"testing"
)

// TestShortWrite: of what the CDB says, only what the initiator was ready to send is
// written, to the byte. All that was sent is there and nothing beside it has changed.
func TestShortWrite(t *testing.T) {
	for _, command := range []struct {
		name string
		cdb  []byte
	}{
		{"WRITE(10)", cdb10(0x2a, 0, 5, 2)},
		{"WRITE(10) with FUA", cdb10(0x2a, 0x08, 5, 2)},
		{"WRITE(12)", cdb12(0xaa, 0, 5, 2)},
		{"WRITE(16)", cdb16(0x8a, 0, 5, 2)},
		{"WRITE AND VERIFY(10)", cdb10(0x2e, 0, 5, 2)},
		{"WRITE AND VERIFY(10), compared", cdb10(0x2e, 2, 5, 2)},
		{"ORWRITE(16)", cdb16(0x8b, 0, 5, 2)},
	} {
		for _, sent := range []int{0, 1, 200, 511, 512, 513, 1000, 1023, 1024, 1500, 2048} {
			t.Run(fmt.Sprintf("%s, %d bytes", command.name, sent), func(t *testing.T) {
				r := newRig(t)
				before := bytes.Repeat([]byte{0x61}, 4*sector)
				r.good(cdb10(0x2a, 0, 4, 4), before, 0)
				x := r.good(command.cdb, bytes.Repeat([]byte{0x66}, sent), 0)
				if x.Transfer != 2*sector {
					t.Errorf("transfer length %d, want %d: the residual will be wrong", x.Transfer, 2*sector)
				}
				want := bytes.Clone(before)
				for i := range min(sent, 2*sector) {
					want[sector+i] = 0x66
					if command.cdb[0] == 0x8b {
						want[sector+i] |= 0x61
					}
				}
				got := r.good(cdb10(0x28, 0, 4, 4), nil, 4*sector).In
				for i := range want {
					if got[i] != want[i] {
						t.Fatalf("byte %d of the range is %#x, want %#x", i-sector, got[i], want[i])
					}
				}
			})
		}
	}
}

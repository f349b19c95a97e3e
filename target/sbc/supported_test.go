package sbc

import (
	"encoding/binary"
	"testing"

	"sluice/target/scsi"
)

// TestSupportedOperations compares what REPORT SUPPORTED OPERATION CODES lists with what the disk
// knows: all of it, and nothing else.
func TestSupportedOperations(t *testing.T) {
	r, _, _ := newPair(t)
	be := binary.BigEndian
	list := r.good([]byte{0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}, nil, 1<<16).In
	type operation struct {
		code   byte
		action int
	}
	listed, withActions := map[operation]int{}, map[byte]bool{}
	for b := list[4:]; len(b) > 0; b = b[8:] {
		op := operation{b[0], -1}
		if b[5]&1 != 0 {
			op.action = int(be.Uint16(b[2:]))
			withActions[b[0]] = true
		}
		listed[op] = int(be.Uint16(b[6:]))
	}
	for code := range 256 {
		for action := range 32 {
			cdb := make([]byte, 16)
			cdb[0] = byte(code)
			op := operation{byte(code), -1}
			if withActions[byte(code)] {
				cdb[1], op.action = byte(action), action
			} else if action > 0 {
				break
			}
			x := r.do(cdb, nil, 0)
			_, known := listed[op]
			unknown := x.verdict() == "5/2000" || withActions[byte(code)] && x.verdict() == "5/2400" && x.Sense[17] == 1 && x.Sense[15] == 0xcc
			if known == unknown {
				t.Errorf("operation %02x/%d: listed %v, but %s", code, op.action, known, x.verdict())
			}
		}
	}
	for op, length := range listed {
		checkUsage(t, r, op.code, op.action, length)
	}
}

// checkUsage sets each bit of a CDB that its usage data says nobody looks at: it is refused, and the
// sense data points at it.
func checkUsage(t *testing.T, r *rig, code byte, action, length int) {
	t.Helper()
	option, at := byte(1), 0
	if action >= 0 {
		option, at = 2, action
	}
	one := r.good([]byte{0xa3, 0x0c, option, code, 0, byte(at), 0, 0, 0, 0xff, 0, 0}, nil, 255).In
	usage := one[4:]
	if len(usage) != length || usage[0] != code || action >= 0 && int(usage[1]&0x1f) != action {
		t.Errorf("usage data % x of %02x/%d, which has %d bytes", usage, code, action, length)
		return
	}
	for i := 1; i < length; i++ {
		for bit := range 8 {
			mask := usage[i]
			if i == 1 && action >= 0 {
				mask |= 0x1f
			}
			if mask>>bit&1 != 0 || i == length-1 && bit != 2 { // the rest of CONTROL is the initiator's
				continue
			}
			cdb := make([]byte, 16)
			cdb[0] = code
			if action >= 0 {
				cdb[1] = byte(action)
			}
			cdb[i] |= 1 << bit
			x := r.do(cdb, nil, 0)
			if x.verdict() != "5/2400" || x.Sense[15] != 0xc8|byte(bit) || int(x.Sense[17]) != i {
				t.Errorf("%02x/%d with bit %d of byte %d: %s, sense % x", code, action, bit, i, x.verdict(), x.Sense)
			}
		}
	}
}

// located is an error that knows where it happened.
type located struct{ off int64 }

func (located) Error() string     { return "boom" }
func (e located) FailedAt() int64 { return e.off }

// TestInformation: a medium error names the sector, if the disk does, in both formats.
func TestInformation(t *testing.T) {
	var s scsi.Sense
	for _, writing := range []bool{false, true} {
		s = senseOf(located{(1<<32 + 5) * sector}, writing)
		if s.Key != scsi.MediumError || !s.HasInfo || s.Info != 1<<32+5 {
			t.Errorf("%+v", s)
		}
	}
	if fixed := s.Append(nil, false); fixed[0] != 0x70 || be32(fixed[3:]) != 0 {
		t.Errorf("fixed format, into which it does not fit: % x", fixed)
	}
	if d := s.Append(nil, true); len(d) != 20 || binary.BigEndian.Uint64(d[12:]) != 1<<32+5 {
		t.Errorf("descriptor format: % x", d)
	}
}

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

package pdu

import "testing"

func TestHeaderSizes(t *testing.T) {
	for _, c := range []struct {
		words          byte
		length         [3]byte
		ahs, data, pad int
	}{
		{0, [3]byte{}, 0, 0, 0},
		{1, [3]byte{0, 0, 1}, 4, 1, 3},
		{2, [3]byte{0, 1, 2}, 8, 258, 2},
		{5, [3]byte{0, 0, 7}, 20, 7, 1},
		{255, [3]byte{0xff, 0xff, 0xff}, 1020, MaxDataLength, 1},
	} {
		h := Header{4: c.words, 5: c.length[0], 6: c.length[1], 7: c.length[2]}
		if ahs, data, pad := h.Sizes(); ahs != c.ahs || data != c.data || pad != c.pad {
			t.Errorf("%d %v: got %d %d %d", c.words, c.length, ahs, data, pad)
		}
	}
}

func TestHeaderFields(t *testing.T) {
	h := header(t, `
		c1800000 05000203 01020304 05060708
		11121314 21222324 31323334 41424344
		00000000 00000000 00000000 00000000`)
	if h.Opcode() != OpSCSICommand || !h.Immediate() || !h.Final() {
		t.Errorf("opcode %#x, I %v, F %v", h.Opcode(), h.Immediate(), h.Final())
	}
	if h.LUN() != 0x0102030405060708 || h.ITT() != 0x11121314 || h.CmdSN() != 0x31323334 {
		t.Errorf("LUN %#x, ITT %#x, CmdSN %#x", h.LUN(), h.ITT(), h.CmdSN())
	}
	h.PutCounters(counters)
	if h.counters() != counters {
		t.Errorf("counters %+v", h.counters())
	}
}

// A length that does not fit must not spill into the AHS length beside it.
func TestDataLengthStaysInItsField(t *testing.T) {
	var h Header
	(&DataIn{DataLength: 1<<24 + 5}).Marshal(&h)
	if ahs, data, _ := h.Sizes(); ahs != 0 || data != 5 {
		t.Errorf("AHS %d, data %d", ahs, data)
	}
}

func BenchmarkCommandInAndOut(b *testing.B) {
	b.ReportAllocs()
	var in, out Header
	(&SCSICommand{Read: true, Final: true, ITT: 1, ExpectedLength: 4096}).Marshal(&in)
	for b.Loop() {
		var c SCSICommand
		c.Unmarshal(&in)
		d := DataIn{Final: true, HasStatus: true, ITT: c.ITT, TTT: NoTag, DataLength: c.ExpectedLength}
		d.Marshal(&out)
	}
}

// The hot path must not allocate.
func TestNoAllocations(t *testing.T) {
	var in, out Header
	data := make([]byte, 4096)
	n := testing.AllocsPerRun(100, func() {
		var c SCSICommand
		c.Unmarshal(&in)
		(&DataIn{ITT: c.ITT}).Marshal(&out)
		PutDigest(data, HeaderDigest(&out, nil)^DataDigest(data))
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

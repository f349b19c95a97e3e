package target

import (
	"bytes"
	"testing"

	"sluice/target/pdu"
)

func header(p interface{ Marshal(*pdu.Header) }) (h pdu.Header) {
	p.Marshal(&h)
	return h
}

// TestProtocolErrors sends what no initiator should, and expects the answer that RFC 7143
// asks for. Afterwards the connection must still work, or be closed where it says so; and
// the disk must hold what it held.
func TestProtocolErrors(t *testing.T) {
	block := bytes.Repeat([]byte{0xee}, sector)
	cases := []struct {
		name  string
		keys  []string
		play  func(i *initiator)
		fatal bool // the connection is closed
	}{
		{name: "an opcode of nobody's", play: func(i *initiator) {
			i.request(pdu.Header{0: 0x1c | 0x40, 16: 9})
			i.rejected(pdu.ReasonUnsupported)
		}},
		{name: "a PDU of a target", play: func(i *initiator) {
			i.request(header(&pdu.SCSIResponse{ITT: 9}))
			i.rejected(pdu.ReasonUnsupported)
		}},
		{name: "a login in the full feature phase", play: func(i *initiator) {
			h := header(&pdu.LoginRequest{ITT: 9, DataLength: 5})
			i.send(&h, []byte("a=b\x00\x00"))
			i.rejected(pdu.ReasonProtocolError)
		}},
		{name: "SNACK", play: func(i *initiator) {
			i.request(header(&pdu.SNACK{ITT: 9, TTT: pdu.NoTag}))
			i.rejected(pdu.ReasonSNACK)
		}},
		{name: "a command without a task tag", play: func(i *initiator) {
			i.request(header(&pdu.SCSICommand{Final: true, ITT: pdu.NoTag, CmdSN: i.cmdSN}))
			i.cmdSN++
			i.rejected(pdu.ReasonInvalidField)
		}},
		{name: "a malformed additional header segment", play: func(i *initiator) {
			h := header(&pdu.SCSICommand{Final: true, ITT: 9, CmdSN: i.cmdSN, AHSWords: 1})
			i.cmdSN++
			i.send(&h, []byte{0xff, 0xff, 1, 0})
			i.rejected(pdu.ReasonInvalidField)
		}},
		{name: "a bidirectional command", play: func(i *initiator) {
			i.command(pdu.SCSICommand{Final: true, Read: true, Write: true, CDB: write10(0, 1), ExpectedLength: sector}, block)
			i.check(senseInvalidField)
		}},
		{name: "immediate data that was ruled out", keys: []string{"ImmediateData=No"}, play: func(i *initiator) {
			i.write(0, 1, true, block)
			i.check(senseUnexpectedData)
		}},
		{name: "unsolicited data that was ruled out", keys: []string{"InitialR2T=Yes"}, play: func(i *initiator) {
			itt := i.write(0, 2, false, block)
			i.check(senseUnexpectedData)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag, Offset: sector}, block)
			i.silence()
		}},
		{name: "immediate data with a read", play: func(i *initiator) {
			i.command(pdu.SCSICommand{Final: true, Read: true, CDB: read10(0, 1), ExpectedLength: sector}, block)
			i.check(senseUnexpectedData)
		}},
		{name: "more immediate data than expected", play: func(i *initiator) {
			i.command(pdu.SCSICommand{Final: true, Write: true, CDB: write10(0, 1), ExpectedLength: 4}, block)
			i.check(senseWrongAmount)
		}},
		{name: "more immediate data than FirstBurstLength", keys: []string{"FirstBurstLength=512"}, play: func(i *initiator) {
			i.write(0, 2, true, append(block, block...))
			i.check(senseWrongAmount)
		}},
		{name: "Data-Out beyond the length of the write", keys: []string{"InitialR2T=No"}, play: func(i *initiator) {
			itt := i.write(0, 2, false, block)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag, Offset: sector}, append(block, block...))
			i.check(senseWrongAmount)
		}},
		{name: "Data-Out far beyond the length of the write", keys: []string{"InitialR2T=No"}, play: func(i *initiator) {
			itt := i.write(0, 2, false, block)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag, Offset: 0xffffff00}, block)
			i.check(senseWrongAmount)
		}},
		{name: "Data-Out at the wrong offset", keys: []string{"InitialR2T=No"}, play: func(i *initiator) {
			itt := i.write(0, 3, false, block)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag, Offset: 2 * sector}, block)
			i.check(senseWrongAmount)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag, DataSN: 1, Offset: sector}, block)
			i.silence()
		}},
		{name: "Data-Out with the wrong DataSN", keys: []string{"InitialR2T=No"}, play: func(i *initiator) {
			itt := i.write(0, 2, false, block)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag, DataSN: 27, Offset: sector}, block)
			i.check(senseWrongAmount)
		}},
		{name: "Data-Out for nothing", play: func(i *initiator) {
			i.dataOut(pdu.DataOut{Final: true, ITT: 99, TTT: pdu.NoTag}, block)
			i.rejected(pdu.ReasonInvalidField)
		}},
		{name: "Data-Out for a read", play: func(i *initiator) {
			itt := i.read(0, 1)
			i.expect(pdu.OpDataIn)
			i.expSN++ // it carries status
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag}, block)
			i.rejected(pdu.ReasonInvalidField)
		}},
		{name: "Data-Out with a transfer tag of nobody's", keys: []string{"InitialR2T=Yes"}, play: func(i *initiator) {
			itt := i.write(0, 1, true, nil)
			i.command(pdu.SCSICommand{Final: true}, nil) // another one goes through
			r := i.r2t()
			i.good()
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: r.TTT + 1}, block)
			i.rejected(pdu.ReasonInvalidField)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: r.TTT}, make([]byte, sector))
			i.good()
		}},
		{name: "solicited data that ends too early", keys: []string{"InitialR2T=Yes"}, play: func(i *initiator) {
			itt := i.write(0, 2, true, nil)
			r := i.r2t()
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: r.TTT}, block)
			i.check(senseWrongAmount)
		}},
		{name: "solicited data without an end", keys: []string{"InitialR2T=Yes"}, play: func(i *initiator) {
			itt := i.write(0, 1, true, nil)
			r := i.r2t()
			i.dataOut(pdu.DataOut{ITT: itt, TTT: r.TTT}, block)
			i.check(senseWrongAmount)
		}},
		{name: "a task tag that is in use", keys: []string{"InitialR2T=Yes"}, play: func(i *initiator) {
			itt := i.write(0, 1, true, nil)
			r := i.r2t()
			i.itt--
			i.write(0, 1, true, nil)
			i.rejected(pdu.ReasonTaskInProgress)
			i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: r.TTT}, make([]byte, sector))
			i.good()
		}},
		{name: "a CmdSN below the window", play: func(i *initiator) {
			i.cmdSN -= 5
			i.write(0, 1, true, block)
			i.cmdSN += 4
			i.silence()
		}},
		{name: "a CmdSN above the window", play: func(i *initiator) {
			i.cmdSN += 128
			i.write(0, 1, true, block)
			i.cmdSN -= 129
			i.silence()
		}},
		{name: "a wrong data digest of immediate data", keys: []string{"DataDigest=CRC32C"}, play: func(i *initiator) {
			h := header(&pdu.SCSICommand{Final: true, Write: true, ITT: 9, CmdSN: i.cmdSN, CDB: write10(0, 1), ExpectedLength: sector, DataLength: sector})
			b := i.encode(&h, block)
			b[100] ^= 1
			if _, err := i.conn.Write(b); err != nil {
				i.t.Fatal(err)
			}
			i.rejected(pdu.ReasonDataDigest)
		}},
		{name: "a wrong data digest of Data-Out", keys: []string{"DataDigest=CRC32C", "InitialR2T=Yes"}, play: func(i *initiator) {
			itt := i.write(0, 1, true, nil)
			r := i.r2t()
			h := header(&pdu.DataOut{Final: true, ITT: itt, TTT: r.TTT, DataLength: sector})
			b := i.encode(&h, block)
			b[len(b)-1] ^= 1
			if _, err := i.conn.Write(b); err != nil {
				i.t.Fatal(err)
			}
			i.rejected(pdu.ReasonDataDigest)
			i.check(senseDigest)
		}},
		{name: "a wrong header digest", keys: []string{"HeaderDigest=CRC32C"}, fatal: true, play: func(i *initiator) {
			h := header(&pdu.NopOut{Immediate: true, ITT: 9, TTT: pdu.NoTag, CmdSN: i.cmdSN})
			b := i.encode(&h, nil)
			b[30] ^= 1
			if _, err := i.conn.Write(b); err != nil {
				i.t.Fatal(err)
			}
		}},
		{name: "a data segment that is too long", fatal: true, play: func(i *initiator) {
			i.request(header(&pdu.NopOut{Immediate: true, ITT: 9, TTT: pdu.NoTag, CmdSN: i.cmdSN, DataLength: 1<<24 - 1}))
			i.rejected(pdu.ReasonProtocolError)
		}},
		{name: "a write of more than the target takes", play: func(i *initiator) {
			i.command(pdu.SCSICommand{Final: true, Write: true, CDB: [16]byte{0: 0x8a, 10: 0xff}, ExpectedLength: 0xfffffe00}, nil)
			i.check(senseInvalidField)
		}},
		{name: "TEST UNIT READY that expects 4 GiB", play: func(i *initiator) {
			i.command(pdu.SCSICommand{Final: true, Read: true, ExpectedLength: 0xffffffff}, nil)
			if r := i.good(); !r.Underflow || r.Residual != 0xffffffff {
				i.t.Fatalf("residual %+v", r)
			}
		}},
		{name: "INQUIRY with data-out", play: func(i *initiator) {
			i.command(pdu.SCSICommand{Final: true, Write: true, ExpectedLength: sector, CDB: [16]byte{0x12, 4: 96}}, block)
			if r := i.good(); !r.Underflow || r.Residual != sector {
				i.t.Fatalf("residual %+v", r)
			}
		}},
		{name: "text that goes on from nothing", play: func(i *initiator) {
			i.request(header(&pdu.TextRequest{Final: true, ITT: 9, TTT: 77, CmdSN: i.cmdSN}))
			i.cmdSN++
			i.rejected(pdu.ReasonProtocolError)
		}},
		{name: "text that both ends and goes on", play: func(i *initiator) {
			i.request(header(&pdu.TextRequest{Final: true, Continue: true, ITT: 9, TTT: pdu.NoTag, CmdSN: i.cmdSN}))
			i.cmdSN++
			i.rejected(pdu.ReasonProtocolError)
		}},
		{name: "malformed text", play: func(i *initiator) {
			h := header(&pdu.TextRequest{Final: true, ITT: 9, TTT: pdu.NoTag, CmdSN: i.cmdSN, DataLength: 4})
			i.cmdSN++
			i.send(&h, []byte("=\x00=\x00"))
			i.rejected(pdu.ReasonInvalidField)
		}},
		{name: "a logout for a reason of nobody's", play: func(i *initiator) {
			i.request(header(&pdu.LogoutRequest{Reason: 9, ITT: 9, CmdSN: i.cmdSN}))
			i.cmdSN++
			i.rejected(pdu.ReasonInvalidField)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, true, Options{})
			i := r.login(c.keys...)
			c.play(i)
			if c.fatal {
				i.closed()
				i = r.login()
			}
			i.silence()
			if !bytes.Equal(r.disk.data, make([]byte, len(r.disk.data))) {
				t.Fatal("data was written")
			}
		})
	}
}

// TestResiduals compares what a CDB transfers with what the initiator expected.
func TestResiduals(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login()
	for _, c := range []struct {
		name                string
		write               bool
		blocks              int
		expected            uint32
		overflow, underflow uint32
	}{
		{"read as expected", false, 2, 1024, 0, 0},
		{"read less", false, 1, 1024, 0, 512},
		{"read more", false, 2, 1000, 24, 0},
		{"read nothing", false, 0, 1000, 0, 1000},
		{"read what nobody expects", false, 1, 0, 512, 0},
		{"write as expected", true, 2, 1024, 0, 0},
		{"write less", true, 1, 1024, 0, 512},
		{"write more", true, 2, 512, 512, 0},
		{"write nothing", true, 0, 512, 0, 512},
	} {
		p := pdu.SCSICommand{Final: true, Read: !c.write, Write: c.write, ExpectedLength: c.expected, CDB: read10(0, c.blocks)}
		var data []byte
		if c.write {
			p.CDB, data = write10(0, c.blocks), make([]byte, c.expected)
		}
		i.command(p, data)
		h, _ := i.receive()
		i.expSN++
		var got pdu.DataIn // its residual is where a response has it, too
		got.Unmarshal(&h)
		var over, under uint32
		if got.Overflow {
			over = got.Residual
		}
		if got.Underflow {
			under = got.Residual
		}
		if over != c.overflow || under != c.underflow || h[3] != 0 {
			t.Errorf("%s: status %#02x, overflow %d, underflow %d; expected %d and %d", c.name, h[3], over, under, c.overflow, c.underflow)
		}
	}
}

// TestSurplusData: what the command does not take is received and forgotten, and not asked
// for.
func TestSurplusData(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login("InitialR2T=No", "FirstBurstLength=2048", "MaxBurstLength=4096")
	data := bytes.Repeat([]byte{1}, sector)
	itt := i.command(pdu.SCSICommand{Write: true, CDB: write10(4, 1), ExpectedLength: 8192}, data)
	i.dataOut(pdu.DataOut{ITT: itt, TTT: pdu.NoTag, Offset: 512}, bytes.Repeat([]byte{2}, 512))
	i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: pdu.NoTag, DataSN: 1, Offset: 1024}, bytes.Repeat([]byte{3}, 1024))
	if res := i.good(); !res.Underflow || res.Residual != 8192-512 {
		t.Fatalf("response %+v", res)
	}
	if !bytes.Equal(r.disk.data[4*sector:6*sector], append(data, make([]byte, sector)...)) {
		t.Fatal("the wrong data was written")
	}
}

// TestOrder: requests that come before their turn are executed in their turn.
func TestOrder(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login()
	first := i.cmdSN
	i.cmdSN = first + 2
	third := i.write(0, 1, true, bytes.Repeat([]byte{3}, sector))
	i.cmdSN = first + 1
	i.request(header(&pdu.NopOut{ITT: 500, TTT: pdu.NoTag, CmdSN: i.cmdSN}))
	i.silence()
	i.cmdSN = first
	one := i.write(0, 1, true, bytes.Repeat([]byte{1}, sector))
	i.cmdSN = first + 3
	seen := map[uint32]bool{}
	for range 3 {
		h, _ := i.receive()
		i.expSN++
		seen[h.ITT()] = true
	}
	if !seen[500] || !seen[one] || !seen[third] || r.disk.data[0] != 3 {
		t.Fatalf("answered: %v, written: %d", seen, r.disk.data[0])
	}
	i.silence()
}

// TestExtendedCDB: a CDB of more than 16 bytes comes in an additional header segment.
func TestExtendedCDB(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login("HeaderDigest=CRC32C")
	var seen []byte
	r.disk.hook = hookFor(func(cdb []byte) { seen = bytes.Clone(cdb) })
	ahs := (&pdu.AHS{CDB: bytes.Repeat([]byte{9}, 16)}).Append(nil)
	h := header(&pdu.SCSICommand{Final: true, ITT: 9, CmdSN: i.cmdSN, AHSWords: byte(len(ahs) / 4), CDB: [16]byte{0x7f, 7: 24}})
	i.cmdSN++
	i.send(&h, ahs)
	i.good()
	if len(seen) != 32 || seen[0] != 0x7f || seen[31] != 9 {
		t.Fatalf("CDB %x", seen)
	}
}

// TestWindow: the window is as large as configured, and moves on as commands end.
func TestWindow(t *testing.T) {
	r := newRig(t, true, Options{Limits: Limits{CommandWindow: 4}})
	r.disk.inline = false
	hang := newHanger(r.disk)
	i := r.login()
	for range 4 {
		i.command(pdu.SCSICommand{Final: true}, nil)
	}
	hang.wait(4)
	i.command(pdu.SCSICommand{Final: true}, nil) // beyond the window: ignored
	i.cmdSN--
	i.silence()
	close(hang.release)
	for range 4 {
		i.good()
	}
	i.command(pdu.SCSICommand{Final: true}, nil)
	i.good()
}

// TestPing: the data of a NOP-Out comes back.
func TestPing(t *testing.T) {
	i := newRig(t, true, Options{}).login("DataDigest=CRC32C", "HeaderDigest=CRC32C")
	h := header(&pdu.NopOut{Immediate: true, ITT: 3, TTT: pdu.NoTag, CmdSN: i.cmdSN, DataLength: 5})
	i.send(&h, []byte("hello"))
	if _, data := i.expect(pdu.OpNopIn); string(data) != "hello" {
		t.Fatalf("answer %q", data)
	}
	h = header(&pdu.NopOut{Immediate: true, ITT: pdu.NoTag, TTT: pdu.NoTag, CmdSN: i.cmdSN})
	i.send(&h, nil) // it wants no answer
	i.silence()
}

// TestLUNAddressing: both ways to address a small LUN lead to it, others nowhere.
func TestLUNAddressing(t *testing.T) {
	i := newRig(t, true, Options{}).login()
	i.command(pdu.SCSICommand{Final: true, LUN: 0}, nil)
	i.good()
	i.command(pdu.SCSICommand{Final: true, LUN: 0x4000 << 48}, nil)
	i.good()
	for _, lun := range []uint64{1 << 48, 0xc101 << 48, 1} {
		i.command(pdu.SCSICommand{Final: true, LUN: lun}, nil)
		i.check(sense{5, 0x25, 0})
	}
}

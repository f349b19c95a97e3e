package target

import (
	"testing"
	"time"

	"sluice/target/pdu"
)

func FuzzLoginPhase(f *testing.F) {
	req := header(&pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3, DataLength: 4, TSIH: 7})
	f.Add(append(req[:], "a=b\x00"...))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) { converse(t, false, b) })
}

func FuzzFullFeaturePhase(f *testing.F) {
	add := func(all ...[]byte) {
		var b []byte
		for _, p := range all {
			b = append(b, p...)
		}
		f.Add(b)
	}
	bytesOf := func(p interface{ Marshal(*pdu.Header) }, data ...byte) []byte {
		h := header(p)
		return append(h[:], data...)
	}
	block := make([]byte, sector)
	write := &pdu.SCSICommand{Write: true, ITT: 1, CmdSN: 1, ExpectedLength: 2 * sector, DataLength: sector, CDB: write10(0, 2)}
	add(bytesOf(write, block...), bytesOf(&pdu.DataOut{Final: true, ITT: 1, TTT: pdu.NoTag, Offset: sector, DataLength: sector}, block...))
	add(bytesOf(write, block...), bytesOf(&pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: 1, ITT: 2, CmdSN: 2}))
	add(bytesOf(&pdu.SCSICommand{Read: true, Final: true, ITT: 1, CmdSN: 2, ExpectedLength: 1 << 31, CDB: read10(0, 9)}),
		bytesOf(&pdu.NopOut{ITT: 2, TTT: pdu.NoTag, CmdSN: 1}))
	add(bytesOf(&pdu.TextRequest{Final: true, ITT: 2, TTT: pdu.NoTag, CmdSN: 1, DataLength: 16}, []byte("SendTargets=All\x00")...))
	add(bytesOf(&pdu.LogoutRequest{ITT: 2, CmdSN: 1}))
	add(bytesOf(&pdu.TaskRequest{Immediate: true, Function: pdu.TaskTargetColdReset, ITT: 2, CmdSN: 1}))
	f.Fuzz(func(t *testing.T, b []byte) { converse(t, true, b) })
}

// TestTransfersWaitForMemory: more is asked for than a session may have at once, and all
// of it gets through, read and write.
func TestTransfersWaitForMemory(t *testing.T) {
	r := newRig(t, true, Options{Limits: Limits{SessionMemory: 300 << 10}})
	hang := newHanger(r.disk)
	i := r.login("InitialR2T=Yes", "ImmediateData=No", "MaxRecvDataSegmentLength=262144")
	const blocks = 400 // 200 KiB
	for range 4 {
		i.read(0, blocks)
	}
	hang.wait(1)
	i.silence()
	if n := len(hang.started); n != 0 {
		t.Fatalf("%d more reads were started without memory", n)
	}
	itt := i.write(400, blocks, true, nil)
	i.silence() // no R2T yet
	close(hang.release)
	for range 4 {
		if _, data := i.expect(pdu.OpDataIn); len(data) != blocks*sector {
			t.Fatalf("%d bytes", len(data))
		}
		i.expSN++
	}
	r2t := i.r2t()
	i.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: r2t.TTT}, make([]byte, blocks*sector))
	i.good()
	ses := r.sessionsOf("")[0]
	for deadline := time.Now().Add(5 * time.Second); ses.conn.Load().memory.Load() != 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes were not given back", ses.conn.Load().memory.Load())
		}
		i.silence()
	}
}

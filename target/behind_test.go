package target

import (
	"bytes"
	"testing"
	"time"

	"sluice/target/pdu"
)

// compareAndWrite sends COMPARE AND WRITE of one sector: zeros are to become b.
func (i *initiator) compareAndWrite(block int, b byte) uint32 {
	i.t.Helper()
	cdb := [16]byte{0: 0x89, 9: byte(block), 13: 1}
	out := append(make([]byte, sector), bytes.Repeat([]byte{b}, sector)...)
	return i.command(pdu.SCSICommand{Final: true, Write: true, CDB: cdb, ExpectedLength: 2 * sector}, out)
}

// impatient makes a test fail that would hang.
func (i *initiator) impatient() {
	i.t.Helper()
	if err := i.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		i.t.Fatal(err)
	}
}

// TestNobodyWaitsForAComparison: a COMPARE AND WRITE whose old data has to come from a bucket
// that does not answer holds up neither reads nor writes, and can be aborted.
func TestNobodyWaitsForAComparison(t *testing.T) {
	r, disk, _ := stalledRig(t, Options{})
	one, two := r.port(1), r.port(2)
	two.impatient()
	disk.stalled.Store(true)
	itt := one.compareAndWrite(0, 1)
	<-disk.waits
	disk.stalled.Store(false)
	two.write(8, 8, true, bytes.Repeat([]byte{7}, 8*sector))
	two.good()
	two.read(0, 1)
	two.expect(pdu.OpDataIn)
	two.expSN++
	two.compareAndWrite(1, 2)
	two.good()
	one.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: itt, RefCmdSN: one.cmdSN - 1})
	one.managed(pdu.TaskComplete)
	if disk.data[0] != 0 || disk.data[sector] != 2 || disk.data[8*sector] != 7 {
		t.Fatal("the disk holds something else")
	}
}

// TestAbortOfWhatWaitsBehindAnother: a write that waits for a COMPARE AND WRITE which waits for
// room in the upload buffer is aborted at once; reads of other blocks do not wait for either.
func TestAbortOfWhatWaitsBehindAnother(t *testing.T) {
	r, disk, _ := stalledRig(t, Options{})
	one, two := r.port(1), r.port(2)
	two.impatient()
	disk.full.Store(true)
	first := one.compareAndWrite(0, 1)
	<-disk.waits
	second := two.write(8, 8, true, bytes.Repeat([]byte{7}, 8*sector))
	two.silence()
	two.read(100, 1)
	two.expect(pdu.OpDataIn)
	two.expSN++
	read := two.read(0, 1) // it must see all or nothing of what is being written
	two.silence()
	for _, itt := range []uint32{second, read} {
		two.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: itt, RefCmdSN: two.cmdSN - 1})
		two.managed(pdu.TaskComplete)
	}
	one.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: first, RefCmdSN: one.cmdSN - 1})
	one.managed(pdu.TaskComplete)
	disk.unchanged(t)
	disk.full.Store(false)
	two.write(8, 8, true, bytes.Repeat([]byte{7}, 8*sector))
	two.good()
}

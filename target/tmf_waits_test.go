package target

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"testing"

	"sluice/target/pdu"
	"sluice/target/sbc"
	"sluice/target/scsi"
)

// stalledDisk is a disk that never answers what must wait, but for an end of its context:
// reads as from a store that is gone, writes as into an upload buffer that is full.
type stalledDisk struct {
	ramStore
	stalled atomic.Bool   // reads and writes wait
	full    atomic.Bool   // writes do
	waits   chan struct{} // one for each that begins to wait
}

func (d *stalledDisk) Read(ctx context.Context, p []byte, off int64, wait bool) error {
	if err := d.stall(ctx, wait, d.stalled.Load()); err != nil {
		return err
	}
	return d.ramStore.Read(ctx, p, off, wait)
}

func (d *stalledDisk) Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error {
	if err := d.stall(ctx, wait, d.stalled.Load() || d.full.Load()); err != nil {
		return err
	}
	return d.ramStore.Write(ctx, bufs, offs, wait)
}

func (d *stalledDisk) stall(ctx context.Context, wait, stalled bool) error {
	switch {
	case !stalled:
		return nil
	case !wait:
		return syscall.EAGAIN
	}
	d.waits <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// stalledRig has the real device server over a stalled disk in the place of the rig's.
func stalledRig(t *testing.T, o Options) (*rig, *stalledDisk, *sbc.Device) {
	t.Helper()
	r := newRig(t, true, o)
	disk := &stalledDisk{ramStore: ramStore{data: make([]byte, 1<<20)}, waits: make(chan struct{}, 100)}
	device, err := sbc.New(sbc.Options{Disk: disk, ID: [16]byte{1}, Target: targetIQN, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.RemoveTarget(now, targetIQN); err != nil {
		t.Fatal(err)
	}
	if err := r.AddTarget(Target{Name: targetIQN, LUs: map[uint64]scsi.LogicalUnit{0: device}}); err != nil {
		t.Fatal(err)
	}
	return r, disk, device
}

// attentions takes the unit attentions that are due to an initiator.
func (i *initiator) attentions() (codes []scsi.Code) {
	i.t.Helper()
	for {
		i.command(pdu.SCSICommand{Final: true}, nil) // TEST UNIT READY
		h, data := i.expect(pdu.OpSCSIResponse)
		var r pdu.SCSIResponse
		r.Unmarshal(&h)
		if r.Status == byte(scsi.Good) {
			return codes
		}
		if r.Status != byte(scsi.CheckCondition) || len(data) < 16 || data[4]&0x0f != 6 {
			i.t.Fatalf("status %#02x with %x", r.Status, data)
		}
		codes = append(codes, scsi.Code(binary.BigEndian.Uint16(data[14:])))
		if len(codes) > 10 {
			i.t.Fatalf("unit attentions without end: %x", codes)
		}
	}
}

// waits are the ways in which a command comes to wait.
var waits = []struct {
	name  string
	begin func(i *initiator, d *stalledDisk) (itt, ttt uint32)
}{
	{"read from a store that is gone", func(i *initiator, d *stalledDisk) (uint32, uint32) {
		itt := i.read(8, 8)
		<-d.waits
		return itt, 0
	}},
	{"write into a full buffer", func(i *initiator, d *stalledDisk) (uint32, uint32) {
		itt := i.write(8, 8, true, bytes.Repeat([]byte{7}, 8*sector))
		<-d.waits
		return itt, 0
	}},
	{"write without its data", func(i *initiator, _ *stalledDisk) (uint32, uint32) {
		itt := i.write(8, 200, true, nil)
		return itt, i.r2t().TTT
	}},
	{"write without memory for its data", func(i *initiator, d *stalledDisk) (uint32, uint32) {
		i.read(400, 400) // it has what there is
		<-d.waits
		itt := i.write(8, 200, true, nil)
		i.silence()
		return itt, 0
	}},
}

// TestFunctionsEndWhatWaits: each task management function ends at once what it names,
// whatever that waits for. It is answered, the tasks are not (TAS is 0, SAM-5 5.6), nothing
// of them reaches the disk afterwards, the tasks of others live on or are told of.
func TestFunctionsEndWhatWaits(t *testing.T) {
	for _, f := range []struct {
		name     string
		function pdu.TaskFunction
		others   bool        // ends tasks of other sessions
		told     []scsi.Code // to those
		own      []scsi.Code // to the one that asks
	}{
		{"ABORT TASK", pdu.TaskAbort, false, nil, nil},
		{"ABORT TASK SET", pdu.TaskAbortSet, false, nil, nil},
		{"CLEAR TASK SET", pdu.TaskClearSet, true, []scsi.Code{scsi.CommandsCleared}, nil},
		{"LOGICAL UNIT RESET", pdu.TaskLUReset, true, []scsi.Code{scsi.BusDeviceReset}, []scsi.Code{scsi.BusDeviceReset}},
		{"TARGET WARM RESET", pdu.TaskTargetWarmReset, true, []scsi.Code{scsi.BusDeviceReset}, []scsi.Code{scsi.BusDeviceReset}},
		{"TARGET COLD RESET", pdu.TaskTargetColdReset, true, nil, nil},
	} {
		for _, w := range waits {
			t.Run(fmt.Sprintf("%s/%s", f.name, w.name), func(t *testing.T) {
				r, disk, _ := stalledRig(t, Options{Limits: Limits{SessionMemory: 256 << 10}})
				keys := []string{"InitialR2T=Yes", "ImmediateData=Yes", "FirstBurstLength=65536", "MaxBurstLength=262144"}
				one, two, idle := r.port(1, keys...), r.port(2, keys...), r.port(3)
				disk.stalled.Store(true)
				itt, ttt := w.begin(one, disk)
				other, otherTTT := w.begin(two, disk)

				one.manage(pdu.TaskRequest{Function: f.function, ReferencedTag: itt, RefCmdSN: one.cmdSN - 1})
				one.managed(pdu.TaskComplete)
				disk.stalled.Store(false)
				if f.function == pdu.TaskTargetColdReset {
					for _, i := range []*initiator{one, two, idle} {
						if a := i.async(); a.Event != pdu.AsyncDropSession {
							t.Errorf("told of %+v", a)
						}
						i.closed()
					}
					disk.unchanged(t)
					return
				}
				if ttt != 0 { // what was asked for still comes
					one.dataOut(pdu.DataOut{Final: true, ITT: itt, TTT: ttt}, bytes.Repeat([]byte{9}, 200*sector))
				}
				one.due("one", f.own)
				if f.others {
					if otherTTT != 0 {
						two.dataOut(pdu.DataOut{Final: true, ITT: other, TTT: otherTTT}, bytes.Repeat([]byte{9}, 200*sector))
					}
					two.due("two", f.told)
				}
				if f.function == pdu.TaskClearSet {
					idle.due("idle", nil) // none of its tasks was aborted
				} else {
					idle.due("idle", f.own)
				}
				disk.unchanged(t)
				if !f.others {
					two.manage(pdu.TaskRequest{Function: pdu.TaskAbort, ReferencedTag: other, RefCmdSN: two.cmdSN - 1})
					two.managed(pdu.TaskComplete) // it was still there
				}
			})
		}
	}
}

// port logs in from an initiator port of its own, and takes the attention for power on.
func (r *rig) port(n byte, keys ...string) *initiator {
	r.t.Helper()
	i := r.connect()
	i.isid[5] = n
	i.mustLogin(keys...)
	i.due("a new session", []scsi.Code{scsi.PowerOn})
	return i
}

func (i *initiator) due(who string, want []scsi.Code) {
	i.t.Helper()
	if got := i.attentions(); fmt.Sprint(got) != fmt.Sprint(want) {
		i.t.Errorf("%s: unit attentions %x, expected %x", who, got, want)
	}
}

func (d *stalledDisk) unchanged(t *testing.T) {
	t.Helper()
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !bytes.Equal(d.data, make([]byte, len(d.data))) {
		t.Error("an aborted write has reached the disk")
	}
}

// TestAttentionsReachWhoIsDue: a disk that has grown is told of to each of its own nexuses,
// once, and to nobody else: not to those of another target, nor to who comes later.
func TestAttentionsReachWhoIsDue(t *testing.T) {
	r, _, device := stalledRig(t, Options{})
	other, err := sbc.New(sbc.Options{Disk: &ramStore{data: make([]byte, 1<<20)}, ID: [16]byte{2}, Target: "iqn.2026-11.test:other", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddTarget(Target{Name: "iqn.2026-11.test:other", LUs: map[uint64]scsi.LogicalUnit{0: other}}); err != nil {
		t.Fatal(err)
	}
	one, two := r.port(1), r.port(2)
	bystander := r.connect()
	if status, _ := bystander.tryLogin("SessionType=Normal", "TargetName=iqn.2026-11.test:other"); status != pdu.LoginSuccess {
		t.Fatalf("status %04x", uint16(status))
	}
	bystander.due("another target", []scsi.Code{scsi.PowerOn})
	device.Resized()
	device.Resized() // nobody has heard of the first yet
	late := r.port(3)
	one.due("one", []scsi.Code{scsi.CapacityChanged})
	two.manage(pdu.TaskRequest{Function: pdu.TaskLUReset, ReferencedTag: pdu.NoTag})
	two.managed(pdu.TaskComplete)
	two.due("two", []scsi.Code{scsi.CapacityChanged, scsi.BusDeviceReset})
	one.due("one", []scsi.Code{scsi.BusDeviceReset})
	late.due("who came later", []scsi.Code{scsi.BusDeviceReset})
	bystander.due("another target", nil)
}

// TestReservationsOutliveReinstatement: a persistent reservation is the initiator port's, and
// stays when its session is replaced; a RESERVE is the session's, and ends with it.
func TestReservationsOutliveReinstatement(t *testing.T) {
	r, _, _ := stalledRig(t, Options{})
	one, two := r.port(1), r.port(2)
	key := [24]byte{15: 1}
	one.command(pdu.SCSICommand{Final: true, Write: true, CDB: [16]byte{0x5f, 0, 8: 24}, ExpectedLength: 24}, key[:])
	one.good() // REGISTER
	key = [24]byte{7: 1}
	one.command(pdu.SCSICommand{Final: true, Write: true, CDB: [16]byte{0x5f, 1, 3, 8: 24}, ExpectedLength: 24}, key[:])
	one.good() // RESERVE, exclusive access
	two.read(0, 1)
	two.status(scsi.ReservationConflict)
	again := r.port(1)
	one.closed()
	two.read(0, 1)
	two.status(scsi.ReservationConflict)
	again.write(0, 1, true, make([]byte, sector))
	again.good()
	again.command(pdu.SCSICommand{Final: true, Write: true, CDB: [16]byte{0x5f, 3, 8: 24}, ExpectedLength: 24}, key[:])
	again.good() // CLEAR
	two.due("who had no part in it", nil)

	again.command(pdu.SCSICommand{Final: true, CDB: [16]byte{0x16}}, nil) // RESERVE(6)
	again.good()
	two.read(0, 1)
	two.status(scsi.ReservationConflict)
	r.port(1)
	two.write(0, 1, true, make([]byte, sector))
	two.good()
}

// TestSeveralPorts: sessions of one initiator with different ISIDs live side by side, as
// multipath has it, on one disk.
func TestSeveralPorts(t *testing.T) {
	r, _, _ := stalledRig(t, Options{})
	var ports []*initiator
	for n := range byte(8) {
		ports = append(ports, r.port(n))
	}
	for n, i := range ports {
		i.write(n, 1, true, bytes.Repeat([]byte{byte(n + 1)}, sector))
		i.good()
	}
	for n := range ports {
		i := ports[len(ports)-1-n]
		i.read(n, 1)
		if _, data := i.expect(pdu.OpDataIn); data[0] != byte(n+1) {
			t.Fatalf("sector %d holds %d", n, data[0])
		}
		i.expSN++
	}
	if n := len(r.Sessions(targetIQN)); n != len(ports) {
		t.Fatalf("%d sessions", n)
	}
}

// TestOneConnectionASession: that a session has one connection is agreed on at its login, and
// a second one is refused with status 0206 (RFC 7143 11.13.5), which the first does not notice.
func TestOneConnectionASession(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.connect()
	if agreed := i.mustLogin("MaxConnections=8"); agreed["MaxConnections"] != "1" {
		t.Fatalf("MaxConnections=%s", agreed["MaxConnections"])
	}
	second := r.connect()
	second.tsih, second.cid = i.tsih, i.cid+1
	if status, _ := second.tryLogin("SessionType=Normal", "TargetName="+targetIQN); status != 0x0206 {
		t.Fatalf("status %04x", uint16(status))
	}
	second.closed()
	i.silence()
}

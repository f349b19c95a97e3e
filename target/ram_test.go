package target

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"

	"sluice/target/scsi"
)

// ramDisk is a logical unit over memory that knows just enough SCSI to be driven. A hook
// may make commands run in goroutines of their own, hang or panic.
type ramDisk struct {
	mu     sync.RWMutex
	data   []byte
	inline bool
	hook   func(ctx context.Context, cmd *scsi.Command, abort <-chan struct{}) (handled bool)

	state    sync.Mutex
	running  map[*scsi.Command]chan struct{}
	attached []*scsi.Nexus
	resets   int
	executed []byte // operation codes, of those with a hook
}

const sector = 512

func newRAMDisk(size int) *ramDisk {
	return &ramDisk{data: make([]byte, size), inline: true, running: make(map[*scsi.Command]chan struct{})}
}

func decode(cdb []byte) (op byte, off, n int64) {
	switch op = cdb[0]; op {
	case 0x28, 0x2a, 0x41: // READ(10), WRITE(10), WRITE SAME(10)
		off, n = int64(binary.BigEndian.Uint32(cdb[2:])), int64(binary.BigEndian.Uint16(cdb[7:]))
	case 0x88, 0x8a:
		off, n = int64(binary.BigEndian.Uint64(cdb[2:])), int64(binary.BigEndian.Uint32(cdb[10:]))
	}
	return op, off * sector, n * sector
}

func (d *ramDisk) OutLength(cdb []byte) int64 {
	switch op, _, n := decode(cdb); op {
	case 0x2a, 0x8a:
		return n
	case 0x15: // MODE SELECT(6)
		return int64(cdb[4])
	}
	return 0
}

func (d *ramDisk) Submit(ctx context.Context, batch []*scsi.Command) {
	for _, cmd := range batch {
		if d.inline && d.hook == nil {
			d.execute(cmd)
			cmd.Complete()
			continue
		}
		abort := make(chan struct{})
		d.state.Lock()
		d.running[cmd] = abort
		d.executed = append(d.executed, cmd.CDB[0])
		d.state.Unlock()
		work := func() {
			if d.hook == nil || !d.hook(ctx, cmd, abort) {
				d.execute(cmd)
			}
			d.state.Lock()
			delete(d.running, cmd)
			d.state.Unlock()
			cmd.Complete()
		}
		if d.inline {
			work()
		} else {
			go work()
		}
	}
}

func (d *ramDisk) Abort(cmd *scsi.Command) {
	d.state.Lock()
	defer d.state.Unlock()
	if abort, ok := d.running[cmd]; ok {
		delete(d.running, cmd)
		close(abort)
	}
}

func (d *ramDisk) execute(cmd *scsi.Command) {
	op, off, n := decode(cmd.CDB)
	cmd.Transfer = n
	switch op {
	case 0x00, 0x35, 0x15:
	case 0x12:
		cmd.In = append(cmd.In[:0], 0, 0, 6, 2, 31, 0, 0, 2)
		cmd.In = append(cmd.In, "SLUICE  TEST DISK       0001"...)
		cmd.In = cmd.In[:min(len(cmd.In), int(binary.BigEndian.Uint16(cmd.CDB[3:])))]
		cmd.Transfer = int64(len(cmd.In))
	case 0x9e:
		cmd.In = binary.BigEndian.AppendUint64(cmd.In[:0], uint64(len(d.data)/sector-1))
		cmd.In = binary.BigEndian.AppendUint32(cmd.In, sector)
		cmd.In = append(cmd.In, make([]byte, 20)...)
		cmd.Transfer = int64(len(cmd.In))
	case 0x25:
		cmd.In = binary.BigEndian.AppendUint32(cmd.In[:0], uint32(len(d.data)/sector-1))
		cmd.In = binary.BigEndian.AppendUint32(cmd.In, sector)
		cmd.Transfer = 8
	case 0xa0:
		cmd.In = append(cmd.In[:0], 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		cmd.Transfer = 16
	case 0x28, 0x88:
		if off+n > int64(len(d.data)) {
			d.refuse(cmd, 0x21)
			return
		}
		n = min(n, int64(cmd.InMax))
		cmd.In = cmd.Buffer(int(n))
		d.mu.RLock()
		copy(cmd.In, d.data[off:off+n])
		d.mu.RUnlock()
	case 0x2a, 0x8a:
		if off+n > int64(len(d.data)) {
			d.refuse(cmd, 0x21)
			return
		}
		d.mu.Lock()
		copy(d.data[off:off+n], cmd.Out)
		d.mu.Unlock()
	default:
		d.refuse(cmd, 0x20)
	}
}

func (d *ramDisk) refuse(cmd *scsi.Command, asc byte) {
	cmd.Status, cmd.Transfer = scsi.CheckCondition, 0
	cmd.Sense = sense{5, asc, 0}.appendTo(cmd.Sense[:0])
}

func (d *ramDisk) Attach(n *scsi.Nexus) {
	d.state.Lock()
	defer d.state.Unlock()
	d.attached = append(d.attached, n)
}

func (d *ramDisk) Detach(n *scsi.Nexus) {
	d.state.Lock()
	defer d.state.Unlock()
	d.attached = slices.DeleteFunc(d.attached, func(a *scsi.Nexus) bool { return a == n })
}

// inUse counts what the target has not let go of.
func (d *ramDisk) inUse() (running, nexuses int) {
	d.state.Lock()
	defer d.state.Unlock()
	return len(d.running), len(d.attached)
}

func (d *ramDisk) Reset(*scsi.Nexus) {
	d.state.Lock()
	defer d.state.Unlock()
	d.resets++
}

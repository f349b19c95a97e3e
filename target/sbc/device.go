package sbc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"sluice/target/scsi"
)

// Geometry of every disk: sectors of 512 bytes on physical blocks of 4096.
const (
	sector         = 512
	block          = 4096
	physExponent   = 3    // 2^3 sectors in a physical block
	maxTransfer    = 8192 // sectors in one command: 4 MiB
	bestTransfer   = 2048 // 1 MiB
	maxCompare     = 128  // sectors of one COMPARE AND WRITE
	maxUnmapRanges = 256  // of one UNMAP
	maxWriteSame   = 8192 // sectors: 4 MiB
)

// ErrNotReady is wrapped by errors of a Disk that cannot serve now but may later.
var ErrNotReady = errors.New("the disk is not ready")

// Options are what a Device needs.
type Options struct {
	Disk     Disk
	ID       [16]byte      // identity of the disk, from which its serial number and its name are made
	Target   string        // iSCSI name of the target that it is a LUN of
	Revision string        // of the product, up to 4 characters
	Registry scsi.Registry // of persistent reservations; nil: none outlive the device
	// Outlasting has all of them outlive it, not just those of which initiators ask that: see scsi.Config.
	Outlasting bool
	Modes      scsi.Registry // of saved mode pages; nil: none can be saved
	// WriteThrough has every write answered only when it survives what a flush does: there is no write cache.
	WriteThrough bool
	Peers        Peers   // nil: a copy is always inside this disk
	Tokens       *Tokens // of all disks of the gateway; nil: of this disk alone
	Logger       *slog.Logger
}

// Device is a disk as SBC-3 describes it. It implements scsi.LogicalUnit.
type Device struct {
	*scsi.Unit
	disk      Disk
	log       *slog.Logger
	naa       [16]byte // its designator
	peers     Peers
	shared    *Tokens
	maxAtomic uint64 // sectors of one atomic write; 0: there are none

	// exclusive is held shared by writes, and exclusively by commands that read, compare or
	// combine, and write as one (COMPARE AND WRITE, ORWRITE).
	exclusive turns
	// wholes is odd while a write is under way that reads are to see whole; it only grows.
	wholes  atomic.Uint64
	writing atomic.Pointer[span] // what that write is to, or was
	batches sync.Pool

	tokens  atomic.Int32  // how many Tokens has of this disk
	jobs    jobs          // third-party copies
	copying chan struct{} // holds an element for each copy to this disk under way
	pieces  sync.Pool     // of buffers for them
}

// New returns the device server of a disk.
func New(o Options) (*Device, error) {
	if size := o.Disk.Size(); size < sector {
		return nil, fmt.Errorf("a disk of %d bytes: it needs a sector at least", size)
	}
	d := &Device{
		disk: o.Disk, log: o.Logger, peers: o.Peers, shared: o.Tokens, maxAtomic: maxAtomic(o.Disk),
		exclusive: newTurns(), copying: make(chan struct{}, copySlots),
	}
	if d.shared == nil {
		d.shared = NewTokens()
	}
	d.batches.New = func() any { return new(writes) }
	d.pieces.New = func() any { return new([copyPiece]byte) }
	id := scsi.Identity{
		Type: 0, Copies: true, Vendor: "SLUICE", Product: "VOLUME", Revision: o.Revision,
		Serial: hex.EncodeToString(o.ID[:]), NAA: o.ID, Target: o.Target,
		Versions: []uint16{0x00a0 /* SAM-5 */, 0x0960 /* iSCSI */, 0x0460 /* SPC-4 */, 0x04c0 /* SBC-3 */},
		Pages:    map[byte]func() []byte{0x8f: copyPage, 0xb0: d.blockLimits, 0xb1: characteristics, 0xb2: provisioning},
	}
	d.naa = id.Designator()
	var err error
	d.Unit, err = scsi.NewUnit(scsi.Config{
		Identity: id, Logger: o.Logger, Registry: o.Registry, Outlasting: o.Outlasting, Modes: o.Modes, Specific: d.specific,
		Blocks:   func() (uint64, uint32) { return d.sectors(), sector },
		Selected: d.selected,
	}, d.operations(), modePages(o.WriteThrough))
	return d, err
}

func (d *Device) sectors() uint64 { return uint64(d.disk.Size() / sector) }

// Resized tells all initiators that the capacity has changed.
func (d *Device) Resized() { d.Attention(nil, scsi.CapacityChanged) }

// Designator is the NAA designator by which copies name the disk (VPD page 83).
func (d *Device) Designator() [16]byte { return d.naa }

// Close lets no other disk copy from this one or to it any more, waits until those that do have
// ended, or until ctx has, and forgets the tokens of this disk. The disk's own commands are the
// transport's business.
func (d *Device) Close(ctx context.Context) error {
	d.shared.drop(d)
	if err := d.Expel(ctx); err != nil {
		return fmt.Errorf("waiting for copies by other disks: %w", err)
	}
	return nil
}

// writes are the plain writes of one batch, which go to the disk as one.
type writes struct {
	bufs [][]byte
	offs []int64
	cmds []*scsi.Command
}

func (w *writes) reset() {
	clear(w.bufs)
	clear(w.cmds)
	w.bufs, w.offs, w.cmds = w.bufs[:0], w.offs[:0], w.cmds[:0]
}

// Submit implements scsi.LogicalUnit. Reads of data at hand are answered here; plain writes
// are gathered and written together; all else leaves the order of arrival between them.
func (d *Device) Submit(ctx context.Context, batch []*scsi.Command) {
	w := d.batches.Get().(*writes)
	for _, c := range batch {
		switch c.CDB[0] {
		case 0x2a, 0x8a, 0x0a, 0xaa: // WRITE
			if d.Admit(c) != nil && d.checkWrite(c) {
				d.gather(ctx, w, c)
			}
		case 0x28, 0x88, 0x08, 0xa8: // READ
			if d.Admit(c) != nil {
				d.read(ctx, c)
			}
		default:
			d.write(ctx, w)
			if op := d.Admit(c); op != nil {
				op.Run(ctx, c)
			}
		}
	}
	d.write(ctx, w)
	d.batches.Put(w)
}

// gather adds a checked write to the batch.
func (d *Device) gather(ctx context.Context, w *writes, c *scsi.Command) {
	a := addressOf(c.CDB)
	n := min(int64(len(c.Out)), a.bytes())
	c.Transfer = a.bytes()
	if n%sector != 0 {
		d.writePart(ctx, c, c.Out[:n], a.offset())
		return
	}
	if n > 0 && d.forced(c) {
		d.Go(ctx, c, func(ctx context.Context) { d.finish(c, d.writeThrough(ctx, c.Out[:n], a.offset()), true) })
		return
	}
	if n == 0 {
		c.Complete()
		return
	}
	w.bufs, w.offs, w.cmds = append(w.bufs, c.Out[:n]), append(w.offs, a.offset()), append(w.cmds, c)
}

// forced tells whether a write must survive a loss of power before it is answered: by its
// FUA bit, or since the initiator has turned the write cache off.
func (d *Device) forced(c *scsi.Command) bool {
	return c.CDB[0]>>5 != 0 && c.CDB[1]&0x08 != 0 || d.writeThroughMode()
}

func (d *Device) writeThrough(ctx context.Context, p []byte, off int64) error {
	if err := d.put(ctx, p, off); err != nil {
		return err
	}
	return d.disk.Flush(ctx)
}

// put writes at one place, and waits where it has to.
func (d *Device) put(ctx context.Context, p []byte, off int64) error {
	return d.changing(ctx, off, int64(len(p)), func() error { return d.disk.Write(ctx, [][]byte{p}, []int64{off}, true) })
}

// writeNow writes a batch if that need not wait.
func (d *Device) writeNow(ctx context.Context, w *writes) error {
	if !d.exclusive.tryShare() {
		return syscall.EAGAIN
	}
	defer d.exclusive.leave()
	if !d.Enter(w.cmds) {
		return syscall.EAGAIN
	}
	defer d.Leave()
	for i, p := range w.bufs {
		d.changed(w.offs[i], int64(len(p)))
	}
	return d.disk.Write(ctx, w.bufs, w.offs, false)
}

// write writes what was gathered, here if the disk need not wait, else in a goroutine.
func (d *Device) write(ctx context.Context, w *writes) {
	if len(w.cmds) == 0 {
		return
	}
	err := d.writeNow(ctx, w)
	again := errors.Is(err, syscall.EAGAIN)
	for i, c := range w.cmds {
		if !again {
			d.answer(c, err, true)
			continue
		}
		buf, off := w.bufs[i], w.offs[i]
		d.Go(ctx, c, func(ctx context.Context) { d.finish(c, d.put(ctx, buf, off), true) })
	}
	w.reset()
}

// read carries out READ.
func (d *Device) read(ctx context.Context, c *scsi.Command) {
	a := addressOf(c.CDB)
	if !d.checkRange(c, a) {
		return
	}
	c.Transfer = a.bytes()
	n := min(a.bytes(), (int64(c.InMax)+sector-1)&^(sector-1))
	if n == 0 {
		c.Complete()
		return
	}
	c.In = c.Buffer(int(n))
	err := d.steady(ctx, c.In, a.offset())
	if !errors.Is(err, syscall.EAGAIN) {
		d.answer(c, err, false)
		return
	}
	d.Go(ctx, c, func(ctx context.Context) { d.finish(c, d.fetch(ctx, c.In, a.offset()), false) })
}

// finish completes a command that Go runs.
func (d *Device) finish(c *scsi.Command, err error, writing bool) {
	d.Finished(c)
	d.answer(c, err, writing)
}

// answer completes a command with GOOD, or with the sense data of an error of the disk.
func (d *Device) answer(c *scsi.Command, err error, writing bool) {
	if err == nil {
		c.Complete()
		return
	}
	if errors.Is(err, context.Canceled) {
		c.Status, c.In = scsi.TaskAborted, nil
		c.Complete()
		return
	}
	d.logFailure(c, err)
	d.Fail(c, senseOf(err, writing))
}

func (d *Device) logFailure(c *scsi.Command, err error) {
	if !errors.Is(err, ErrNotReady) {
		d.log.Error("I/O failed", "cdb", hex.EncodeToString(c.CDB), "error", err)
	}
}

// senseOf is the sense data for an error of a disk. INFORMATION is the sector that failed, if the
// disk says which one it was (SBC-3 4.18.1).
func senseOf(err error, writing bool) scsi.Sense {
	s := scsi.Sense{Key: scsi.MediumError, Code: scsi.UnrecoveredReadError}
	switch {
	case errors.Is(err, ErrNotReady):
		return scsi.Sense{Key: scsi.NotReady, Code: scsi.BecomingReady}
	case writing && errors.Is(err, syscall.ENOSPC):
		return scsi.Sense{Key: scsi.DataProtect, Code: scsi.SpaceAllocationFailed}
	case writing && errors.Is(err, syscall.EROFS):
		return scsi.Sense{Key: scsi.DataProtect, Code: scsi.WriteProtected}
	case writing:
		s.Code = scsi.WriteError
	}
	if at, ok := errors.AsType[Located](err); ok {
		s.Info, s.HasInfo = uint64(at.FailedAt()/sector), true
	}
	return s
}

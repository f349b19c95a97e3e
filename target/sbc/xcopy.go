package sbc

import (
	"context"
	"errors"
	"maps"

	"sluice/target/scsi"
)

// extendedCopy carries out EXTENDED COPY (LID1) (SPC-4 6.4). The list is checked as far as it can
// be before anything is copied; then the segments are processed in their order, up to the first
// that fails.
func (d *Device) extendedCopy(ctx context.Context, c *scsi.Command) {
	length := int64(copyListLength(c.CDB))
	if length == 0 {
		c.Complete()
		return
	}
	if int64(len(c.Out)) < length {
		d.Fail(c, scsi.Illegal(scsi.ParameterListLength))
		return
	}
	list, failure := parseCopyList(c.Out[:length])
	if failure != nil {
		d.Fail(c, *failure)
		return
	}
	c.Transfer = length
	var j *job
	if list.keep {
		j = &job{nexus: c.Nexus, id: uint32(list.id), action: scsi.ExtendedCopy}
		if failure := d.jobs.begin(j); failure != nil {
			d.Fail(c, *failure)
			return
		}
	}
	d.Go(ctx, c, func(ctx context.Context) {
		failure := d.copySegments(ctx, c, &list, j)
		if failure != nil && ctx.Err() != nil {
			d.abortCopy(c, j)
			return
		}
		d.completeCopy(c, j, failure)
	})
}

// copySegments processes the segments of a list.
func (d *Device) copySegments(ctx context.Context, c *scsi.Command, list *copyList, j *job) *scsi.Sense {
	for i, s := range list.segments {
		dst, src, failure := d.ends(c, list, s)
		if failure != nil {
			return segmentFailure(i, s.from.n, *failure)
		}
		left := src.n
		err := d.copyBetween(ctx, c, &transfer{dst, src, func() error { return nil }, func(n int64) {
			left -= n
			if j != nil {
				j.bytes.Add(n)
			}
		}})
		if err != nil {
			d.logFailure(c, err)
			return segmentFailure(i, uint64(left)/sector, d.cause(err))
		}
		if j != nil {
			j.segments.Add(1)
		}
	}
	return nil
}

// ends returns what a segment copies to and from, or why it cannot. With a null device that is
// nothing.
func (d *Device) ends(c *scsi.Command, list *copyList, s segment) (dst, src extent, failure *scsi.Sense) {
	if max(s.source, s.destination) >= len(list.targets) {
		return dst, src, &scsi.Sense{Code: scsi.UnreachableCopyTarget}
	}
	from, to := list.targets[s.source], list.targets[s.destination]
	if from.null || to.null {
		return extent{disk: d}, extent{disk: d}, nil
	}
	source, destination := d.find(c, from.naa), d.find(c, to.naa)
	if source == nil || destination == nil {
		return dst, src, &scsi.Sense{Code: scsi.CopyTargetUnreachable}
	}
	if !source.inside(s.from) || !destination.inside(s.to) {
		return dst, src, &scsi.Sense{Code: scsi.NoAdditionalSense}
	}
	n := s.from.bytes()
	return extent{destination, s.to.offset(), n}, extent{source, s.from.offset(), n}, nil
}

// segmentFailure is the sense data for a segment that was not copied: how many sectors of it are
// missing, and which one it is (SPC-4 5.17.7.4).
func segmentFailure(index int, missing uint64, s scsi.Sense) *scsi.Sense {
	s.Key = scsi.CopyAborted
	s.Info, s.HasInfo = missing, true
	s.Command = uint64(index)
	return &s
}

// copyBetween copies from one disk to another for a command of this one, as a command of theirs,
// and flushes the destination if its cache is off.
func (d *Device) copyBetween(ctx context.Context, c *scsi.Command, t *transfer) error {
	ctx, leave, err := d.visit(ctx, c, t.src.disk, scsi.Reads)
	if err != nil {
		return err
	}
	defer leave()
	ctx, leave, err = d.visit(ctx, c, t.dst.disk, scsi.Writes)
	if err != nil {
		return err
	}
	defer leave()
	if err := t.run(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		return err
	}
	if dst := t.dst.disk; dst.writeThroughMode() {
		return dst.disk.Flush(ctx)
	}
	return nil
}

// copyOperations are the third-party copies of a disk.
func (d *Device) copyOperations() []*scsi.Op {
	type run = func(context.Context, *scsi.Command)
	var ops []*scsi.Op
	add := func(code scsi.Opcode, action int, access scsi.Access, r run, fields map[int]byte) {
		masks := map[int]byte{1: 0x1f, 14: 0}
		for i := 2; i < 10; i++ { // the allocation or parameter list length is behind
			masks[i] = 0
		}
		maps.Copy(masks, fields)
		op := &scsi.Op{Code: byte(code), Action: action, Access: access, Usage: usage(byte(code), masks), Timeout: 60, Run: r}
		if code == scsi.ThirdPartyCopyOut {
			op.Out, op.Timeout = copyOut, 600
		}
		ops = append(ops, op)
	}
	listed := map[int]byte{2: 0xff}                                     // list identifier
	token := map[int]byte{6: 0xff, 7: 0xff, 8: 0xff, 9: 0xff, 14: 0x1f} // and group number
	add(scsi.ThirdPartyCopyOut, scsi.ExtendedCopy, scsi.Writes, d.extendedCopy, nil)
	add(scsi.ThirdPartyCopyOut, scsi.PopulateToken, scsi.Reads, d.populateToken, token)
	add(scsi.ThirdPartyCopyOut, scsi.WriteUsingToken, scsi.Writes, d.useToken, token)
	add(scsi.ThirdPartyCopyIn, scsi.CopyStatus, scsi.Writes, d.copyStatus, listed)
	add(scsi.ThirdPartyCopyIn, scsi.CopyOperatingParameters, scsi.Writes, d.copyParameters, listed)
	add(scsi.ThirdPartyCopyIn, scsi.FailedSegmentDetails, scsi.Writes, d.failedSegment, listed)
	add(scsi.ThirdPartyCopyIn, scsi.ReceiveTokenInformation, scsi.Reads, d.tokenInformation, map[int]byte{2: 0xff, 3: 0xff, 4: 0xff, 5: 0xff})
	return ops
}

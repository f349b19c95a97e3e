package sbc

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"sluice/target/scsi"
)

// maxJobs bounds how many third-party copies a disk remembers; the oldest that have ended are
// forgotten first.
const maxJobs = 64

// jobState is how far a third-party copy is.
type jobState int32

const (
	jobRunning jobState = iota
	jobDone
	jobFailed
)

// job is a third-party copy, for those who ask what became of it.
type job struct {
	nexus  *scsi.Nexus
	id     uint32 // list identifier
	action byte   // service action of THIRD-PARTY COPY OUT

	state    atomic.Int32 // of the type jobState; what follows the counters is written before it
	segments atomic.Uint32
	bytes    atomic.Int64

	status scsi.Status
	sense  []byte
	token  []byte // made by POPULATE TOKEN, or nil
}

// end says what became of a job.
func (j *job) end(status scsi.Status, sense []byte) {
	j.status, j.sense = status, slices.Clone(sense)
	state := jobDone
	if status != scsi.Good {
		state = jobFailed
	}
	j.state.Store(int32(state))
}

func (j *job) is() jobState { return jobState(j.state.Load()) }

// jobs are the third-party copies of a disk. Its methods may be called concurrently.
type jobs struct {
	mu   sync.Mutex
	list []*job // oldest first
}

// begin remembers a job in the place of an earlier one with the same identifier. It fails if
// that is still running, or if too many are.
func (s *jobs) begin(j *job) *scsi.Sense {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(j.nexus, j.id); i >= 0 {
		if s.list[i].is() == jobRunning {
			return new(scsi.Illegal(scsi.OperationInProgress))
		}
		s.list = slices.Delete(s.list, i, i+1)
	}
	if len(s.list) >= maxJobs {
		i := slices.IndexFunc(s.list, func(j *job) bool { return j.is() != jobRunning })
		if i < 0 {
			return new(scsi.Illegal(scsi.OperationInProgress))
		}
		s.list = slices.Delete(s.list, i, i+1)
	}
	s.list = append(s.list, j)
	return nil
}

// get returns a job of a nexus, or nil.
func (s *jobs) get(n *scsi.Nexus, id uint32) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(n, id); i >= 0 {
		return s.list[i]
	}
	return nil
}

// find returns the index of a job. The caller holds mu.
func (s *jobs) find(n *scsi.Nexus, id uint32) int {
	return slices.IndexFunc(s.list, func(j *job) bool { return j.nexus == n && j.id == id })
}

// forget drops the jobs of a nexus that has gone, or all of them.
func (s *jobs) forget(n *scsi.Nexus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(j *job) bool { return n == nil || j.nexus == n })
}

// Detach implements scsi.LogicalUnit.
func (d *Device) Detach(n *scsi.Nexus) {
	d.jobs.forget(n)
	d.Unit.Detach(n)
}

// Reset implements scsi.LogicalUnit. What is known of copies is lost with it (SPC-4 5.17.5).
func (d *Device) Reset(by *scsi.Nexus) {
	d.jobs.forget(nil)
	d.Unit.Reset(by)
}

// completeCopy completes a third-party copy that Go runs, and its job, if it has one.
func (d *Device) completeCopy(c *scsi.Command, j *job, failure *scsi.Sense) {
	d.Finished(c)
	if failure == nil {
		if j != nil {
			j.end(scsi.Good, nil)
		}
		c.Complete()
		return
	}
	if j != nil {
		j.end(scsi.CheckCondition, failure.Append(nil, false))
	}
	d.Fail(c, *failure)
}

// abortCopy completes a third-party copy whose command was aborted.
func (d *Device) abortCopy(c *scsi.Command, j *job) {
	if j != nil {
		j.end(scsi.TaskAborted, nil)
	}
	d.finish(c, context.Canceled, true)
}

// cause is the sense data for what ended a copy. The copy of a disk's own command fails as a
// write of that disk would; all else is the failure of a third party.
func (d *Device) cause(err error) scsi.Sense {
	var token *tokenError
	switch {
	case errors.As(err, &token):
		return scsi.Illegal(token.code)
	case errors.Is(err, errProtected):
		return scsi.Sense{Key: scsi.DataProtect, Code: scsi.WriteProtected}
	case errors.Is(err, scsi.ErrConflict), errors.Is(err, scsi.ErrGone), errors.Is(err, context.Canceled):
		return scsi.Sense{Key: scsi.CopyAborted, Code: scsi.ThirdPartyFailure}
	}
	var source *sourceError
	return senseOf(err, !errors.As(err, &source))
}

// copyStatus carries out RECEIVE COPY STATUS (LID1) (SPC-4 6.26), and RECEIVE COPY RESULTS as
// it was called before.
//
//	0  length of what follows: 8 (4)
//	4  HDD 80, status 7F: 0 in progress, 1 done, 2 failed
//	5  segments processed (2)
//	7  unit of the transfer count: 0, bytes
//	8  transfer count (4)
func (d *Device) copyStatus(_ context.Context, c *scsi.Command) {
	be := binary.BigEndian
	j := d.jobs.get(c.Nexus, uint32(c.CDB[2]))
	if j == nil || j.action != scsi.ExtendedCopy {
		d.Fail(c, scsi.BadField(2, 7))
		return
	}
	state := j.is() // before the counters, which then are at least what it says
	unit, count := transferCount(j.bytes.Load())
	b := append(c.In[:0], 0, 0, 0, 8, byte(state))
	b = be.AppendUint16(b, uint16(j.segments.Load()))
	c.In = be.AppendUint32(append(b, unit), count)
	d.Answer(c, copyAllocation(c))
}

// transferCount says a number of bytes in 32 bits: in bytes, or in the least greater unit that
// holds it (SPC-4 table 262).
func transferCount(n int64) (unit byte, count uint32) {
	for n > 1<<32-1 {
		n, unit = n>>10, unit+1
	}
	return unit, uint32(n)
}

// failedSegment carries out RECEIVE COPY FAILURE DETAILS (LID1) (SPC-4 6.25): the status of the
// copy and its sense data, or nothing if it has not failed.
func (d *Device) failedSegment(_ context.Context, c *scsi.Command) {
	j := d.jobs.get(c.Nexus, uint32(c.CDB[2]))
	if j == nil || j.action != scsi.ExtendedCopy {
		d.Fail(c, scsi.BadField(2, 7))
		return
	}
	b := append(c.In[:0], 0, 0, 0, 0)
	if j.is() == jobFailed {
		b = append(b, make([]byte, 52)...)
		b = append(b, byte(j.status), 0, 0, byte(len(j.sense)))
		b = append(b, j.sense...)
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	}
	c.In = b
	d.Answer(c, copyAllocation(c))
}

// copyParameters carries out RECEIVE COPY OPERATING PARAMETERS (SPC-4 6.27).
func (d *Device) copyParameters(_ context.Context, c *scsi.Command) {
	be := binary.BigEndian
	b := append(c.In[:0], make([]byte, 44)...)
	b[4] = 0x01 // SNLID: a list needs no identifier
	be.PutUint16(b[8:], maxTargets)
	be.PutUint16(b[10:], maxSegments)
	be.PutUint32(b[12:], maxDescriptors)
	be.PutUint32(b[16:], maxSegment*sector)
	be.PutUint16(b[34:], maxJobs) // concurrent copies, and below those with an identifier
	b[36] = maxJobs
	b[37] = 9                                        // granularity of data: 2^9
	b = append(b, segmentBlocks, cscdIdentification) // in ascending order
	b[43] = byte(len(b) - 44)
	be.PutUint32(b, uint32(len(b)-4))
	c.In = b
	d.Answer(c, copyAllocation(c))
}

// copyAllocation is the allocation length of a THIRD-PARTY COPY IN.
func copyAllocation(c *scsi.Command) int {
	return int(min(binary.BigEndian.Uint32(c.CDB[10:]), 1<<20))
}

package sbc

import (
	"context"
	"encoding/binary"
	"time"

	"sluice/target/scsi"
)

// Where the ranges begin in the parameter lists of POPULATE TOKEN and WRITE USING TOKEN, and the
// length of each.
const (
	populateHeader = 16
	useHeader      = 536
	rangeLength    = 16
)

// populateToken carries out POPULATE TOKEN (SBC-3 5.11): a token for ranges of this disk.
//
//	 0  length of what follows (2)
//	 2  RTV 02, IMMED 01
//	 4  inactivity timeout in seconds (4)
//	 8  type of the token (4), if RTV is set
//	14  length of the ranges (2)
//	16  ranges: address (8), number of sectors (4), reserved (4)
//
// It never takes long, so that IMMED changes nothing.
func (d *Device) populateToken(ctx context.Context, c *scsi.Command) {
	be := binary.BigEndian
	list, ranges, failure := d.tokenList(c, populateHeader)
	if failure == nil && list != nil {
		failure = checkPopulate(list)
	}
	if failure != nil {
		d.Fail(c, *failure)
		return
	}
	if list == nil {
		c.Complete()
		return
	}
	timeout := time.Duration(be.Uint32(list[4:])) * time.Second
	if timeout == 0 {
		timeout = defaultTimeout
	}
	d.startToken(ctx, c, scsi.PopulateToken, func(ctx context.Context, j *job) error {
		k, err := d.populate(ctx, ranges, timeout)
		if err != nil {
			return err
		}
		if k == nil {
			return &tokenError{scsi.TooManyTokens}
		}
		j.token = k.bytes[:]
		j.bytes.Add(int64(sectorsOf(ranges)) * sector)
		return nil
	})
}

// populate makes a token when no write to this disk is under way: such a write would change its
// data without ending it.
func (d *Device) populate(ctx context.Context, ranges []address, timeout time.Duration) (k *token, err error) {
	err = d.exclusive.alone(ctx, func() error {
		k = d.shared.create(d, ranges, timeout)
		return nil
	})
	return k, err
}

func checkPopulate(list []byte) *scsi.Sense {
	be := binary.BigEndian
	if be.Uint32(list[4:]) > uint32(maxTimeout/time.Second) {
		return new(scsi.BadParameter(4, 7))
	}
	if kind := be.Uint32(list[8:]); list[2]&0x02 != 0 && kind != rodDefault && kind != rodVulnerable && kind != rodAny {
		return new(scsi.BadParameter(8, 7))
	}
	return nil
}

// useToken carries out WRITE USING TOKEN (SBC-3 5.50): it copies what a token stands for to
// ranges of this disk.
//
//	  0  length of what follows (2)
//	  2  DEL_TKN 02, IMMED 01
//	  8  first sector of what the token stands for (8)
//	 16  token (512)
//	534  length of the ranges (2)
//	536  ranges
//
// The command ends when the copy does, so that IMMED changes nothing.
func (d *Device) useToken(ctx context.Context, c *scsi.Command) {
	be := binary.BigEndian
	list, ranges, failure := d.tokenList(c, useHeader)
	switch {
	case failure != nil:
		d.Fail(c, *failure)
		return
	case list == nil:
		c.Complete()
		return
	case !d.writable(c):
		return
	}
	offset, p := be.Uint64(list[8:]), list[16:][:tokenLength]
	switch kind := be.Uint32(p); {
	case kind == rodZero:
		d.startToken(ctx, c, scsi.WriteUsingToken, func(ctx context.Context, j *job) error { return d.writeZeros(ctx, ranges, j) })
		return
	case kind != rodVulnerable:
		d.Fail(c, scsi.Illegal(scsi.UnsupportedTokenType))
		return
	case be.Uint16(p[6:]) != tokenLength-8:
		d.Fail(c, scsi.Illegal(scsi.TokenCorrupt))
		return
	}
	k, err := d.tokenOf(c, p)
	if err != nil {
		d.Fail(c, d.cause(err))
		return
	}
	if all, n := sectorsOf(k.ranges), sectorsOf(ranges); offset > all || n > all-offset {
		d.Fail(c, scsi.BadParameter(8, 7))
		return
	}
	del := list[2]&0x02 != 0
	d.startToken(ctx, c, scsi.WriteUsingToken, func(ctx context.Context, j *job) error {
		err := d.copyToken(ctx, c, k, offset, ranges, j)
		if err == nil && del {
			d.shared.end(k, scsi.TokenDeleted)
		}
		return err
	})
}

// tokenOf finds a token, if the initiator of a command may use the disk that made it.
func (d *Device) tokenOf(c *scsi.Command, p []byte) (*token, error) {
	k, err := d.shared.use(p)
	if err != nil {
		return nil, err
	}
	if d.find(c, k.disk.naa) != k.disk {
		return nil, &tokenError{scsi.TokenUnknown}
	}
	return k, nil
}

// tokenList checks a parameter list whose ranges are behind a header. It returns nothing if the
// command is to transfer none.
func (d *Device) tokenList(c *scsi.Command, header int) (list []byte, ranges []address, failure *scsi.Sense) {
	be := binary.BigEndian
	length := copyListLength(c.CDB)
	if length == 0 {
		return nil, nil, nil
	}
	if length < uint32(header) || int64(len(c.Out)) < int64(length) {
		return nil, nil, new(scsi.Illegal(scsi.ParameterListLength))
	}
	list = c.Out[:length]
	size := int(be.Uint16(list[header-2:]))
	switch {
	case int(be.Uint16(list))+2 > len(list), header+size > len(list):
		return nil, nil, new(scsi.Illegal(scsi.ParameterListLength))
	case int(be.Uint16(list))+2 < header+size:
		return nil, nil, new(scsi.BadParameter(0, 7))
	case size < rangeLength:
		return nil, nil, new(scsi.BadParameter(header-2, 7))
	case size/rangeLength > maxTokenRanges:
		return nil, nil, new(scsi.Illegal(scsi.TooManySegments))
	}
	for at := header; header+size-at >= rangeLength; at += rangeLength {
		a := address{be.Uint64(list[at:]), uint64(be.Uint32(list[at+8:]))}
		if !d.inside(a) {
			return nil, nil, new(scsi.Sense{Key: scsi.IllegalRequest, Code: scsi.LBAOutOfRange, Info: max(a.lba, d.sectors()), HasInfo: true})
		}
		for _, b := range ranges {
			if a.lba < b.lba+b.n && b.lba < a.lba+a.n {
				return nil, nil, new(scsi.BadParameter(at, 7)) // which of both would count?
			}
		}
		if ranges = append(ranges, a); sectorsOf(ranges) > maxTokenBytes/sector {
			return nil, nil, new(scsi.BadParameter(at+8, 7))
		}
	}
	return list, ranges, nil
}

// startToken runs a command that makes or uses a token.
func (d *Device) startToken(ctx context.Context, c *scsi.Command, action byte, work func(context.Context, *job) error) {
	j := &job{nexus: c.Nexus, id: binary.BigEndian.Uint32(c.CDB[6:]), action: action}
	if failure := d.jobs.begin(j); failure != nil {
		d.Fail(c, *failure)
		return
	}
	c.Transfer = int64(copyListLength(c.CDB))
	d.Go(ctx, c, func(ctx context.Context) {
		err := work(ctx, j)
		switch {
		case err == nil:
			d.completeCopy(c, j, nil)
		case ctx.Err() != nil:
			d.abortCopy(c, j)
		default:
			d.logFailure(c, err)
			sense := d.cause(err)
			d.completeCopy(c, j, &sense)
		}
	})
}

// writeZeros is what the zero token stands for.
func (d *Device) writeZeros(ctx context.Context, ranges []address, j *job) error {
	for _, a := range ranges {
		if a.n == 0 {
			continue
		}
		if err := d.zero(ctx, a, false); err != nil {
			return err
		}
		j.bytes.Add(a.bytes())
	}
	if d.writeThroughMode() {
		return d.disk.Flush(ctx)
	}
	return nil
}

// copyToken copies what a token stands for, from a sector of it on, to ranges of this disk.
// Should that have changed it fails, and what it has counted in the job until then is as it was.
func (d *Device) copyToken(ctx context.Context, c *scsi.Command, k *token, offset uint64, ranges []address, j *job) error {
	sources := slicesFrom(k.ranges, offset)
	for _, to := range ranges {
		for to.n > 0 {
			from := &sources[0]
			n := min(from.n, to.n)
			if n > 0 {
				size := int64(n) * sector
				dst, src := extent{d, to.offset(), size}, extent{k.disk, from.offset(), size}
				t := &transfer{dst, src, func() error { return d.shared.check(k) }, func(n int64) { j.bytes.Add(n) }}
				if err := d.copyBetween(ctx, c, t); err != nil {
					return err
				}
			}
			from.lba, from.n = from.lba+n, from.n-n
			to.lba, to.n = to.lba+n, to.n-n
			if from.n == 0 {
				sources = sources[1:]
			}
		}
	}
	return nil
}

// slicesFrom returns a copy of ranges without their first sectors.
func slicesFrom(ranges []address, skip uint64) []address {
	var rest []address
	for _, a := range ranges {
		n := min(a.n, skip)
		skip -= n
		if a.n > n {
			rest = append(rest, address{a.lba + n, a.n - n})
		}
	}
	return rest
}

// operation is the copy operation status of RECEIVE ROD TOKEN INFORMATION (SPC-4 table 261).
func (s jobState) operation() byte {
	switch s {
	case jobRunning:
		return 0x11 // in the foreground
	case jobDone:
		return 0x01
	case jobFailed:
		return 0x02
	}
	return 0x60 // terminated
}

// tokenInformation carries out RECEIVE ROD TOKEN INFORMATION (SPC-4 6.29).
//
//	 0  length of what follows (4)
//	 4  service action of the command
//	 5  copy operation status
//	 6  operation counter (2)
//	 8  milliseconds until it is worth while to ask again (4)
//	12  SCSI status of the copy, length of the sense data field, of the sense data
//	15  unit of the transfer count: F1, sectors
//	16  transfer count (8)
//	32  sense data
//	    length of the tokens (4)
//	    for each: reserved (2), token (512)
func (d *Device) tokenInformation(_ context.Context, c *scsi.Command) {
	be := binary.BigEndian
	j := d.jobs.get(c.Nexus, be.Uint32(c.CDB[2:]))
	if j == nil || j.action == scsi.ExtendedCopy {
		d.Fail(c, scsi.BadField(2, 7))
		return
	}
	state := j.is()
	b := append(c.In[:0], make([]byte, 32)...)
	b[4], b[5] = j.action, state.operation()
	be.PutUint32(b[8:], 1<<32-2) // it has ended
	if state == jobRunning {
		be.PutUint32(b[8:], 100)
	} else {
		b[12], b[13], b[14] = byte(j.status), byte(len(j.sense)), byte(len(j.sense))
	}
	b[15] = 0xf1
	be.PutUint64(b[16:], uint64(j.bytes.Load())/sector)
	if state == jobFailed {
		b = append(b, j.sense...)
	}
	if state == jobDone && j.token != nil {
		b = be.AppendUint32(b, 2+tokenLength)
		b = append(append(b, 0, 0), j.token...)
	} else {
		b = append(b, 0, 0, 0, 0)
	}
	be.PutUint32(b, uint32(len(b)-4))
	c.In = b
	d.Answer(c, copyAllocation(c))
}

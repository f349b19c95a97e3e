package sbc

import (
	"encoding/binary"

	"sluice/target/scsi"
)

// Limits of EXTENDED COPY, as RECEIVE COPY RESULTS and VPD page 8F tell them.
const (
	maxTargets     = 8
	maxSegments    = 64
	maxDescriptors = maxTargets*cscdLength + maxSegments*segmentLength // bytes
	maxSegment     = 0xffff                                            // sectors of one: what its field holds
	maxCopyList    = 4096                                              // bytes that are looked at to say what is wrong with a list
)

// The descriptors of EXTENDED COPY that we know (SPC-4 6.4.5 and 6.4.6).
const (
	cscdIdentification = 0xe4
	cscdLength         = 32
	segmentBlocks      = 0x02 // block device to block device
	segmentLength      = 28
	copyHeader         = 16
)

// copyList is a decoded parameter list of EXTENDED COPY (LID1) (SPC-4 6.4.2).
//
//	 0  list identifier
//	 1  STR 20, list ID usage 18, priority 07
//	 2  length of the CSCD descriptors (2)
//	 8  length of the segment descriptors (4)
//	12  length of the inline data (4)
//	16  CSCD descriptors, segment descriptors, inline data
type copyList struct {
	id       byte
	keep     bool // it has an identifier, by which the initiator may ask what became of it
	targets  []cscd
	segments []segment
}

// cscd is an identification descriptor of a copy source or destination, of a disk with an
// NAA designator (SPC-4 6.4.5.2).
//
//	 0  E4
//	 1  NUL 20, peripheral device type 1F
//	 4  code set 0F
//	 5  association 30, designator type 0F
//	 7  designator length
//	 8  designator (20)
//	28  PAD 04, disk block length (3)
//
// With NUL, of SPC-3, it stands for no disk at all: segments that name it are skipped. The LU ID
// type (C0) of SPC-3 is ignored, as SPC-4 has it.
type cscd struct {
	naa  [16]byte
	null bool
}

// segment is a block device to block device segment descriptor (SPC-4 6.4.6.3).
//
//	 0  02
//	 1  DC 02, CAT 01
//	 2  length of what follows: 24 (2)
//	 4  source (2), destination (2): indices of CSCD descriptors
//	10  number of blocks (2)
//	12  first block of the source (8), of the destination (8)
type segment struct {
	source, destination int
	from, to            address
}

// copyOut takes nothing of a list that is too long to be right.
func copyOut(cdb []byte) int64 {
	if n := copyListLength(cdb); n <= maxCopyList {
		return int64(n)
	}
	return 0
}

// copyListLength is the parameter list length of a THIRD-PARTY COPY OUT.
func copyListLength(cdb []byte) uint32 { return binary.BigEndian.Uint32(cdb[10:]) }

// parseCopyList decodes a parameter list, or says what is wrong with it.
func parseCopyList(p []byte) (copyList, *scsi.Sense) {
	be := binary.BigEndian
	var l copyList
	if len(p) < copyHeader {
		return l, new(scsi.Illegal(scsi.ParameterListLength))
	}
	targets, segments := int(be.Uint16(p[2:])), uint64(be.Uint32(p[8:]))
	usage := p[1] >> 3 & 3
	l.id, l.keep = p[0], usage != 3
	switch {
	case usage == 1:
		return l, new(scsi.BadParameter(1, 4))
	case usage == 3 && l.id != 0:
		return l, new(scsi.BadParameter(0, 7))
	case be.Uint32(p[12:]) != 0:
		return l, new(scsi.Illegal(scsi.InlineDataLength))
	case uint64(targets)+segments > maxDescriptors:
		return l, new(scsi.Illegal(scsi.ParameterListLength))
	case copyHeader+targets+int(segments) > len(p), targets%cscdLength != 0:
		return l, new(scsi.Illegal(scsi.ParameterListLength))
	case targets/cscdLength > maxTargets:
		return l, new(scsi.Illegal(scsi.TooManyTargets))
	}
	for at := copyHeader; at < copyHeader+targets; at += cscdLength {
		t, s := parseCSCD(p, at)
		if s != nil {
			return l, s
		}
		l.targets = append(l.targets, t)
	}
	return l, l.parseSegments(p, copyHeader+targets, copyHeader+targets+int(segments))
}

// parseSegments decodes the descriptors from at to end. That their targets are there is looked at
// when their turn comes.
func (l *copyList) parseSegments(p []byte, at, end int) *scsi.Sense {
	for at < end {
		switch {
		case p[at] != segmentBlocks:
			return new(scsi.Sense{Key: scsi.IllegalRequest, Code: scsi.UnsupportedSegment, Specific: scsi.BadParameter(at, 7).Specific})
		case end-at < segmentLength:
			return new(scsi.Illegal(scsi.ParameterListLength))
		case len(l.segments) == maxSegments:
			return new(scsi.Illegal(scsi.TooManySegments))
		}
		s, sense := parseSegment(p, at)
		if sense != nil {
			return sense
		}
		l.segments = append(l.segments, s)
		at += segmentLength
	}
	return nil
}

// parseCSCD decodes the descriptor at a place of the list. Names that no disk of ours has, and
// sectors of another length, are left to whoever looks for the disk.
func parseCSCD(p []byte, at int) (cscd, *scsi.Sense) {
	d := p[at:][:cscdLength]
	var t cscd
	switch {
	case d[0] != cscdIdentification:
		return t, new(scsi.Sense{Key: scsi.IllegalRequest, Code: scsi.UnsupportedTarget, Specific: scsi.BadParameter(at, 7).Specific})
	case d[1]&0x1f != 0: // not a disk
		return t, new(scsi.BadParameter(at+1, 4))
	case d[7] > 20:
		return t, new(scsi.BadParameter(at+7, 7))
	case d[29] != 0 || binary.BigEndian.Uint16(d[30:]) != sector:
		return t, new(scsi.BadParameter(at+29, 7))
	}
	t.null = d[1]&0x20 != 0
	if d[4]&0x0f == 0x01 && d[5]&0x3f == 0x03 && d[7] == 16 { // binary, of the unit, NAA
		copy(t.naa[:], d[8:])
	}
	return t, nil
}

func parseSegment(p []byte, at int) (segment, *scsi.Sense) {
	be := binary.BigEndian
	d := p[at:][:segmentLength]
	n := uint64(be.Uint16(d[10:]))
	s := segment{
		source: int(be.Uint16(d[4:])), destination: int(be.Uint16(d[6:])),
		from: address{be.Uint64(d[12:]), n}, to: address{be.Uint64(d[20:]), n},
	}
	if be.Uint16(d[2:]) != segmentLength-4 {
		return s, new(scsi.BadParameter(at+2, 7))
	}
	return s, nil
}

package sbc

import (
	"encoding/binary"
	"time"

	"sluice/target/scsi"
)

// copyPage is VPD page 8F, third-party copy (SPC-4 7.8.17), behind its header: descriptors, each
// of a type (2), the length of what follows (2), and that.
func copyPage() []byte {
	be := binary.BigEndian
	var b []byte
	add := func(kind uint16, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		b = be.AppendUint16(b, kind)
		b = be.AppendUint16(b, uint16(len(body)))
		b = append(b, body...)
	}
	add(0x0000, tokenLimits())
	add(0x0001, listed(
		byte(scsi.ThirdPartyCopyOut), 3, scsi.ExtendedCopy, scsi.PopulateToken, scsi.WriteUsingToken,
		byte(scsi.ThirdPartyCopyIn), 4, scsi.CopyStatus, scsi.CopyOperatingParameters, scsi.FailedSegmentDetails, scsi.ReceiveTokenInformation))
	limits := make([]byte, 28) // parameter data
	be.PutUint16(limits[4:], maxTargets)
	be.PutUint16(limits[6:], maxSegments)
	be.PutUint32(limits[8:], maxDescriptors)
	add(0x0004, limits)
	add(0x0008, listed(segmentBlocks, cscdIdentification)) // supported descriptors
	add(0x000c, []byte{0, 0})                              // supported CSCD descriptor IDs: none but indices
	add(0x0106, tokenFeatures())
	add(0x0108, tokenTypes())
	general := make([]byte, 32) // general copy operations
	be.PutUint32(general, maxJobs)
	be.PutUint32(general[4:], maxJobs)
	be.PutUint32(general[8:], maxSegment*sector)
	general[12] = 9 // granularity: 2^9
	add(0x8001, general)
	return b
}

// listed is a list behind its length of one byte.
func listed(b ...byte) []byte { return append([]byte{byte(len(b))}, b...) }

// tokenLimits is the block device ROD token limits descriptor (SBC-3 6.6.7.3).
func tokenLimits() []byte {
	be := binary.BigEndian
	b := make([]byte, 32)
	be.PutUint16(b[6:], maxTokenRanges)
	be.PutUint32(b[8:], uint32(maxTimeout/time.Second))
	be.PutUint32(b[12:], uint32(defaultTimeout/time.Second))
	be.PutUint64(b[16:], maxTokenBytes/sector)
	be.PutUint64(b[24:], maxTokenBytes/sector)
	return b
}

// tokenFeatures is the ROD token features descriptor (SPC-4 7.8.17.9).
func tokenFeatures() []byte {
	be := binary.BigEndian
	b := make([]byte, 44)
	// REMOTE TOKENS 0: other copy managers' tokens are not known.
	be.PutUint32(b[12:], 0)                              // least lifetime: a write may end it at any time
	be.PutUint32(b[16:], 1<<32-1)                        // greatest: as long as it is used
	be.PutUint32(b[20:], uint32(maxTimeout/time.Second)) // without being used
	be.PutUint16(b[42:], 48)                             // what follows
	disk := make([]byte, 48)                             // block device features
	be.PutUint16(disk[2:], 44)                           // what follows
	be.PutUint16(disk[6:], block/sector)                 // granularity
	be.PutUint64(disk[8:], maxTokenBytes)                // bytes of a token
	be.PutUint64(disk[16:], maxTokenBytes)               // the best number of them
	be.PutUint64(disk[24:], maxTokenBytes)               // the best number to put into one at once
	be.PutUint64(disk[32:], maxTokenBytes)               // and to take out of one
	return append(b, disk...)
}

// tokenTypes is the supported ROD types descriptor (SPC-4 7.8.17.10): tokens can be made of, and
// used for, data until it changes; for zeros they can be used.
func tokenTypes() []byte {
	be := binary.BigEndian
	const size = 64
	b := make([]byte, 4, 4+2*size)
	be.PutUint16(b[2:], 2*size)
	add := func(kind uint32, flags byte, preference uint16) {
		d := make([]byte, size)
		be.PutUint32(d, kind)
		d[4] = flags
		be.PutUint16(d[6:], preference)
		b = append(b, d...)
	}
	add(rodVulnerable, 0x03 /* TOKEN_IN, TOKEN_OUT */, 1)
	add(rodZero, 0x02 /* TOKEN_IN */, 2)
	return b
}

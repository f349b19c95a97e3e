package pdu

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Types of additional header segments (RFC 7143 11.2.2.1).
const (
	AHSExtendedCDB    = 1
	AHSBidiReadLength = 2
)

// MaxCDB is the longest CDB that a SCSI command can carry, in bytes (SPC-4 4.2.5.1).
const MaxCDB = 260

// ErrAHS is wrapped by every error about additional header segments; the PDU deserves a
// Reject with ReasonInvalidField.
var ErrAHS = errors.New("malformed additional header segment")

// AHS is what the additional header segments of a SCSI command say.
type AHS struct {
	// CDB is the part of an extended CDB that follows its first 16 bytes, nil if the
	// command has none. It points into the bytes that were parsed. It may end in up to
	// three bytes of padding: the length in the CDB itself rules (SPC-4 4.2.5).
	CDB []byte
	// BidiReadLength is the expected length of the read part of a bidirectional command,
	// in bytes; HasBidi tells whether the command carries one.
	BidiReadLength uint32
	HasBidi        bool
}

// ParseAHS reads the additional header segments of one PDU:
//
//	 byte 0          1          2          3
//	+---------------------+----------+----------+
//	| length, of specific | ..|type  | specific |  then specific up to length, padded to 4
//	+---------------------+----------+----------+
//
// A type that is unknown, a type that comes twice, or a length that does not fit is an
// error that wraps ErrAHS.
func ParseAHS(b []byte) (AHS, error) {
	var a AHS
	for len(b) > 0 {
		if len(b) < 4 {
			return AHS{}, fmt.Errorf("%w: %d bytes are left, fewer than 4", ErrAHS, len(b))
		}
		n, kind := int(binary.BigEndian.Uint16(b)), b[2]&0x3f
		end := 3 + n
		if n == 0 || end > len(b) {
			return AHS{}, fmt.Errorf("%w: length %d where %d bytes are left", ErrAHS, n, len(b)-3)
		}
		if err := a.take(kind, b[4:end]); err != nil {
			return AHS{}, err
		}
		b = b[min(end+Padding(end), len(b)):]
	}
	return a, nil
}

func (a *AHS) take(kind byte, body []byte) error {
	switch {
	case kind == AHSExtendedCDB && a.CDB == nil && len(body) > 0 && len(body) <= MaxCDB-16:
		a.CDB = body
	case kind == AHSBidiReadLength && !a.HasBidi && len(body) == 4:
		a.BidiReadLength, a.HasBidi = binary.BigEndian.Uint32(body), true
	case kind == AHSExtendedCDB || kind == AHSBidiReadLength:
		return fmt.Errorf("%w: type %d twice, or with %d bytes", ErrAHS, kind, len(body))
	default:
		return fmt.Errorf("%w: type %d is unknown", ErrAHS, kind)
	}
	return nil
}

// Append appends the segments that ParseAHS would read as a. The result's length is a
// multiple of four; a.CDB must be at most MaxCDB-16 bytes.
func (a *AHS) Append(dst []byte) []byte {
	if len(a.CDB) > 0 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(a.CDB)+1))
		dst = append(dst, AHSExtendedCDB, 0)
		dst = append(dst, a.CDB...)
		dst = append(dst, make([]byte, Padding(len(a.CDB)))...)
	}
	if a.HasBidi {
		dst = append(dst, 0, 5, AHSBidiReadLength, 0)
		dst = binary.BigEndian.AppendUint32(dst, a.BidiReadLength)
	}
	return dst
}

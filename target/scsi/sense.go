package scsi

import "encoding/binary"

// Key is a sense key (SPC-4 4.5.6).
type Key byte

// The sense keys that sluice returns.
const (
	NoSense        Key = 0x0
	NotReady       Key = 0x2
	MediumError    Key = 0x3
	HardwareError  Key = 0x4
	IllegalRequest Key = 0x5
	UnitAttention  Key = 0x6
	DataProtect    Key = 0x7
	CopyAborted    Key = 0xa
	AbortedCommand Key = 0xb
	Miscompare     Key = 0xe
)

// Code is an additional sense code and its qualifier, ASC<<8 | ASCQ.
type Code uint16

// The additional sense codes that sluice returns.
const (
	NoAdditionalSense       Code = 0x0000
	OperationInProgress     Code = 0x0016
	BecomingReady           Code = 0x0401
	PortInStandby           Code = 0x040b
	UnreachableCopyTarget   Code = 0x0804
	WriteError              Code = 0x0c00
	ThirdPartyFailure       Code = 0x0d01
	CopyTargetUnreachable   Code = 0x0d02
	UnrecoveredReadError    Code = 0x1100
	ParameterListLength     Code = 0x1a00
	MiscompareDuringVerify  Code = 0x1d00
	InvalidOpcode           Code = 0x2000
	LBAOutOfRange           Code = 0x2100
	UnsupportedTokenType    Code = 0x2301
	TokenUnknown            Code = 0x2304
	TokenCorrupt            Code = 0x2305
	TokenExpired            Code = 0x2307
	TokenCancelled          Code = 0x2308
	TokenDeleted            Code = 0x2309
	InvalidFieldInCDB       Code = 0x2400
	LUNotSupported          Code = 0x2500
	InvalidFieldInList      Code = 0x2600
	InvalidReleaseOfPR      Code = 0x2604
	TooManyTargets          Code = 0x2606
	UnsupportedTarget       Code = 0x2607
	TooManySegments         Code = 0x2608
	UnsupportedSegment      Code = 0x2609
	InlineDataLength        Code = 0x260b
	WriteProtected          Code = 0x2700
	SpaceAllocationFailed   Code = 0x2707
	PowerOn                 Code = 0x2900
	BusDeviceReset          Code = 0x2903
	ModeParametersChanged   Code = 0x2a01
	ReservationsPreempted   Code = 0x2a03
	ReservationsReleased    Code = 0x2a04
	RegistrationsPreempted  Code = 0x2a05
	CapacityChanged         Code = 0x2a09
	CommandsCleared         Code = 0x2f00
	SavingNotSupported      Code = 0x3900
	InternalFailure         Code = 0x4400
	InsufficientRegistrants Code = 0x5504
	TooManyTokens           Code = 0x550d
)

// Sense is what CHECK CONDITION says (SPC-4 4.5).
type Sense struct {
	Key  Key
	Code Code
	// Info is the INFORMATION field; it is sent if HasInfo is set.
	Info    uint64
	HasInfo bool
	// Command is the COMMAND-SPECIFIC INFORMATION field; it is sent if it is not zero.
	Command uint64
	// Specific are the three sense-key specific bytes; they are sent if the first has bit 7 set.
	Specific [3]byte
}

// Append encodes the sense data in descriptor format (SPC-4 4.5.2) or in fixed format
// (4.5.3), in which an INFORMATION or a COMMAND-SPECIFIC INFORMATION of more than 32 bits does
// not fit and is left out.
func (s Sense) Append(dst []byte, descriptor bool) []byte {
	if descriptor {
		return s.appendDescriptors(dst)
	}
	var b [18]byte
	b[0], b[2], b[7] = 0x70, byte(s.Key), 10
	if s.HasInfo && s.Info <= 1<<32-1 {
		b[0] |= 0x80
		binary.BigEndian.PutUint32(b[3:], uint32(s.Info))
	}
	if s.Command <= 1<<32-1 {
		binary.BigEndian.PutUint32(b[8:], uint32(s.Command))
	}
	binary.BigEndian.PutUint16(b[12:], uint16(s.Code))
	copy(b[15:], s.Specific[:])
	return append(dst, b[:]...)
}

func (s Sense) appendDescriptors(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0x72, byte(s.Key), byte(s.Code>>8), byte(s.Code), 0, 0, 0, 0)
	if s.HasInfo {
		dst = append(dst, 0x00, 0x0a, 0x80, 0)
		dst = binary.BigEndian.AppendUint64(dst, s.Info)
	}
	if s.Command != 0 {
		dst = append(dst, 0x01, 0x0a, 0, 0)
		dst = binary.BigEndian.AppendUint64(dst, s.Command)
	}
	if s.Specific[0]&0x80 != 0 {
		dst = append(dst, 0x02, 0x06, 0, 0, s.Specific[0], s.Specific[1], s.Specific[2], 0)
	}
	dst[at+7] = byte(len(dst) - at - 8)
	return dst
}

// BadField says that a field of the CDB is invalid: its first byte and its highest bit
// (SPC-4 4.5.2.4.2).
func BadField(at, bit int) Sense {
	return Sense{Key: IllegalRequest, Code: InvalidFieldInCDB, Specific: pointer(0xc8, at, bit)}
}

// BadParameter says likewise of a field in the parameter list.
func BadParameter(at, bit int) Sense {
	return Sense{Key: IllegalRequest, Code: InvalidFieldInList, Specific: pointer(0x88, at, bit)}
}

func pointer(flags byte, at, bit int) [3]byte {
	return [3]byte{flags | byte(bit&7), byte(at >> 8), byte(at)}
}

// Illegal is an ILLEGAL REQUEST without a field pointer.
func Illegal(code Code) Sense { return Sense{Key: IllegalRequest, Code: code} }

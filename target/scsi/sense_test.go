package scsi

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

// TestSense compares both formats with bytes written by hand from SPC-4 4.5.
func TestSense(t *testing.T) {
	tests := []struct {
		name              string
		s                 Sense
		fixed, descriptor string
	}{
		{"plain", Illegal(InvalidOpcode), "7000 05 00000000 0a 00000000 2000 00 000000", "72 05 2000 000000 00"},
		{
			"information",
			Sense{Key: Miscompare, Code: MiscompareDuringVerify, Info: 0x1234, HasInfo: true},
			"f000 0e 00001234 0a 00000000 1d00 00 000000", "72 0e 1d00 000000 0c 000a8000 0000000000001234",
		},
		{
			"information of zero",
			Sense{Key: Miscompare, Code: MiscompareDuringVerify, HasInfo: true},
			"f000 0e 00000000 0a 00000000 1d00 00 000000", "72 0e 1d00 000000 0c 000a8000 0000000000000000",
		},
		{
			"information beyond 32 bits",
			Sense{Key: IllegalRequest, Code: LBAOutOfRange, Info: 1 << 32, HasInfo: true},
			"7000 05 00000000 0a 00000000 2100 00 000000", "72 05 2100 000000 0c 000a8000 0000000100000000",
		},
		{"field in the CDB", BadField(2, 7), "7000 05 00000000 0a 00000000 2400 00 cf0002", "72 05 2400 000000 08 02060000cf000200"},
		{"field in the list", BadParameter(0x123, 3), "7000 05 00000000 0a 00000000 2600 00 8b0123", "72 05 2600 000000 08 020600008b012300"},
	}
	for _, tt := range tests {
		for descriptor, want := range map[bool]string{false: tt.fixed, true: tt.descriptor} {
			b, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.s.Append([]byte{0xee}, descriptor); !bytes.Equal(got[1:], b) {
				t.Errorf("%s, descriptor %v: %x, want %x", tt.name, descriptor, got[1:], b)
			}
		}
	}
}

// TestCodes pins numbers that other targets and initiators know by the same names.
func TestCodes(t *testing.T) {
	for name, c := range map[string]struct{ got, want Code }{
		"becoming ready":                      {BecomingReady, 0x0401},
		"write error":                         {WriteError, 0x0c00},
		"unrecovered read error":              {UnrecoveredReadError, 0x1100},
		"parameter list length":               {ParameterListLength, 0x1a00},
		"miscompare during verify":            {MiscompareDuringVerify, 0x1d00},
		"invalid operation code":              {InvalidOpcode, 0x2000},
		"LBA out of range":                    {LBAOutOfRange, 0x2100},
		"invalid field in CDB":                {InvalidFieldInCDB, 0x2400},
		"LUN not supported":                   {LUNotSupported, 0x2500},
		"invalid field in list":               {InvalidFieldInList, 0x2600},
		"invalid release":                     {InvalidReleaseOfPR, 0x2604},
		"write protected":                     {WriteProtected, 0x2700},
		"space allocation failed":             {SpaceAllocationFailed, 0x2707},
		"power on":                            {PowerOn, 0x2900},
		"bus device reset":                    {BusDeviceReset, 0x2903},
		"mode parameters changed":             {ModeParametersChanged, 0x2a01},
		"reservations preempted":              {ReservationsPreempted, 0x2a03},
		"reservations released":               {ReservationsReleased, 0x2a04},
		"registrations preempted":             {RegistrationsPreempted, 0x2a05},
		"capacity changed":                    {CapacityChanged, 0x2a09},
		"saving not supported":                {SavingNotSupported, 0x3900},
		"internal target failure":             {InternalFailure, 0x4400},
		"insufficient registration resources": {InsufficientRegistrants, 0x5504},
	} {
		if c.got != c.want {
			t.Errorf("%s: %04x, want %04x", name, c.got, c.want)
		}
	}
}

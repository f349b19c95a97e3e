package pdu

import "testing"

func TestSCSICommand(t *testing.T) {
	check(t, []example[SCSICommand]{
		{"read(10) of the CRC examples", SCSICommand{
			Final: true, Read: true, ITT: 0x14000000, ExpectedLength: 0x400, CmdSN: 0x14, ExpStatSN: 0x18,
			CDB: [16]byte{0: 0x28, 8: 2},
		}, `
			01c00000 00000000 00000000 00000000
			14000000 00000400 00000014 00000018
			28000000 00000000 02000000 00000000`},
		{"immediate write with AHS", SCSICommand{
			Immediate: true, Write: true, Attr: AttrACA, AHSWords: 5, DataLength: 0x10203, LUN: 0x4001000000000000, ITT: 7,
			ExpectedLength: 8, CmdSN: 9, ExpStatSN: 10, CDB: [16]byte{0x7f, 15: 0xee},
		}, `
			41240000 05010203 40010000 00000000
			00000007 00000008 00000009 0000000a
			7f000000 00000000 00000000 000000ee`},
	})
}

func FuzzSCSICommand(f *testing.F) { fuzz[SCSICommand](f) }

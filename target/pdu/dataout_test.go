package pdu

import "testing"

func TestDataOut(t *testing.T) {
	check(t, []example[DataOut]{
		{"solicited", DataOut{
			Final: true, DataLength: 0xfffffe, LUN: 2 << 48, ITT: 1, TTT: 2, ExpStatSN: 3, DataSN: 4, Offset: 5,
		}, `
			05800000 00fffffe 00020000 00000000
			00000001 00000002 00000000 00000003
			00000000 00000004 00000005 00000000`},
		{"unsolicited", DataOut{
			ITT: 1, TTT: NoTag, DataLength: 512,
		}, `
			05000000 00000200 00000000 00000000
			00000001 ffffffff 00000000 00000000
			00000000 00000000 00000000 00000000`},
	})
}

func FuzzDataOut(f *testing.F) { fuzz[DataOut](f) }

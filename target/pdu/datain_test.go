package pdu

import "testing"

func TestDataIn(t *testing.T) {
	check(t, []example[DataIn]{
		{"with status", DataIn{
			Final: true, HasStatus: true, Underflow: true, Status: 8, DataLength: 4096, ITT: 1, TTT: NoTag, Counters: counters, DataSN: 2, Offset: 3, Residual: 4,
		}, `
			25830008 00001000 00000000 00000000
			00000001 ffffffff 00000031 00000032
			00000033 00000002 00000003 00000004`},
		{"asks for acknowledgement", DataIn{
			Acknowledge: true, Overflow: true, LUN: 1, ITT: 1, TTT: 9,
		}, `
			25440000 00000000 00000000 00000001
			00000001 00000009 00000000 00000000
			00000000 00000000 00000000 00000000`},
	})
}

func FuzzDataIn(f *testing.F) { fuzz[DataIn](f) }

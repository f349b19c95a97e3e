package pdu

import "testing"

func TestAsync(t *testing.T) {
	check(t, []example[Async]{
		{"drop connection", Async{
			DataLength: 4, LUN: 1 << 48, Counters: counters, Event: AsyncDropConnection, VCode: 9, Param1: 1, Param2: 2, Param3: 3,
		}, `
			32800000 00000004 00010000 00000000
			ffffffff 00000000 00000031 00000032
			00000033 02090001 00020003 00000000`},
	})
}

func FuzzAsync(f *testing.F) { fuzz[Async](f) }

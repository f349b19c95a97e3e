package pdu

import "testing"

func TestSNACK(t *testing.T) {
	check(t, []example[SNACK]{
		{"status", SNACK{
			Type: SNACKStatus, LUN: 1 << 48, ITT: NoTag, TTT: NoTag, ExpStatSN: 1, Begin: 2, Length: 3,
		}, `
			10810000 00000000 00010000 00000000
			ffffffff ffffffff 00000000 00000001
			00000000 00000000 00000002 00000003`},
	})
}

func FuzzSNACK(f *testing.F) { fuzz[SNACK](f) }

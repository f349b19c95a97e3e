package pdu

import "testing"

func TestR2T(t *testing.T) {
	check(t, []example[R2T]{
		{"second", R2T{
			LUN: 3 << 48, ITT: 1, TTT: 2, Counters: counters, R2TSN: 1, Offset: 65536, Length: 0x1000000,
		}, `
			31800000 00000000 00030000 00000000
			00000001 00000002 00000031 00000032
			00000033 00000001 00010000 01000000`},
	})
}

func FuzzR2T(f *testing.F) { fuzz[R2T](f) }

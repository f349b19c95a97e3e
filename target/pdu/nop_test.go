package pdu

import "testing"

func TestNopOut(t *testing.T) {
	check(t, []example[NopOut]{
		{"ping", NopOut{
			Immediate: true, DataLength: 5, LUN: 1 << 48, ITT: 1, TTT: NoTag, CmdSN: 2, ExpStatSN: 3,
		}, `
			40800000 00000005 00010000 00000000
			00000001 ffffffff 00000002 00000003
			00000000 00000000 00000000 00000000`},
	})
}

func FuzzNopOut(f *testing.F) { fuzz[NopOut](f) }

func TestNopIn(t *testing.T) {
	check(t, []example[NopIn]{
		{"pong", NopIn{
			DataLength: 5, LUN: 1 << 48, ITT: 1, TTT: NoTag, Counters: counters,
		}, `
			20800000 00000005 00010000 00000000
			00000001 ffffffff 00000031 00000032
			00000033 00000000 00000000 00000000`},
	})
}

func FuzzNopIn(f *testing.F) { fuzz[NopIn](f) }

package pdu

import "testing"

func TestTextRequest(t *testing.T) {
	check(t, []example[TextRequest]{
		{"send targets", TextRequest{
			Final: true, DataLength: 16, ITT: 1, TTT: NoTag, CmdSN: 2, ExpStatSN: 3,
		}, `
			04800000 00000010 00000000 00000000
			00000001 ffffffff 00000002 00000003
			00000000 00000000 00000000 00000000`},
		{"more to come", TextRequest{
			Immediate: true, Continue: true, LUN: 1 << 48, ITT: 1, TTT: 5, CmdSN: 2, ExpStatSN: 3,
		}, `
			44400000 00000000 00010000 00000000
			00000001 00000005 00000002 00000003
			00000000 00000000 00000000 00000000`},
	})
}

func FuzzTextRequest(f *testing.F) { fuzz[TextRequest](f) }

func TestTextResponse(t *testing.T) {
	check(t, []example[TextResponse]{
		{"last", TextResponse{
			Final: true, DataLength: 3, ITT: 1, TTT: NoTag, Counters: counters,
		}, `
			24800000 00000003 00000000 00000000
			00000001 ffffffff 00000031 00000032
			00000033 00000000 00000000 00000000`},
		{"more to come", TextResponse{
			Continue: true, LUN: 1 << 48, DataLength: 8192, ITT: 1, TTT: 4, Counters: counters,
		}, `
			24400000 00002000 00010000 00000000
			00000001 00000004 00000031 00000032
			00000033 00000000 00000000 00000000`},
	})
}

func FuzzTextResponse(f *testing.F) { fuzz[TextResponse](f) }

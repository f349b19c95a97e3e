package pdu

import "testing"

func TestTaskRequest(t *testing.T) {
	check(t, []example[TaskRequest]{
		{"abort task", TaskRequest{
			Immediate: true, Function: TaskAbort, LUN: 1 << 48, ITT: 1, ReferencedTag: 2, CmdSN: 3, ExpStatSN: 4, RefCmdSN: 5, ExpDataSN: 6,
		}, `
			42810000 00000000 00010000 00000000
			00000001 00000002 00000003 00000004
			00000005 00000006 00000000 00000000`},
	})
}

func FuzzTaskRequest(f *testing.F) { fuzz[TaskRequest](f) }

func TestTaskResponse(t *testing.T) {
	check(t, []example[TaskResponse]{
		{"rejected", TaskResponse{
			Result: TaskRejected, ITT: 1, Counters: counters,
		}, `
			2280ff00 00000000 00000000 00000000
			00000001 00000000 00000031 00000032
			00000033 00000000 00000000 00000000`},
	})
}

func FuzzTaskResponse(f *testing.F) { fuzz[TaskResponse](f) }

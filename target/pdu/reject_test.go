package pdu

import "testing"

func TestReject(t *testing.T) {
	check(t, []example[Reject]{
		{"data digest", Reject{
			Reason: ReasonDataDigest, DataLength: HeaderLen, Counters: counters, DataSN: 7,
		}, `
			3f800200 00000030 00000000 00000000
			ffffffff 00000000 00000031 00000032
			00000033 00000007 00000000 00000000`},
	})
}

func FuzzReject(f *testing.F) { fuzz[Reject](f) }

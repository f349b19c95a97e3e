package pdu

import "testing"

func TestLogoutRequest(t *testing.T) {
	check(t, []example[LogoutRequest]{
		{"recover", LogoutRequest{
			Immediate: true, Reason: LogoutRecover, ITT: 1, CID: 2, CmdSN: 3, ExpStatSN: 4,
		}, `
			46820000 00000000 00000000 00000000
			00000001 00020000 00000003 00000004
			00000000 00000000 00000000 00000000`},
	})
}

func FuzzLogoutRequest(f *testing.F) { fuzz[LogoutRequest](f) }

func TestLogoutResponse(t *testing.T) {
	check(t, []example[LogoutResponse]{
		{"no such connection", LogoutResponse{
			Result: LogoutNoCID, ITT: 1, Counters: counters, Time2Wait: 2, Time2Retain: 20,
		}, `
			26800100 00000000 00000000 00000000
			00000001 00000000 00000031 00000032
			00000033 00000000 00020014 00000000`},
	})
}

func FuzzLogoutResponse(f *testing.F) { fuzz[LogoutResponse](f) }

package pdu

import "testing"

func TestLoginRequest(t *testing.T) {
	check(t, []example[LoginRequest]{
		{"first", LoginRequest{
			Transit: true, NSG: StageOperational, VersionMax: 2, VersionMin: 1, DataLength: 99, ISID: [6]byte{0x80, 1, 2, 3, 4, 5}, TSIH: 6, ITT: 7, CID: 8, CmdSN: 9, ExpStatSN: 10,
		}, `
			43810201 00000063 80010203 04050006
			00000007 00080000 00000009 0000000a
			00000000 00000000 00000000 00000000`},
		{"more to come", LoginRequest{
			Continue: true, CSG: StageOperational, ITT: 7,
		}, `
			43440000 00000000 00000000 00000000
			00000007 00000000 00000000 00000000
			00000000 00000000 00000000 00000000`},
	})
}

func FuzzLoginRequest(f *testing.F) { fuzz[LoginRequest](f) }

func TestLoginResponse(t *testing.T) {
	check(t, []example[LoginResponse]{
		{"into full feature phase", LoginResponse{
			Transit: true, CSG: StageOperational, NSG: StageFullFeature, VersionMax: 2, VersionActive: 1, DataLength: 4, ISID: [6]byte{0x80, 1, 2, 3, 4, 5}, TSIH: 6, ITT: 7, Counters: counters,
		}, `
			23870201 00000004 80010203 04050006
			00000007 00000000 00000031 00000032
			00000033 00000000 00000000 00000000`},
		{"refused", LoginResponse{
			Continue: true, ITT: 7, Status: LoginNoSession,
		}, `
			23400000 00000000 00000000 00000000
			00000007 00000000 00000000 00000000
			00000000 020a0000 00000000 00000000`},
	})
}

func FuzzLoginResponse(f *testing.F) { fuzz[LoginResponse](f) }

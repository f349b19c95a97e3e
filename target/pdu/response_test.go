package pdu

import "testing"

func TestSCSIResponse(t *testing.T) {
	check(t, []example[SCSIResponse]{
		{"good", SCSIResponse{
			ITT: 1, Counters: counters, ExpDataSN: 2,
		}, `
			21800000 00000000 00000000 00000000
			00000001 00000000 00000031 00000032
			00000033 00000002 00000000 00000000`},
		{"check condition, underflow", SCSIResponse{
			Underflow: true, BidiOverflow: true, Status: 2, DataLength: 20, ITT: 1, SNACKTag: 3, Counters: counters, BidiResidual: 4, Residual: 5,
		}, `
			21920002 00000014 00000000 00000000
			00000001 00000003 00000031 00000032
			00000033 00000000 00000004 00000005`},
		{"target failure, overflow", SCSIResponse{
			Overflow: true, BidiUnderflow: true, Response: ResponseTargetFailure, ITT: 1, Residual: 5,
		}, `
			218c0100 00000000 00000000 00000000
			00000001 00000000 00000000 00000000
			00000000 00000000 00000000 00000005`},
	})
}

func FuzzSCSIResponse(f *testing.F) { fuzz[SCSIResponse](f) }

func TestAppendSense(t *testing.T) {
	got := AppendSense([]byte{9}, []byte{0x70, 0, 5})
	if string(got) != "\x09\x00\x03\x70\x00\x05" {
		t.Errorf("got % x", got)
	}
}

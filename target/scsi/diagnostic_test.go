package scsi

import (
	"bytes"
	"testing"
)

// TestDiagnosticsAndLogs compares answers with bytes written by hand.
func TestDiagnosticsAndLogs(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	logSense := func(page, subpage, allocation byte) []byte {
		return []byte{0x4d, 0, page, subpage, 0, 0, 0, 0, allocation, 0}
	}
	groups := func(format, allocation byte) []byte {
		return []byte{0xa3, format<<5 | 0x0a, 0, 0, 0, 0, 0, 0, 0, allocation, 0, 0}
	}
	group := []byte{0x80, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}
	for _, tt := range []struct {
		name string
		cdb  []byte
		want string
		in   []byte
	}{
		{"RECEIVE DIAGNOSTIC RESULTS", []byte{0x1c, 1, 0, 0, 255, 0}, "good", []byte{0, 0, 0, 1, 0}},
		{"RECEIVE DIAGNOSTIC RESULTS, any page", []byte{0x1c, 0, 0x10, 0, 255, 0}, "good", []byte{0, 0, 0, 1, 0}},
		{"RECEIVE DIAGNOSTIC RESULTS, unknown page", []byte{0x1c, 1, 0x10, 0, 255, 0}, "5/2400", nil},
		{"SEND DIAGNOSTIC, self test", []byte{0x1d, 0x04, 0, 0, 0, 0}, "good", nil},
		{"SEND DIAGNOSTIC, pages but none", []byte{0x1d, 0x10, 0, 0, 0, 0}, "good", nil},
		{"SEND DIAGNOSTIC, background self test", []byte{0x1d, 0x20, 0, 0, 0, 0}, "5/2400", nil},
		{"LOG SENSE", logSense(0, 0, 255), "good", []byte{0, 0, 0, 2, 0, 0x0d}},
		{"LOG SENSE, cut", logSense(0, 0, 5), "good", []byte{0, 0, 0, 2, 0}},
		{"LOG SENSE, cumulative values", logSense(0x40, 0, 255), "good", []byte{0, 0, 0, 2, 0, 0x0d}},
		{"LOG SENSE, subpages", logSense(0, 0xff, 255), "good", []byte{0x40, 0xff, 0, 6, 0, 0, 0x0d, 0, 0, 0xff}},
		{"LOG SENSE, a page of the device", logSense(0x0d, 0, 255), "good", []byte{0x0d, 0, 0, 3, 7, 8, 9}},
		{"LOG SENSE, unknown page", logSense(0x0e, 0, 255), "5/2400", nil},
		{"LOG SENSE, unknown subpage", logSense(0x0d, 1, 255), "5/2400", nil},
		{"REPORT TARGET PORT GROUPS", groups(0, 255), "good", append([]byte{0, 0, 0, 12}, group...)},
		{"REPORT TARGET PORT GROUPS, extended", groups(1, 255), "good", append([]byte{0, 0, 0, 16, 0x10, 0, 0, 0}, group...)},
		{"REPORT TARGET PORT GROUPS, cut", groups(0, 4), "good", []byte{0, 0, 0, 12}},
		{"REPORT TARGET PORT GROUPS, unknown format", groups(2, 255), "5/2400", nil},
	} {
		if got := r.expect(n, tt.cdb, nil, tt.want).In; !bytes.Equal(got, tt.in) {
			t.Errorf("%s: % x, want % x", tt.name, got, tt.in)
		}
	}
}

package scsi

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

func inquiryCDB(evpd, page byte, allocation uint16) []byte {
	return []byte{0x12, evpd, page, byte(allocation >> 8), byte(allocation), 0}
}

// TestInquiry compares INQUIRY data and VPD pages with bytes written by hand (SPC-4 6.6.2, 7.8).
func TestInquiry(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	text := func(s string) string { return hex.EncodeToString([]byte(s)) }
	const name = "iqn.2026-01.test:disk" // 21 characters: 3 zeros, and with ",t,0x0001" 30: 2
	tests := []struct {
		name       string
		evpd, page byte
		want       string
	}{
		{"standard", 0, 0, "000006125b101002" + text("VENDOR  PRODUCT         1.23") + strings.Repeat("00", 22) + "00a00460" + strings.Repeat("00", 12+22)},
		{"supported pages", 1, 0, "00000005 00808386b1"},
		{"serial number", 1, 0x80, "00800006" + text("serial")},
		{"identification", 1, 0x83, "008300a6" +
			"01030010" + "6b0100000000000000000000000000ff" +
			"0201000e" + text("VENDOR  serial") +
			"51940004 00000001" + "51950004 00000001" +
			"53980020" + text(name+",t,0x0001") + "0000" +
			"53a80018" + text(name) + "000000" +
			"0308002c" + text(name+",L,0x0000000000000000") + "0000"},
		{"extended", 1, 0x86, "0086003c 000101" + strings.Repeat("00", 57)},
		{"of the device type", 1, 0xb1, "00b10002 0001"},
	}
	for _, tt := range tests {
		got := r.expect(n, inquiryCDB(tt.evpd, tt.page, 0xffff), nil, "good").In
		want, err := hex.DecodeString(strings.ReplaceAll(tt.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x, want\n%x", tt.name, got, want)
		}
		for _, allocation := range []uint16{0, 1, 4, 5} {
			x := r.expect(n, inquiryCDB(tt.evpd, tt.page, allocation), nil, "good")
			if !bytes.Equal(x.In, want[:allocation]) || x.Transfer != int64(allocation) {
				t.Errorf("%s with allocation length %d: %x", tt.name, allocation, x.In)
			}
		}
	}
	r.expect(n, inquiryCDB(0, 1, 255), nil, "5/2400")
	r.expect(n, inquiryCDB(1, 0xb2, 255), nil, "5/2400")
	r.expect(n, inquiryCDB(2, 0, 255), nil, "5/2400")
}

// TestSurvivors are well-known ways to kill a target: none has data where it is expected.
func TestSurvivors(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	out := make([]byte, 512)
	for _, tt := range []struct {
		name string
		cdb  []byte
		out  []byte
		want string
	}{
		{"INQUIRY with data-out", inquiryCDB(0, 0, 36), out, "good"},
		{"MODE SENSE(6) allocation 0", []byte{0x1a, 0, 0x3f, 0, 0, 0}, nil, "good"},
		{"REPORT SUPPORTED OPERATION CODES, 2 bytes", []byte{0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0}, nil, "good"},
		{"REPORT SUPPORTED OPERATION CODES, one, 2 bytes", []byte{0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 0, 2, 0, 0}, nil, "good"},
		{"REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS, 2 bytes", []byte{0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0}, nil, "5/2400"},
		{"REPORT LUNS, 8 bytes", []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}, nil, "5/2400"},
		{"REPORT LUNS, 4 GiB", []byte{0xa0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0}, nil, "good"},
		{"PERSISTENT RESERVE OUT without data", []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0}, nil, "5/1a00"},
		{"PERSISTENT RESERVE OUT with length 0", []byte{0x5f, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, "5/1a00"},
		{"PERSISTENT RESERVE OUT with 4 GiB", []byte{0x5f, 0, 0, 0, 0, 255, 255, 255, 255, 0}, out, "5/1a00"},
		{"REGISTER AND MOVE with 8 bytes", []byte{0x5f, 7, 0, 0, 0, 0, 0, 0, 8, 0}, out[:8], "5/2400"},
		{"PERSISTENT RESERVE IN, 0 bytes", []byte{0x5e, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, "good"},
		{"PERSISTENT RESERVE IN, unknown", []byte{0x5e, 4, 0, 0, 0, 0, 0, 0, 8, 0}, nil, "5/2400"},
		{"MODE SELECT(6) without data", []byte{0x15, 0x10, 0, 0, 24, 0}, nil, "5/1a00"},
		{"MODE SELECT(10) of 1 byte", []byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, 1, 0}, out, "5/1a00"},
		{"REQUEST SENSE, 0 bytes", []byte{3, 0, 0, 0, 0, 0}, nil, "good"},
		{"SEND DIAGNOSTIC self test", []byte{0x1d, 4, 0, 0, 0, 0}, nil, "good"},
		{"SEND DIAGNOSTIC with a list", []byte{0x1d, 0x10, 0, 0, 8, 0}, out, "5/2400"},
		{"unknown", []byte{0xff, 0, 0, 0, 0, 0}, out, "5/2000"},
	} {
		if got := r.do(n, tt.cdb, tt.out).verdict(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	// A CDB shorter than its operation code says, as another transport might send it.
	x := r.command(n, turCDB, nil)
	x.CDB = []byte{0x28, 0, 0, 0, 0, 0}
	r.u.Submit(t.Context(), []*Command{&x.Command})
	if got := x.wait(t).verdict(); got != "5/2000" {
		t.Errorf("READ(10) in 6 bytes: %s", got)
	}
}

// TestAbsent asks a LUN behind which there is nothing.
func TestAbsent(t *testing.T) {
	r := newRig(t, nil)
	ask := func(cdb []byte) *exchange {
		x := r.command(nil, cdb, nil)
		Absent{}.Submit(t.Context(), []*Command{&x.Command})
		return x.wait(t)
	}
	if got := ask(inquiryCDB(0, 0, 36)); got.verdict() != "good" || len(got.In) != 36 || got.In[0] != 0x7f {
		t.Errorf("INQUIRY: %s % x", got.verdict(), got.In)
	}
	if got := ask([]byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}); got.verdict() != "good" || len(got.In) != 16 {
		t.Errorf("REPORT LUNS: %s % x", got.verdict(), got.In)
	}
	if got := ask([]byte{3, 0, 0, 0, 18, 0}); got.verdict() != "good" || got.In[2] != 5 || got.In[12] != 0x25 {
		t.Errorf("REQUEST SENSE: %s % x", got.verdict(), got.In)
	}
	for _, cdb := range [][]byte{turCDB, readCDB, inquiryCDB(1, 0, 36)} {
		if got := ask(cdb).verdict(); got != "5/2500" {
			t.Errorf("CDB %x: %s", cdb, got)
		}
	}
}

// TestSupportedOperations compares REPORT SUPPORTED OPERATION CODES with what is accepted.
func TestSupportedOperations(t *testing.T) {
	r := newRig(t, nil)
	n := r.nexus("a")
	report := func(option, code byte, action uint16) *exchange {
		return r.do(n, []byte{0xa3, 0x0c, option, code, byte(action >> 8), byte(action), 0, 0, 0xff, 0xff, 0, 0}, nil)
	}
	all := report(0x80, 0, 0).In // with timeouts: 20 bytes each
	if len(all) != 4+20*len(r.u.list) || all[3]+0 != byte(len(all)-4) {
		t.Fatalf("%d bytes for %d operations", len(all), len(r.u.list))
	}
	var known []int
	for d := all[4:]; len(d) > 0; d = d[20:] {
		code, action, length := d[0], uint16(d[2])<<8|uint16(d[3]), int(d[7])
		hasAction := d[5]&1 != 0
		key := int(code)<<8 | int(action)
		known = append(known, key)
		option := byte(1)
		if hasAction {
			option = 2
		}
		one := report(option, code, action).In
		if len(one) != 4+length || one[1] != 3 || one[4] != code || hasAction && uint16(one[5]&0x1f) != action {
			t.Errorf("operation %x: % x", key, one)
		}
		if code == 0xc1 {
			continue
		}
		// The operation exists, and looks at no bit outside of its mask.
		for at := 1; at < length-1; at++ {
			for bit := range 8 {
				if one[4+at]>>bit&1 != 0 || at == 1 && hasAction && bit < 5 {
					continue
				}
				cdb := make([]byte, length)
				cdb[0] = code
				if hasAction {
					cdb[1] = byte(action)
				}
				cdb[at] |= 1 << bit
				x := r.do(n, cdb, make([]byte, 24))
				if x.verdict() != "5/2400" || !bytes.Equal(x.Sense[15:18], []byte{0xc8 | byte(bit), 0, byte(at)}) {
					t.Errorf("operation %x with byte %d bit %d: %s % x", key, at, bit, x.verdict(), x.Sense)
				}
			}
		}
	}
	for code := range 256 {
		for action := range 32 {
			if slices.Contains(known, code<<8|action) || action > 0 && actionOf([]byte{byte(code), 0}) < 0 {
				continue
			}
			x := r.do(n, []byte{byte(code), byte(action), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil)
			if v := x.verdict(); v != "5/2000" && v != "5/2400" {
				t.Errorf("operation %x/%x is not listed: %s", code, action, v)
			}
			if one := report(3, byte(code), uint16(action)); !slices.Contains([]int{0x5e, 0x5f, 0xa3}, code) && !bytes.Equal(one.In, []byte{0, 1, 0, 0}) {
				t.Errorf("operation %x/%x: % x", code, action, one.In)
			}
		}
	}
	for code, actions := range map[byte][]uint16{0x5e: {4, 0x100, 0x120, 0xffff}, 0xa3: {0, 0x10c}} { // not to be cut to a byte
		for _, action := range actions {
			if one := report(2, code, action).In; !bytes.Equal(one, []byte{0, 1, 0, 0}) {
				t.Errorf("operation %x with action %x: % x", code, action, one)
			}
		}
	}
	for _, x := range []*exchange{report(1, 0x5e, 0), report(2, 0x28, 0), report(4, 0x28, 0)} {
		if x.verdict() != "5/2400" {
			t.Errorf("CDB %x: %s", x.CDB, x.verdict())
		}
	}
	if got := r.expect(n, []byte{0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 255, 0, 0}, nil, "good").In; len(got) != 16 || got[0] != 0xda || got[3] != 12 {
		t.Errorf("task management functions: % x", got)
	}
}

package pdu

import (
	"bytes"
	"fmt"
	"testing"
)

// The examples of RFC 7143 appendix A.4, as the bytes go on the wire.
func TestDigestExamples(t *testing.T) {
	up, down := make([]byte, 32), make([]byte, 32)
	for i := range up {
		up[i], down[i] = byte(i), byte(31-i)
	}
	read := header(t, `
		01c00000 00000000 00000000 00000000
		14000000 00000400 00000014 00000018
		28000000 00000000 02000000 00000000`)
	for _, c := range []struct {
		name, wire string
		data       []byte
	}{
		{"zeros", "aa36918a", make([]byte, 32)},
		{"ones", "43aba862", bytes.Repeat([]byte{0xff}, 32)},
		{"incrementing", "4e79dd46", up},
		{"decrementing", "5cdb3f11", down},
		{"a SCSI read PDU", "563a96d9", read[:]},
	} {
		var got [DigestLen]byte
		PutDigest(got[:], DataDigest(c.data))
		if fmt.Sprintf("%x", got) != c.wire {
			t.Errorf("%s: % x, want %s", c.name, got, c.wire)
		}
		if GetDigest(got[:]) != DataDigest(c.data) {
			t.Errorf("%s: does not read back", c.name)
		}
	}
	var got [DigestLen]byte
	if PutDigest(got[:], HeaderDigest(&read, nil)); fmt.Sprintf("%x", got) != "563a96d9" {
		t.Errorf("header digest: % x", got)
	}
}

func TestDigestsCoverAHSAndPadding(t *testing.T) {
	h, ahs := Header{1, 2, 3}, []byte{4, 5, 6, 7}
	if HeaderDigest(&h, ahs) != UpdateDigest(0, append(h[:], ahs...)) {
		t.Error("the header digest is not that of header and AHS")
	}
	for n := range 9 {
		data := bytes.Repeat([]byte{0x5a}, n)
		padded := append(bytes.Clone(data), make([]byte, Padding(n))...)
		if DataDigest(data) != UpdateDigest(0, padded) {
			t.Errorf("%d bytes: padding is not covered", n)
		}
	}
}

package pdu

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestParseAHS(t *testing.T) {
	for _, c := range []struct {
		name string
		in   string
		want AHS
	}{
		{"none", "", AHS{}},
		{"a 20-byte CDB", "\x00\x05\x01\x00abcd", AHS{CDB: []byte("abcd")}},
		{"a 17-byte CDB, padded", "\x00\x02\x01\x00a\x00\x00\x00", AHS{CDB: []byte("a")}},
		{"read length", "\x00\x05\x02\x00\x00\x01\x00\x00", AHS{BidiReadLength: 65536, HasBidi: true}},
		{
			"both, reserved bits set", "\x00\x05\xc1\xff" + "abcd" + "\x00\x05\x42\xff\x00\x00\x00\x07",
			AHS{CDB: []byte("abcd"), BidiReadLength: 7, HasBidi: true},
		},
	} {
		got, err := ParseAHS([]byte(c.in))
		if err != nil || !bytes.Equal(got.CDB, c.want.CDB) || got.BidiReadLength != c.want.BidiReadLength || got.HasBidi != c.want.HasBidi {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestParseAHSRefuses(t *testing.T) {
	long := append([]byte{0, 246, AHSExtendedCDB, 0}, make([]byte, 248)...)
	for name, in := range map[string]string{
		"three bytes":           "\x00\x05\x01",
		"length 0":              "\x00\x00\x01\x00",
		"CDB of no bytes":       "\x00\x01\x01\x00",
		"longer than the space": "\x00\x06\x01\x00abcd",
		"longest length":        "\xff\xff\x01\x00abcd",
		"unknown type":          "\x00\x05\x03\x00abcd",
		"short read length":     "\x00\x04\x02\x00\x00\x01\x00\x00",
		"two CDBs":              "\x00\x05\x01\x00abcd\x00\x05\x01\x00abcd",
		"two read lengths":      "\x00\x05\x02\x00abcd\x00\x05\x02\x00abcd",
		"CDB of 261 bytes":      string(long),
	} {
		if got, err := ParseAHS([]byte(in)); !errors.Is(err, ErrAHS) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestAHSRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := AHS{CDB: rapid.SliceOfN(rapid.Byte(), 0, MaxCDB-16).Draw(t, "cdb")}
		if a.HasBidi = rapid.Bool().Draw(t, "bidi"); a.HasBidi {
			a.BidiReadLength = rapid.Uint32().Draw(t, "length")
		}
		b := a.Append(nil)
		if len(b)%4 != 0 {
			t.Fatalf("%d bytes", len(b))
		}
		got, err := ParseAHS(b)
		if err != nil || !bytes.Equal(got.CDB, a.CDB) || got.HasBidi != a.HasBidi || got.BidiReadLength != a.BidiReadLength {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

func FuzzParseAHS(f *testing.F) {
	f.Add([]byte("\x00\x05\x01\x00abcd\x00\x05\x02\x00\x00\x01\x00\x00"))
	f.Add([]byte("\x00\x02\x01\x00a\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAHS(b)
		if err != nil {
			if !errors.Is(err, ErrAHS) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if len(a.CDB) > MaxCDB-16 {
			t.Fatalf("CDB of %d bytes more", len(a.CDB))
		}
		again, err := ParseAHS(a.Append(nil))
		if err != nil || !bytes.Equal(again.CDB, a.CDB) || again.BidiReadLength != a.BidiReadLength || again.HasBidi != a.HasBidi {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
	})
}

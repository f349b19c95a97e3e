package login

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint64
		ok   bool
	}{
		{"0", 0, true},
		{"007", 7, true},
		{"262144", 262144, true},
		{"0x40000", 262144, true},
		{"0XfF", 255, true},
		{"18446744073709551615", math.MaxUint64, true},
		{"0xffffffffffffffff", math.MaxUint64, true},
		{"18446744073709551616", 0, false},
		{"0x10000000000000000", 0, false},
		{"", 0, false},
		{"0x", 0, false},
		{"0x+1", 0, false},
		{"-1", 0, false},
		{"+1", 0, false},
		{"1_000", 0, false},
		{"0b1", 0, false},
		{"0o7", 0, false},
		{"1 ", 0, false},
		{"0x0x1", 0, false},
	} {
		got, ok := parseNumber(c.in)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %d, %v", c.in, got, ok)
		}
	}
}

func TestParseBinary(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []byte
	}{
		{"0x00ff", []byte{0, 255}},
		{"0XAbc", []byte{0x0a, 0xbc}},
		{"0b/+A=", []byte{0xff, 0xe0}},
		{"0BAAEC", []byte{0, 1, 2}},
		{"", nil},
		{"0x", nil},
		{"0b", nil},
		{"0xg0", nil},
		{"0b!", nil},
		{"ff", nil},
		{"12", nil},
		{"0b/+A", nil},
	} {
		got, ok := parseBinary(c.in)
		if ok != (c.want != nil) || ok && !bytes.Equal(got, c.want) {
			t.Errorf("%q: % x, %v", c.in, got, ok)
		}
	}
}

func FuzzParseBinary(f *testing.F) {
	f.Add("0x00ff")
	f.Add("0bAAEC")
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := parseBinary(s)
		if !ok {
			return
		}
		if again, ok := parseBinary(formatBinary(b)); !ok || !bytes.Equal(again, b) {
			t.Fatalf("% x became % x, %v", b, again, ok)
		}
	})
}

func TestNormalizeName(t *testing.T) {
	for in, want := range map[string]string{
		"iqn.2026-11.io.sluice:demo":       "iqn.2026-11.io.sluice:demo",
		"iqn.2008-11.org.linux-kvm:VM-1":   "iqn.2008-11.org.linux-kvm:vm-1",
		"iqn.1991-05.com.microsoft:host_1": "iqn.1991-05.com.microsoft:host_1",
		"eui.02004567A425678D":             "eui.02004567a425678d",
		"naa.52004567BA64678D":             "naa.52004567ba64678d",
		"iqn.2001-04.com.example:münchen":  "iqn.2001-04.com.example:münchen",
		strings.Repeat("a", maxName):       strings.Repeat("a", maxName),
	} {
		if got, err := NormalizeName(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", strings.Repeat("a", maxName+1), "iqn.a b", "iqn.a,b", "iqn.a\n", "iqn.\xff", "iqn./etc", `iqn."`} {
		if got, err := NormalizeName(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func FuzzNormalizeName(f *testing.F) {
	f.Add("IQN.2026-11.io.Sluice:Demo")
	f.Add("iqn.\u0130") // longer in lower case
	f.Fuzz(func(t *testing.T, s string) {
		name, err := NormalizeName(s)
		if err != nil {
			return
		}
		if again, err := NormalizeName(name); err != nil || again != name {
			t.Fatalf("%q became %q, %v", name, again, err)
		}
	})
}

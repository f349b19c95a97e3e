package login

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseText(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []Pair
	}{
		{"", nil},
		{"\x00\x00", nil},
		{"a=b\x00", []Pair{{"a", "b"}}},
		{"a=b", []Pair{{"a", "b"}}}, // the last NUL is missing
		{"a=b\x00\x00\x00c=\x00", []Pair{{"a", "b"}, {"c", ""}}},
		{"CHAP_R=0bAA==\x00", []Pair{{"CHAP_R", "0bAA=="}}},
		{"a=b\x00a=c\x00", []Pair{{"a", "b"}, {"a", "c"}}},
		{"TargetAlias=caf\xc3\xa9 one\x00", []Pair{{"TargetAlias", "café one"}}},
		{strings.Repeat("k", maxKeyName) + "=" + strings.Repeat("v", maxKeyValue), []Pair{{strings.Repeat("k", maxKeyName), strings.Repeat("v", maxKeyValue)}}},
	} {
		if got, err := ParseText([]byte(c.in)); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%.40q: %v, %v", c.in, got, err)
		}
	}
	for _, bad := range []string{
		"a\x00", "=b\x00", "a b=c\x00", "\x7f=1\x00", "k\xc3\xa9y=1\x00", "CHAP_R\x00",
		strings.Repeat("k", maxKeyName+1) + "=1\x00",
		"a=" + strings.Repeat("v", maxKeyValue+1) + "\x00",
		strings.Repeat("a=\x00", maxKeys+1),
		strings.Repeat("\x00", MaxText+1),
	} {
		var refused *Error
		if got, err := ParseText([]byte(bad)); !errors.As(err, &refused) {
			t.Errorf("%.40q: %v, %v", bad, got, err)
		}
	}
}

func FuzzParseText(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.a\x00AuthMethod=CHAP,None\x00"))
	f.Add([]byte("a==\x00\x00b=\x00c=d"))
	f.Fuzz(func(t *testing.T, text []byte) {
		pairs, err := ParseText(text)
		if err != nil {
			return
		}
		again, err := ParseText(AppendText(nil, pairs...))
		if err != nil || !slices.Equal(again, pairs) {
			t.Fatalf("%q became %q, %v", pairs, again, err)
		}
		if len(pairs) > maxKeys {
			t.Fatalf("%d keys", len(pairs))
		}
	})
}

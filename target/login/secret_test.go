package login

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestSecretNeverShows(t *testing.T) {
	s := NewSecret(secret)
	type hidden struct{ secret Secret } // fmt reaches unexported fields without calling their methods
	chap := &CHAP{User: user, Secret: s, MutualSecret: NewSecret(mutualSecret)}
	var out bytes.Buffer
	for _, v := range []any{s, &s, chap, *chap, hidden{s}, &hidden{s}, []Secret{s}, map[string]Secret{"k": s}, Access{CHAP: chap}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", v)
	}
	for _, leak := range []string{secret, mutualSecret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("%d", []byte(secret))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q is shown in\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Errorf("nothing is redacted in\n%s", out.String())
	}
}

func TestSecretEqual(t *testing.T) {
	a := NewSecret("one secret")
	for _, c := range []struct {
		b    Secret
		want bool
	}{
		{a, true},
		{NewSecret("one secret"), true},
		{NewSecret("two secret"), false},
		{NewSecret("one"), false},
		{Secret{}, false},
	} {
		if a.Equal(c.b) != c.want {
			t.Errorf("%d bytes: not %v", c.b.Len(), c.want)
		}
	}
	if a.Len() != 10 || !a.IsSet() || NewSecret("").IsSet() || (Secret{}).Len() != 0 {
		t.Error("wrong length or presence")
	}
}

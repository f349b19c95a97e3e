package hostile

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"sluice/target/login"
)

// hexResponse is a CHAP response in hexadecimal; id and challenge are as in their keys.
func hexResponse(t testing.TB, a login.Algorithm, id, secret, challenge string) string {
	t.Helper()
	n, err := strconv.ParseUint(id, 0, 8)
	if err != nil {
		t.Fatalf("CHAP_I=%s: %v", id, err)
	}
	c, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(challenge), "0x"))
	if err != nil {
		t.Fatalf("CHAP_C=%s: %v", challenge, err)
	}
	r, err := login.CHAPResponse(a, byte(n), login.NewSecret(secret), c)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(r)
}

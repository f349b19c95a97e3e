package login

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// Computed with another implementation: hash(0x27, "twelve bytes or more", 0x10..0x2f).
func TestCHAPVectors(t *testing.T) {
	challenge := make([]byte, 32)
	for i := range challenge {
		challenge[i] = byte(0x10 + i)
	}
	for a, want := range map[Algorithm]string{
		MD5:     "26980a39d17fe0d9587993fcec539972",
		SHA1:    "cdeb1e5d0dc0a71d13cf1cec95025f8fbcf2968c",
		SHA256:  "0d4094a55ffca21d7a97e69c42f7dfd8307c892341ba17ca197e7b60b4b4ba11",
		SHA3256: "7133cfad697ed9c6cb76d0968c949ef5360f00ce90b2f6263a90e0ef5afc560f",
	} {
		got, err := CHAPResponse(a, 0x27, NewSecret("twelve bytes or more"), challenge)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%v: %x, %v", a, got, err)
		}
	}
	for _, a := range []Algorithm{0, 4, 9, 255} {
		if got, err := CHAPResponse(a, 0, NewSecret("x"), nil); err == nil {
			t.Errorf("%v: %x", a, got)
		}
	}
}

// The initiator's order of preference decides, among those that are acceptable.
func TestAlgorithmChoice(t *testing.T) {
	for _, c := range []struct {
		ours    []Algorithm
		offered string
		want    string
	}{
		{nil, "5", "5"},
		{nil, "7,5", "7"},
		{nil, "8,7,6,5", "8"},
		{nil, "6,5", "5"}, // SHA-1 only where it is asked for
		{[]Algorithm{SHA1}, "5,6,7", "6"},
		{[]Algorithm{SHA3256, SHA256}, "5,6,7,8", "7"},
		{nil, "0x7", "7"},
		{nil, "99,7", "7"},
	} {
		cfg := guarded()
		cfg.Algorithms = c.ours
		l := play(t, cfg, script(`
			I 0 `+normal+` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=`+c.offered+`
			T 0 CHAP_A=`+c.want+` CHAP_I=* CHAP_C=*`))
		challenge, ok := parseBinary(l.heard["CHAP_C"])
		h, err := l.m.chap.algorithm.new()
		if !ok || err != nil || len(challenge) != h.Size() || len(challenge) < 16 {
			t.Errorf("%v with %s: challenge of %d bytes, %v", c.ours, c.offered, len(challenge), err)
		}
	}
}

// Binary values may come as base64 or in capitals.
func TestResponseEncodings(t *testing.T) {
	for name, encode := range map[string]func([]byte) string{
		"hex":      func(b []byte) string { return "0x" + hex.EncodeToString(b) },
		"capitals": func(b []byte) string { return "0X" + strings.ToUpper(hex.EncodeToString(b)) },
		"base64":   func(b []byte) string { return "0b" + base64.StdEncoding.EncodeToString(b) },
	} {
		l := play(t, guarded(), script(`
			I 0 `+normal+` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=5
			T 0 CHAP_A=5 CHAP_I=* CHAP_C=*`))
		response, _ := parseBinary(respond("5", l.heard["CHAP_I"], secret, l.heard["CHAP_C"]))
		if got, err := l.send("0>3 CHAP_N=alice CHAP_R=" + encode(response)); err != nil || !l.last.Done {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// Challenges are what the source of randomness gives, and never come twice.
func TestChallengesAreFresh(t *testing.T) {
	seen := map[string]bool{}
	for range 20 {
		l := play(t, guarded(), script(`
			I 0 `+normal+` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=5
			T 0 CHAP_A=5 CHAP_I=* CHAP_C=*`))
		if c := l.heard["CHAP_C"]; seen[c] {
			t.Fatalf("%s came twice", c)
		}
		seen[l.heard["CHAP_C"]] = true
	}

	cfg := guarded()
	cfg.Rand = bytes.NewReader([]byte("\x07sixteen byte str"))
	play(t, cfg, script(`
			I 0 `+normal+` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=5
			T 0 CHAP_A=5 CHAP_I=7 CHAP_C=0x`+hex.EncodeToString([]byte("sixteen byte str"))))
}

// The name must be right as well as the response, and an unset secret proves nothing.
func TestVerify(t *testing.T) {
	challenge := []byte("sixteen byte str")
	for _, c := range []struct {
		name, user, secret string
		want               bool
	}{
		{"right", user, secret, true},
		{"wrong secret", user, mutualSecret, false},
		{"wrong name", "bob", secret, false},
		{"prefix of the name", "alic", secret, false},
		{"unset secret", user, "", false},
	} {
		chap := &CHAP{User: user, Secret: NewSecret(secret)}
		if c.secret == "" {
			chap.Secret = Secret{}
		}
		response, err := CHAPResponse(SHA256, 7, NewSecret(c.secret), challenge)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := chap.verify(SHA256, 7, challenge, c.user, response); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

package login

import (
	"fmt"
	"strings"
	"testing"

	"sluice/target/pdu"
)

// A text may be cut anywhere, even within a key; the answer comes once it is complete.
func TestTextOverManyRequests(t *testing.T) {
	whole := AppendText(nil, Pair{"InitiatorName", initiatorName}, Pair{"TargetName", targetName}, Pair{"HeaderDigest", "CRC32C"})
	for cut := range len(whole) + 1 {
		m := New(open())
		first := pdu.LoginRequest{CSG: pdu.StageOperational, Continue: true}
		a, err := m.Step(&first, whole[:cut])
		checkAnswer(t, a, err)
		if err != nil || len(a.Data) > 0 || a.Header.Transit {
			t.Fatalf("cut at %d: %+v, %v", cut, a, err)
		}
		last := pdu.LoginRequest{CSG: pdu.StageOperational, Transit: true, NSG: pdu.StageFullFeature}
		a, err = m.Step(&last, whole[cut:])
		checkAnswer(t, a, err)
		if err != nil || !a.Done || !m.Params().HeaderDigest {
			t.Fatalf("cut at %d: %+v, %v", cut, a, err)
		}
	}
}

// manyKeys returns n unknown keys with long names, each answered by a longer line.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " X-%s%03d=1", strings.Repeat("k", 50), i)
	}
	return b.String()
}

// An answer that is too long for one response goes on in the next, and nobody moves to
// another stage before it is complete.
func TestAnswerOverManyResponses(t *testing.T) {
	l := dial(open())
	var text []byte
	for i, keys := range []string{normal + manyKeys(130), ""} {
		req, data := l.request("1>3 " + keys)
		a, err := l.m.Step(&req, data)
		checkAnswer(t, a, err)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, a.Data...)
		if more := i == 0; a.Header.Continue != more || a.Done == more {
			t.Fatalf("response %d: C %v, done %v", i, a.Header.Continue, a.Done)
		}
	}
	pairs, err := ParseText(text)
	if err != nil || len(pairs) != 132 {
		t.Fatalf("%d answers, %v", len(pairs), err)
	}
	for _, p := range pairs[1:131] {
		if p.Value != valueNotUnderstood {
			t.Fatalf("%s=%s", p.Key, p.Value)
		}
	}
}

// A second text before the answer to the first is complete is refused.
func TestKeysBeforeTheAnswerIsComplete(t *testing.T) {
	l := dial(open())
	if got, err := l.send("1 " + normal + manyKeys(130)); err != nil {
		t.Fatal(got, err)
	}
	if got, _ := l.send("1 MaxBurstLength=512"); got != "refused 0200" {
		t.Fatal(got)
	}
}

// Nobody can make the target keep more than its bounds, or talk for ever.
func TestBounds(t *testing.T) {
	for name, c := range map[string]struct {
		flags string
		text  func(i int) []byte
		at    int // the request that is refused
	}{
		"text without end":     {"1+", func(int) []byte { return make([]byte, MaxRequestData) }, MaxText/MaxRequestData + 1},
		"one request too long": {"1", func(int) []byte { return make([]byte, MaxRequestData+1) }, 1},
		"requests without end": {"1", func(i int) []byte { return nil }, maxSteps + 1},
		"keys without end": {"1", func(i int) []byte {
			return AppendText(nil, Pair{fmt.Sprint("X-", i, "-a"), "1"}, Pair{fmt.Sprint("X-", i, "-b"), "1"}, Pair{fmt.Sprint("X-", i, "-c"), "1"})
		}, maxKeys/3 + 1},
		"keys in one text": {"1", func(int) []byte {
			return []byte(strings.Repeat("a=\x00", maxKeys+1))
		}, 1},
		"text that is not keys": {"1", func(int) []byte { return []byte("hello\x00") }, 1},
		"key without a name":    {"1", func(int) []byte { return []byte("=1\x00") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := dial(open())
			for i := 1; ; i++ {
				req, data := l.request(c.flags)
				text := c.text(i)
				if i == 1 && len(text) < 1000 && !strings.HasSuffix(c.flags, "+") {
					data = l.text(normal)
				}
				a, err := l.m.Step(&req, append(data, text...))
				checkAnswer(t, a, err)
				if err == nil && i < c.at {
					continue
				}
				if err == nil || i != c.at || a.Header.Status != pdu.LoginInitiatorError {
					t.Fatalf("request %d of %d: status %04x, %v", i, c.at, uint16(a.Header.Status), err)
				}
				return
			}
		})
	}
}

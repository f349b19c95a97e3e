package login

import (
	"bytes"
	"strings"
	"testing"

	"sluice/target/pdu"
)

// flagged writes one request of a fuzzed dialogue, which is a text: a request a line, a
// byte of flags (as in the header's byte 1) and then keys, '|' standing for NUL.
func flagged(csg, nsg pdu.Stage, t bool, keys string) string {
	b := byte(csg)<<2 | byte(nsg)
	if t {
		b |= 0x80
	}
	return string([]byte{b}) + keys
}

var dialogueSeeds = []string{
	flagged(0, 1, true, "InitiatorName="+initiatorName+"|TargetName="+targetName+"|AuthMethod=None|") + "\n" +
		flagged(1, 3, true, "MaxBurstLength=65536|HeaderDigest=CRC32C|X-a=1|"),
	flagged(1, 3, true, "InitiatorName="+initiatorName+"|SessionType=Discovery|"),
	flagged(0, 0, false, "InitiatorName="+initiatorName+"|TargetName="+targetName+"|AuthMethod=CHAP,None|") + "\n" +
		flagged(0, 0, false, "CHAP_A=7,5|") + "\n" +
		flagged(0, 3, true, "CHAP_N=alice|CHAP_R=0x00|CHAP_I=1|CHAP_C=0x0011|"),
	flagged(0, 0, false, "InitiatorName="+initiatorName+"|TargetName="+targetName+"|AuthMethod=CHAP|") + "\n" +
		flagged(0, 0, false, "CHAP_A=5|") + "\n" +
		flagged(0, 1, true, "CHAP_N=alice|CHAP_R="+provedResponse+"|CHAP_I=1|CHAP_C=0x0011|") + "\n" +
		flagged(1, 3, true, ""),
	"\x44Initi\n\x84atorName=iqn.a|TargetName=" + targetName + "|",
}

// provedResponse is right for the challenge that fixedRand makes.
var provedResponse = respond("5", "1", secret, "0x"+strings.Repeat("01", 16))

type fixedRand struct{}

func (fixedRand) Read(p []byte) (int, error) {
	copy(p, bytes.Repeat([]byte{1}, len(p)))
	return len(p), nil
}

// FuzzStep plays random dialogues. None may panic or break the rules of an answer; none
// may log in without having authenticated where that is required.
func FuzzStep(f *testing.F) {
	for _, s := range dialogueSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		run(t, New(open()), text)
		if last := run(t, New(guarded()), text); last.Done {
			t.Fatal("logged in without knowing the challenge") // it is random
		}
		// With a challenge that can be known the rest of the way is open, but only to
		// those who send the right response.
		cfg := guarded()
		cfg.Rand = fixedRand{}
		m := New(cfg)
		if last := run(t, m, text); last.Done && m.Params().User != user {
			t.Fatal("logged in without having authenticated")
		}
	})
}

func run(t *testing.T, m *Machine, text string) (last Answer) {
	answered := map[string]bool{}
	var answers []byte
	for row := range strings.SplitSeq(text, "\n") {
		if row == "" {
			row = "\x00"
		}
		var h pdu.Header
		h[1] = row[0]
		var req pdu.LoginRequest
		req.Unmarshal(&h)
		a, err := m.Step(&req, []byte(strings.ReplaceAll(row[1:], "|", "\x00")))
		checkAnswer(t, a, err)
		if err != nil {
			break
		}
		answers = append(answers, a.Data...)
		last = a
	}
	if p := m.Params(); last.Done {
		if p.Initiator == "" || p.Target == "" && !p.Discovery {
			t.Fatalf("nobody logged in to nothing: %+v", p)
		}
		if p.FirstBurstLength > p.MaxBurstLength || p.MaxSendDataSegmentLength < 512 || p.MaxConnections != 1 || p.ErrorRecoveryLevel != 0 {
			t.Fatalf("impossible parameters: %+v", p)
		}
		pairs, err := ParseText(answers)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pairs {
			if answered[p.Key] {
				t.Fatalf("%s is answered twice", p.Key)
			}
			answered[p.Key] = true
		}
	}
	return last
}

// The seed with the right response does get in: the fuzzer can reach what lies behind.
func TestFuzzSeedsReachTheEnd(t *testing.T) {
	cfg := guarded()
	cfg.Rand = fixedRand{}
	m := New(cfg)
	if last := run(t, m, dialogueSeeds[3]); !last.Done || !m.Params().Mutual {
		t.Errorf("%+v", last)
	}
	if last := run(t, New(open()), dialogueSeeds[0]); !last.Done {
		t.Errorf("%+v", last)
	}
}

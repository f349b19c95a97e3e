package login

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"sluice/target/pdu"
)

// Dialogues that must end badly, and how.
func TestRefusals(t *testing.T) {
	challenged := `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=7
			T 0 CHAP_A=7 CHAP_I=* CHAP_C=*
			`
	for _, c := range []struct {
		name   string
		cfg    Config
		script string
	}{
		{"no InitiatorName", open(), "I 0>1 TargetName=" + targetName + "\nT refused 0207"},
		{"no TargetName", open(), "I 0>1 InitiatorName=" + initiatorName + "\nT refused 0207"},
		{"nothing at all", open(), "I 0>1\nT refused 0207"},
		{"InitiatorName only later", open(), "I 0 AuthMethod=None\nT refused 0207"},
		{"empty InitiatorName", open(), "I 0>1 InitiatorName= TargetName=" + targetName + "\nT refused 0200"},
		{"overlong InitiatorName", open(), "I 0>1 InitiatorName=iqn." + strings.Repeat("x", 220) + "\nT refused 0200"},
		{"control characters in InitiatorName", open(), "I 0>1 InitiatorName=iqn.\x01\nT refused 0200"},
		{"unknown target", open(), "I 0>1 InitiatorName=" + initiatorName + " TargetName=iqn.x\nT refused 0203"},
		{"unknown session type", open(), "I 0>1 " + names + " SessionType=Boot\nT refused 0209"},
		{"two session types", open(), "I 0>1 " + normal + " SessionType=Discovery\nT refused 0200"},
		{"two target names", open(), "I 0>1 " + names + " TargetName=iqn.x\nT refused 0200"},
		{"target changes", open(), `
			I 0>1 ` + names + ` AuthMethod=None
			T 0>1 TargetPortalGroupTag=1 AuthMethod=None
			I 1>3 TargetName=iqn.other
			T refused 0200`},
		{"session type changes by default", open(), `
			I 0>1 ` + names + `
			T 0>1 TargetPortalGroupTag=1
			I 1>3 SessionType=Discovery
			T refused 0200`},
		{"key twice in one text", open(), "I 1>3 " + normal + " MaxBurstLength=512 MaxBurstLength=1024\nT refused 0200"},
		{"key twice in one login", open(), `
			I 1 ` + normal + ` MaxRecvDataSegmentLength=512
			T 1 TargetPortalGroupTag=1 MaxRecvDataSegmentLength=262144
			I 1>3 MaxRecvDataSegmentLength=512
			T refused 0200`},
		{"unknown key twice", open(), "I 1>3 " + normal + " X-a=1 X-a=1\nT refused 0200"},
		{"impossible MaxRecvDataSegmentLength", open(), "I 1>3 " + normal + " MaxRecvDataSegmentLength=511\nT refused 0200"},
		{"MaxRecvDataSegmentLength beyond 24 bits", open(), "I 1>3 " + normal + " MaxRecvDataSegmentLength=16777216\nT refused 0200"},
		{"MaxRecvDataSegmentLength that is no number", open(), "I 1>3 " + normal + " MaxRecvDataSegmentLength=many\nT refused 0200"},
		{"operational key in the security stage", open(), "I 0>1 " + normal + " MaxBurstLength=512\nT refused 0200"},
		{"MaxRecvDataSegmentLength in the security stage", open(), "I 0>1 " + normal + " MaxRecvDataSegmentLength=512\nT refused 0200"},
		{"AuthMethod in the operational stage", open(), "I 1>3 " + normal + " AuthMethod=None\nT refused 0200"},
		{"SendTargets during the login", open(), "I 1>3 " + normal + " SendTargets=All\nT refused 0200"},
		{"the target's own key", open(), "I 1>3 " + normal + " TargetPortalGroupTag=1\nT refused 0200"},
		{"stage 2", open(), "I 2>3 " + normal + "\nT refused 0200"},
		{"stage 3", open(), "I 3 " + normal + "\nT refused 0200"},
		{"to stage 2", open(), "I 0>2 " + normal + "\nT refused 0200"},
		{"to where it is", open(), "I 1>1 " + normal + "\nT refused 0200"},
		{"backwards", open(), "I 1>0 " + normal + "\nT refused 0200"},
		{"skips the answer", open(), `
			I 0 ` + normal + ` AuthMethod=None
			T 0 TargetPortalGroupTag=1 AuthMethod=None
			I 1>3
			T refused 0200`},
		{"goes back", open(), `
			I 0>1 ` + normal + ` AuthMethod=None
			T 0>1 TargetPortalGroupTag=1 AuthMethod=None
			I 0>1
			T refused 0200`},
		{"goes on after a refusal", open(), `
			I 0>1 ` + names + ` SessionType=Boot
			T refused 0209
			I 0>1 ` + normal + `
			T refused 020b`},

		{"only CHAP where there are no credentials", open(), "I 0 " + normal + " AuthMethod=CHAP\nT refused 0201"},
		{"only None where CHAP is required", guarded(), "I 0>1 " + normal + " AuthMethod=None\nT refused 0201"},
		{"no AuthMethod where CHAP is required", guarded(), "I 0>1 " + normal + "\nT refused 0201"},
		{"security skipped where CHAP is required", guarded(), "I 1>3 " + normal + "\nT refused 0201"},
		{"methods that nobody has", guarded(), "I 0 " + normal + " AuthMethod=KRB5,SRP\nT refused 0201"},
		{"method by prefix", guarded(), "I 0 " + normal + " AuthMethod=CHAPS\nT refused 0201"},
		{"AuthMethod twice", guarded(), `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0>1 AuthMethod=None
			T refused 0200`},
		{"CHAP_A before AuthMethod", guarded(), "I 0 " + normal + " CHAP_A=5\nT refused 0201"},
		{"CHAP_R before the challenge", guarded(), `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0>1 CHAP_N=alice CHAP_R=0x00
			T refused 0201`},
		{"no common algorithm", guarded(), `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=6,56,263,4294967301,,x
			T refused 0201`},
		{"empty list of algorithms", guarded(), `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=1 AuthMethod=CHAP
			I 0 CHAP_A=
			T refused 0201`},
		{"wrong secret", guarded(), challenged + "I 0>1 CHAP_N=alice CHAP_R=$R(wrong)\nT refused 0201"},
		{"wrong name", guarded(), challenged + "I 0>1 CHAP_N=bob CHAP_R=$R(correct_horse_battery)\nT refused 0201"},
		{"no name", guarded(), challenged + "I 0>1 CHAP_R=$R(correct_horse_battery)\nT refused 0201"},
		{"no response", guarded(), challenged + "I 0>1 CHAP_N=alice\nT refused 0201"},
		{"empty response", guarded(), challenged + "I 0>1 CHAP_N=alice CHAP_R=\nT refused 0201"},
		{"empty hexadecimal response", guarded(), challenged + "I 0>1 CHAP_N=alice CHAP_R=0x\nT refused 0201"},
		{"short response", guarded(), challenged + "I 0>1 CHAP_N=alice CHAP_R=0x00\nT refused 0201"},
		{"response with a byte more", guarded(), challenged + "I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery)00\nT refused 0201"},
		{"a challenge without identifier", guarded(), challenged +
			"I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery) CHAP_C=0x0011\nT refused 0201"},
		{"an identifier without challenge", guarded(), challenged +
			"I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery) CHAP_I=1\nT refused 0201"},
		{"an identifier of 256", guarded(), challenged +
			"I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery) CHAP_I=256 CHAP_C=0x0011\nT refused 0201"},
		{"our challenge reflected", guarded(), challenged +
			"I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery) CHAP_I=1 CHAP_C=$C\nT refused 0201"},
		{"a challenge with the wrong secret is not answered", guarded(), challenged +
			"I 0>1 CHAP_N=alice CHAP_R=$R(wrong) CHAP_I=1 CHAP_C=0x0011\nT refused 0201"},
		{"a second try", guarded(), challenged + `
			I 0>1 CHAP_N=alice CHAP_R=$R(wrong)
			T refused 0201
			I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery)
			T refused 020b`},
		{"leaves with the challenge unanswered", guarded(), challenged + `
			I 0>1
			T 0
			I 1>3
			T refused 0200`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if l := play(t, c.cfg, script(c.script)); l.last.Done {
				t.Error("logged in")
			}
		})
	}
}

// What a Config or its Lookup may refuse.
func TestRefusalsByTheTarget(t *testing.T) {
	lookup := func(a Access, err error) Config {
		return Config{Lookup: func(Ask) (Access, error) { return a, err }}
	}
	chap := CHAP{User: user, Secret: NewSecret(secret)}
	same := CHAP{User: user, Secret: NewSecret(secret), MutualUser: mutualUser, MutualSecret: NewSecret(secret)}
	noRandom := lookup(Access{CHAP: &chap}, nil)
	noRandom.Rand = iotest.ErrReader(io.ErrUnexpectedEOF)
	strict := lookup(Access{CHAP: &chap}, nil)
	strict.Algorithms = []Algorithm{SHA256}

	for _, c := range []struct {
		name   string
		cfg    Config
		script string
	}{
		{"forbidden", lookup(Access{}, Refuse(pdu.LoginForbidden, "not on the list")), "I 0>1 " + normal + "\nT refused 0202"},
		{
			"wrapped", lookup(Access{}, fmt.Errorf("look up: %w", Refuse(pdu.LoginUnavailable, "detached"))),
			"I 0>1 " + normal + "\nT refused 0301",
		},
		{"lookup fails", lookup(Access{}, errors.New("disk on fire")), "I 0>1 " + normal + "\nT refused 0300"},
		{"no secret", lookup(Access{CHAP: &CHAP{User: user}}, nil), "I 0 " + normal + " AuthMethod=CHAP\nT refused 0201"},
		{"one secret for both directions", lookup(Access{CHAP: &same}, nil), "I 0 " + normal + " AuthMethod=CHAP\nT refused 0201"},
		{"no randomness", noRandom, `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=0 AuthMethod=CHAP
			I 0 CHAP_A=7
			T refused 0300`},
		{"no MD5", strict, `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=0 AuthMethod=CHAP
			I 0 CHAP_A=5
			T refused 0201`},
		{"no mutual secret", lookup(Access{CHAP: &chap}, nil), `
			I 0 ` + normal + ` AuthMethod=CHAP
			T 0 TargetPortalGroupTag=0 AuthMethod=CHAP
			I 0 CHAP_A=8
			T 0 CHAP_A=8 CHAP_I=* CHAP_C=*
			I 0>1 CHAP_N=alice CHAP_R=$R(correct_horse_battery) CHAP_I=1 CHAP_C=0x0011
			T refused 0201`},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, c.cfg, script(c.script)) })
	}
}

// What is wrong with the header alone.
func TestRefusalsOfHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*pdu.LoginRequest)
		want   pdu.LoginStatus
	}{
		{"later version", func(r *pdu.LoginRequest) { r.VersionMin, r.VersionMax = 1, 2 }, pdu.LoginBadVersion},
		{"session to join", func(r *pdu.LoginRequest) { r.TSIH = 7 }, pdu.LoginTooManyConnections},
		{"T and C", func(r *pdu.LoginRequest) { r.Continue = true }, pdu.LoginInitiatorError},
	} {
		l := dial(open())
		req, data := l.request("0>1 " + normal)
		c.change(&req)
		a, err := l.m.Step(&req, data)
		checkAnswer(t, a, err)
		if a.Header.Status != c.want {
			t.Errorf("%s: status %04x, %v", c.name, uint16(a.Header.Status), err)
		}
	}
	for name, change := range map[string]func(*pdu.LoginRequest){
		"ISID": func(r *pdu.LoginRequest) { r.ISID[5]++ },
		"CID":  func(r *pdu.LoginRequest) { r.CID++ },
		"TSIH": func(r *pdu.LoginRequest) { r.TSIH++ },
	} {
		l := play(t, open(), script("I 0 "+normal+"\nT 0 TargetPortalGroupTag=1"))
		req, data := l.request("0>1")
		change(&req)
		if a, err := l.m.Step(&req, data); a.Header.Status != pdu.LoginInitiatorError {
			t.Errorf("%s changes: status %04x, %v", name, uint16(a.Header.Status), err)
		}
	}
}

// The target's Lookup hears who asks, and names compare in lower case.
func TestAsk(t *testing.T) {
	var asked []Ask
	cfg := Config{Lookup: func(a Ask) (Access, error) {
		asked = append(asked, a)
		return Access{TargetAlias: "a disk", PortalGroup: 9}, nil
	}}
	l := dial(cfg)
	req, data := l.request("0>1 InitiatorName=IQN.2026-11.Test:Host TargetName=" + strings.ToUpper(targetName))
	req.CID = 4
	a, err := l.m.Step(&req, data)
	if err != nil || string(a.Data) != "TargetAlias=a disk\x00TargetPortalGroupTag=9\x00" {
		t.Errorf("answer %q, %v", a.Data, err)
	}
	want := Ask{Initiator: initiatorName, Target: targetName, ISID: [6]byte{0x80, 1}, CID: 4}
	if len(asked) != 1 || asked[0] != want {
		t.Errorf("asked %+v", asked)
	}
}

package login

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"sluice/target/pdu"
)

const (
	initiatorName = "iqn.2026-11.test:host"
	targetName    = "iqn.2026-11.io.sluice:demo"
	user          = "alice"
	secret        = "correct horse battery"
	mutualUser    = "sluice"
	mutualSecret  = "another staple entirely"
)

// A dialogue is written as what the initiator sends and the target answers, in turn. A
// PDU is its stages and flags, then its keys:
//
//	0>1 key=value key=value    CSG 0, T set, NSG 1
//	1 key=value                CSG 1, T clear
//	1+ key=value               CSG 1, C set
//	refused 0201               a response with this status
//
// In a request, $R(secret) stands for the CHAP response to the target's last challenge,
// and $C for that challenge; in an answer, * stands for any value, and $M(secret) for
// the CHAP response to the challenge that the initiator sent last.
type exchange struct{ send, want string }

// line is an initiator that follows a script.
type line struct {
	m           *Machine
	last        Answer
	heard, said map[string]string // the keys of all answers and requests so far
}

func dial(cfg Config) *line {
	return &line{m: New(cfg), heard: map[string]string{}, said: map[string]string{}}
}

func (l *line) send(script string) (string, error) {
	req, data := l.request(script)
	var err error
	l.last, err = l.m.Step(&req, data)
	return l.show(err), err
}

func (l *line) request(script string) (pdu.LoginRequest, []byte) {
	flags, keys, _ := strings.Cut(script, " ")
	req := pdu.LoginRequest{ISID: [6]byte{0x80, 1}, ITT: 5, CID: 1, CmdSN: 77, ExpStatSN: 88, CSG: pdu.Stage(flags[0] - '0')}
	switch {
	case len(flags) == 3:
		req.Transit, req.NSG = true, pdu.Stage(flags[2]-'0')
	case len(flags) == 2:
		req.Continue = true
	}
	return req, l.text(keys)
}

func (l *line) text(keys string) []byte {
	var pairs []Pair
	for field := range strings.FieldsSeq(keys) {
		k, v, _ := strings.Cut(field, "=")
		if strings.Contains(v, "$") {
			v = l.expand(v, l.heard)
		}
		l.said[k] = v
		pairs = append(pairs, Pair{k, v})
	}
	return AppendText(nil, pairs...)
}

// expand puts in what depends on a challenge.
func (l *line) expand(v string, from map[string]string) string {
	v = strings.ReplaceAll(v, "$C", from["CHAP_C"])
	for _, open := range []string{"$R(", "$M("} {
		if at := strings.Index(v, open); at >= 0 {
			key, rest, _ := strings.Cut(v[at+3:], ")")
			v = v[:at] + respond(l.heard["CHAP_A"], from["CHAP_I"], strings.ReplaceAll(key, "_", " "), from["CHAP_C"]) + rest
		}
	}
	return v
}

// respond is CHAP once more, written from RFC 1994 alone.
func respond(alg, id, secret, challenge string) string {
	n, _ := strconv.Atoi(id)
	c, _ := hex.DecodeString(strings.TrimPrefix(challenge, "0x"))
	in := append(append([]byte{byte(n)}, secret...), c...)
	switch alg {
	case "5":
		return fmt.Sprintf("0x%x", md5.Sum(in))
	case "6":
		return fmt.Sprintf("0x%x", sha1.Sum(in))
	case "7":
		return fmt.Sprintf("0x%x", sha256.Sum256(in))
	default:
		return fmt.Sprintf("0x%x", sha3.Sum256(in))
	}
}

// show writes an answer as a script does.
func (l *line) show(err error) string {
	h := l.last.Header
	if err != nil || h.Status != pdu.LoginSuccess {
		return fmt.Sprintf("refused %04x", uint16(h.Status))
	}
	s := strconv.Itoa(int(h.CSG))
	if h.Transit {
		s += fmt.Sprintf(">%d", h.NSG)
	}
	if h.Continue {
		s += "+"
	}
	pairs, perr := ParseText(l.last.Data)
	if perr != nil {
		return s + " " + perr.Error()
	}
	for _, p := range pairs {
		l.heard[p.Key] = p.Value
		s += " " + p.Key + "=" + p.Value
	}
	return s
}

// same compares an answer with what was wanted; the order of keys counts for nothing.
func (l *line) same(got, want string) bool {
	g, w := strings.Fields(got), strings.Fields(want)
	if len(g) != len(w) || g[0] != w[0] {
		return false
	}
	values := map[string]string{}
	for _, f := range g[1:] {
		k, v, _ := strings.Cut(f, "=")
		values[k] = v
	}
	for _, f := range w[1:] {
		k, v, _ := strings.Cut(f, "=")
		if strings.Contains(v, "$") {
			v = l.expand(v, l.said)
		}
		if given, ok := values[k]; !ok || v != "*" && given != v {
			return false
		}
	}
	return true
}

// play runs a dialogue and fails at the first answer that is not as written.
func play(t *testing.T, cfg Config, script []exchange) *line {
	t.Helper()
	l := dial(cfg)
	for i, x := range script {
		got, err := l.send(x.send)
		if !l.same(got, x.want) {
			t.Fatalf("step %d: sent    %s\n got    %s\n wanted %s\n error %v", i+1, x.send, got, x.want, err)
		}
		checkAnswer(t, l.last, err)
	}
	return l
}

// checkAnswer holds any answer to the rules that do not depend on the dialogue.
func checkAnswer(t *testing.T, a Answer, err error) {
	t.Helper()
	h := a.Header
	var refused *Error
	switch {
	case len(a.Data) > MaxRequestData || int(h.DataLength) != len(a.Data):
		t.Fatalf("%d bytes of data, %d announced", len(a.Data), h.DataLength)
	case h.Transit && h.Continue:
		t.Fatal("T and C in one response")
	case a.Done && (!h.Transit || h.NSG != pdu.StageFullFeature):
		t.Fatal("done without a transition to the full feature phase")
	case (err != nil) != (h.Status != pdu.LoginSuccess):
		t.Fatalf("status %04x with error %v", h.Status, err)
	case err != nil && (!errors.As(err, &refused) || refused.Status != h.Status):
		t.Fatalf("status %04x, error %v", h.Status, err)
	case err != nil && (a.Done || h.Transit || len(a.Data) > 0):
		t.Fatal("a refusal that carries more")
	case err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), mutualSecret)):
		t.Fatalf("the error shows a secret: %v", err)
	}
}

// open lets everybody in without authentication.
func open() Config {
	return Config{Lookup: func(a Ask) (Access, error) {
		switch a.Target {
		case targetName, "":
			return Access{PortalGroup: 1}, nil
		}
		return Access{}, Refuse(pdu.LoginNotFound, "no such target")
	}}
}

// guarded asks everybody for CHAP.
func guarded() Config {
	return Config{Lookup: func(Ask) (Access, error) {
		return Access{PortalGroup: 1, CHAP: &CHAP{
			User: user, Secret: NewSecret(secret),
			MutualUser: mutualUser, MutualSecret: NewSecret(mutualSecret),
		}}, nil
	}}
}

// script cuts a dialogue into exchanges: a line with "I" is sent, one with "T" is wanted.
func script(s string) []exchange {
	var all []exchange
	for row := range strings.SplitSeq(s, "\n") {
		row = strings.TrimSpace(row)
		who, what, _ := strings.Cut(row, " ")
		switch {
		case who == "I":
			all = append(all, exchange{send: what})
		case who == "T":
			all[len(all)-1].want = what
		case row != "" && all[len(all)-1].want == "":
			all[len(all)-1].send += " " + row
		case row != "":
			all[len(all)-1].want += " " + row
		}
	}
	return all
}

const (
	names  = "InitiatorName=" + initiatorName + " TargetName=" + targetName
	normal = names + " SessionType=Normal"
)

package login

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"sluice/target/pdu"
)

// Keys of the security stage (RFC 7143 12.1).
const (
	keyAuthMethod = "AuthMethod"
	keyCHAPA      = "CHAP_A"
	keyCHAPI      = "CHAP_I"
	keyCHAPC      = "CHAP_C"
	keyCHAPN      = "CHAP_N"
	keyCHAPR      = "CHAP_R"
)

const methodCHAP = "CHAP"

// authState is how far the authentication of an initiator has come.
type authState int

const (
	authUnasked    authState = iota // the initiator has not offered an AuthMethod
	authNone                        // AuthMethod=None was agreed
	authAlgorithm                   // AuthMethod=CHAP was agreed: CHAP_A must follow
	authChallenged                  // the challenge is out: CHAP_N and CHAP_R must follow
	authProved
)

// dialogue is the state of CHAP in one login.
type dialogue struct {
	state     authState
	algorithm Algorithm
	id        byte
	challenge []byte
}

// satisfied tells whether the security stage may be left.
func (d *dialogue) satisfied(a *Access) bool {
	if a.CHAP != nil {
		return d.state == authProved
	}
	return d.state == authNone || d.state == authUnasked
}

// offers are the security keys of one text; nil where a key was not sent.
type offers struct{ method, a, i, c, n, r *string }

// secure takes the keys of a text in the security stage.
func (m *Machine) secure(pairs []Pair, transit bool) error {
	var o offers
	for _, p := range pairs {
		if field := o.field(p.Key); field != nil {
			*field = &p.Value
			continue
		}
		if err := m.other(p); err != nil {
			return err
		}
	}
	if o.method != nil {
		if err := m.authMethod(*o.method); err != nil {
			return err
		}
	}
	if o.a != nil {
		if err := m.challenge(*o.a); err != nil {
			return err
		}
	}
	if o.n != nil || o.r != nil || o.i != nil || o.c != nil {
		if err := m.prove(&o); err != nil {
			return err
		}
	}
	if transit && m.chap.state == authUnasked && m.access.CHAP != nil {
		return Refuse(pdu.LoginAuthFailure, "CHAP is required but the initiator offers no AuthMethod")
	}
	return nil
}

func (o *offers) field(key string) **string {
	switch key {
	case keyAuthMethod:
		return &o.method
	case keyCHAPA:
		return &o.a
	case keyCHAPI:
		return &o.i
	case keyCHAPC:
		return &o.c
	case keyCHAPN:
		return &o.n
	case keyCHAPR:
		return &o.r
	}
	return nil
}

// authMethod chooses CHAP if it is required, or if the initiator insists on it and that is possible, and otherwise None; nothing else is known.
func (m *Machine) authMethod(list string) error {
	offered := strings.Split(list, ",")
	if m.access.CHAP == nil && !slices.Contains(offered, valueNone) {
		m.access.CHAP = m.access.Insisted
	}
	want, state := valueNone, authNone
	if m.access.CHAP != nil {
		want, state = methodCHAP, authAlgorithm
	}
	if !slices.Contains(offered, want) {
		return Refuse(pdu.LoginAuthFailure, "AuthMethod must be %s, which the initiator does not offer", want)
	}
	m.chap.state = state
	m.reply(keyAuthMethod, want)
	return nil
}

// challenge chooses the first algorithm of the initiator's that is acceptable, and sends
// a challenge as long as its hash.
func (m *Machine) challenge(list string) error {
	d := &m.chap
	if d.state != authAlgorithm {
		return Refuse(pdu.LoginAuthFailure, "CHAP_A out of turn")
	}
	for value := range strings.SplitSeq(list, ",") {
		n, ok := parseNumber(value)
		if a := Algorithm(n); ok && n < 256 && slices.Contains(m.cfg.Algorithms, a) {
			d.algorithm = a
			break
		}
	}
	if d.algorithm == 0 {
		return Refuse(pdu.LoginAuthFailure, "none of the initiator's CHAP algorithms is acceptable")
	}
	h, err := d.algorithm.new()
	if err != nil {
		return err
	}
	random := make([]byte, 1+h.Size())
	if _, err := io.ReadFull(m.cfg.Rand, random); err != nil {
		return fmt.Errorf("make a CHAP challenge: %w", err)
	}
	d.state, d.id, d.challenge = authChallenged, random[0], random[1:]
	m.reply(keyCHAPA, formatNumber(int(d.algorithm)))
	m.reply(keyCHAPI, formatNumber(int(d.id)))
	m.reply(keyCHAPC, formatBinary(d.challenge))
	return nil
}

// prove checks the initiator's response to our challenge and then, if it asks, answers
// its challenge.
func (m *Machine) prove(o *offers) error {
	d, c := &m.chap, m.access.CHAP
	if d.state != authChallenged || o.n == nil || o.r == nil || (o.i == nil) != (o.c == nil) {
		return Refuse(pdu.LoginAuthFailure, "CHAP keys out of turn or incomplete")
	}
	response, ok := parseBinary(*o.r)
	if !ok || len(response) > maxChallenge {
		return Refuse(pdu.LoginAuthFailure, "CHAP_R is not a binary value")
	}
	right, err := c.verify(d.algorithm, d.id, d.challenge, *o.n, response)
	if err != nil {
		return err
	}
	if !right {
		return Refuse(pdu.LoginAuthFailure, "wrong CHAP name or secret")
	}
	if o.c != nil {
		if err := m.proveBack(*o.i, *o.c); err != nil {
			return err
		}
	}
	d.state = authProved
	m.params.User, m.params.Algorithm = c.User, d.algorithm
	return nil
}

// proveBack answers the challenge of an initiator that has proved itself.
func (m *Machine) proveBack(id, value string) error {
	d, c := &m.chap, m.access.CHAP
	n, isNumber := parseNumber(id)
	challenge, isBinary := parseBinary(value)
	switch {
	case !isNumber || n > 255 || !isBinary || len(challenge) > maxChallenge:
		return Refuse(pdu.LoginAuthFailure, "the initiator's CHAP_I or CHAP_C is malformed")
	case bytes.Equal(challenge, d.challenge):
		return Refuse(pdu.LoginAuthFailure, "the initiator reflects our CHAP challenge")
	case !c.MutualSecret.IsSet():
		return Refuse(pdu.LoginAuthFailure, "the initiator wants mutual CHAP, for which no secret is configured")
	}
	response, err := CHAPResponse(d.algorithm, byte(n), c.MutualSecret, challenge)
	if err != nil {
		return err
	}
	m.reply(keyCHAPN, c.MutualUser)
	m.reply(keyCHAPR, formatBinary(response))
	m.params.Mutual = true
	return nil
}

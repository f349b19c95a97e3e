package login

import (
	"strings"

	"sluice/target/pdu"
)

// Keys by which an initiator says who it is and what it wants.
const (
	keyInitiatorName  = "InitiatorName"
	keyInitiatorAlias = "InitiatorAlias"
	keyTargetName     = "TargetName"
	keySessionType    = "SessionType"
)

// isIdentity tells whether a key is one of these, which may be repeated.
func isIdentity(key string) bool {
	switch key {
	case keyInitiatorName, keyInitiatorAlias, keyTargetName, keySessionType:
		return true
	}
	return false
}

// greet reads the identity keys. The first text must hold enough of them to call Lookup
// (RFC 7143 6.3.1, 13.4, 13.5); later ones may only repeat them.
func (m *Machine) greet(req *pdu.LoginRequest, pairs []Pair) error {
	said := Params{Discovery: m.params.Discovery}
	typed := false
	for _, p := range pairs {
		if err := said.identify(p, &typed); err != nil {
			return err
		}
	}
	if m.greeted {
		return m.params.confirm(&said, typed)
	}
	switch {
	case said.Initiator == "":
		return Refuse(pdu.LoginMissingParameter, "no InitiatorName in the first request")
	case said.Target == "" && !said.Discovery:
		return Refuse(pdu.LoginMissingParameter, "no TargetName in the first request of a normal session")
	}
	p := &m.params
	p.Initiator, p.InitiatorAlias, p.Target, p.Discovery = said.Initiator, said.InitiatorAlias, said.Target, said.Discovery
	return m.admit(req)
}

// identify reads one identity key; any other key is passed over. A key that comes twice
// must say the same twice.
func (p *Params) identify(pair Pair, typed *bool) error {
	set := func(field *string, value string) error {
		if *field != "" && *field != value {
			return Refuse(pdu.LoginInitiatorError, "%s is given twice, and differs", pair.Key)
		}
		*field = value
		return nil
	}
	switch pair.Key {
	case keyInitiatorAlias:
		return set(&p.InitiatorAlias, strings.ToValidUTF8(pair.Value, "?"))
	case keyInitiatorName, keyTargetName:
		name, err := NormalizeName(pair.Value)
		if err != nil {
			return Refuse(pdu.LoginInitiatorError, "%s: %w", pair.Key, err)
		}
		if pair.Key == keyTargetName {
			return set(&p.Target, name)
		}
		return set(&p.Initiator, name)
	case keySessionType:
		discovery := pair.Value == "Discovery"
		if !discovery && pair.Value != "Normal" {
			return Refuse(pdu.LoginBadSessionType, "SessionType is neither Normal nor Discovery")
		}
		if *typed && discovery != p.Discovery {
			return Refuse(pdu.LoginInitiatorError, "SessionType is given twice, and differs")
		}
		p.Discovery, *typed = discovery, true
	}
	return nil
}

// confirm compares what later requests say with what the first one said.
func (p *Params) confirm(said *Params, typed bool) error {
	switch {
	case said.Initiator != "" && said.Initiator != p.Initiator,
		said.Target != "" && said.Target != p.Target,
		typed && said.Discovery != p.Discovery:
		return Refuse(pdu.LoginInitiatorError, "InitiatorName, TargetName or SessionType has changed during the login")
	}
	if said.InitiatorAlias != "" {
		p.InitiatorAlias = said.InitiatorAlias
	}
	return nil
}

// admit asks whether the initiator may log in, and on which terms.
func (m *Machine) admit(req *pdu.LoginRequest) error {
	p := &m.params
	access, err := m.cfg.Lookup(Ask{
		Initiator: p.Initiator, Target: p.Target, Discovery: p.Discovery,
		ISID: req.ISID, TSIH: req.TSIH, CID: req.CID,
	})
	if err != nil {
		return err
	}
	if req.TSIH != 0 {
		// Sessions have one connection (MaxConnections is 1), and with ErrorRecoveryLevel 0
		// a lost one is not continued but replaced, with TSIH 0 (RFC 7143 6.3.5).
		return Refuse(pdu.LoginTooManyConnections, "a second connection for session %d", req.TSIH)
	}
	if c := access.CHAP; c != nil {
		switch {
		case !c.Secret.IsSet():
			return Refuse(pdu.LoginAuthFailure, "CHAP is required but no secret is configured")
		case c.MutualSecret.IsSet() && c.MutualSecret.Equal(c.Secret):
			return Refuse(pdu.LoginAuthFailure, "the CHAP secrets of both directions are the same")
		case m.stage != pdu.StageSecurity:
			return Refuse(pdu.LoginAuthFailure, "CHAP is required but the initiator skips the security stage")
		}
	}
	m.access, m.greeted = access, true
	p.PortalGroup = access.PortalGroup
	if access.TargetAlias != "" {
		m.reply(keyTargetAlias, access.TargetAlias)
	}
	if !p.Discovery {
		m.reply(keyTargetPortalGroupTag, formatNumber(int(access.PortalGroup)))
	}
	return nil
}

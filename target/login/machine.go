package login

import (
	"errors"

	"sluice/target/pdu"
)

// Answer is what to send for one request.
type Answer struct {
	// Header is complete except for the sequence numbers and, when Done, the TSIH, which
	// are the caller's. Its DataLength is len(Data).
	Header pdu.LoginResponse
	Data   []byte // at most 8192 bytes; valid until the next Step
	Done   bool   // with this response the login has succeeded
}

// Machine is the target's side of one login. It is not safe for concurrent use.
type Machine struct {
	cfg    Config
	params Params
	access Access
	chap   dialogue

	steps    int
	received int // bytes of text
	stage    pdu.Stage
	first    pdu.LoginRequest // what later requests must agree with
	seen     map[string]bool  // keys that may not be offered again
	text     []byte           // of requests with the C bit, until one without
	replies  []Pair           // answers to the text in hand
	out      []byte           // marshalled answers that have not been sent yet
	greeted  bool             // Lookup has let the initiator in
	declared bool             // our MaxRecvDataSegmentLength
	done     bool
	failed   bool
}

// New returns a machine for one connection.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg.withDefaults(), params: defaults(), seen: make(map[string]bool)}
}

// Challenged tells whether a CHAP challenge is out, so that the next request should hold
// the proof that the initiator knows the secret.
func (m *Machine) Challenged() bool { return m.chap.state == authChallenged && !m.failed }

// Params returns what has been negotiated; it is complete once an Answer was Done.
func (m *Machine) Params() Params { return m.params }

// Step takes a Login Request with its data segment, and returns the response to send. An
// error is always an *Error, whose status that response carries: the login has failed and
// the connection is to be closed once the response is sent. No request makes it panic.
func (m *Machine) Step(req *pdu.LoginRequest, data []byte) (Answer, error) {
	ans := Answer{Header: pdu.LoginResponse{CSG: req.CSG, ISID: req.ISID, TSIH: req.TSIH, ITT: req.ITT}}
	err := m.step(req, data)
	if err != nil {
		m.failed = true
		var refused *Error
		if !errors.As(err, &refused) {
			refused = &Error{Status: pdu.LoginTargetError, Err: err}
		}
		ans.Header.Status = refused.Status
		return ans, refused
	}
	ans.Data = m.out[:min(len(m.out), MaxRequestData)]
	m.out = m.out[len(ans.Data):]
	ans.Header.DataLength = uint32(len(ans.Data))
	ans.Header.Continue = len(m.out) > 0
	if req.Transit && !ans.Header.Continue && m.mayLeave() {
		ans.Header.Transit, ans.Header.NSG = true, req.NSG
		m.stage = req.NSG
		m.done = req.NSG == pdu.StageFullFeature
		ans.Done = m.done
	}
	return ans, nil
}

func (m *Machine) step(req *pdu.LoginRequest, data []byte) error {
	if err := m.check(req, data); err != nil {
		return err
	}
	m.text = append(m.text, data...)
	if req.Continue {
		return nil // an empty response asks for the rest
	}
	pairs, err := ParseText(m.text)
	m.text = m.text[:0]
	if err != nil {
		return err
	}
	if len(m.out) > 0 {
		if len(pairs) > 0 {
			return Refuse(pdu.LoginInitiatorError, "keys offered before the answer to the last ones was complete")
		}
		return nil
	}
	return m.handle(req, pairs)
}

// check holds a request to the rules that do not depend on its keys.
func (m *Machine) check(req *pdu.LoginRequest, data []byte) error {
	m.steps++
	switch {
	case m.failed || m.done:
		return Refuse(pdu.LoginInvalidRequest, "login request after the login has ended")
	case req.VersionMin > 0:
		return Refuse(pdu.LoginBadVersion, "initiator wants version %d at least, and we have 0", req.VersionMin)
	case m.steps > maxSteps:
		return Refuse(pdu.LoginInitiatorError, "no end after %d requests", maxSteps)
	case len(data) > MaxRequestData || m.received+len(data) > MaxText:
		return Refuse(pdu.LoginInitiatorError, "too much text: %d bytes after %d", len(data), m.received)
	case req.Transit && req.Continue:
		return Refuse(pdu.LoginInitiatorError, "both T and C are set")
	case req.CSG > pdu.StageOperational:
		return Refuse(pdu.LoginInitiatorError, "current stage is %d", req.CSG)
	case req.Transit && (req.NSG <= req.CSG || req.NSG == 2):
		return Refuse(pdu.LoginInitiatorError, "next stage %d after stage %d", req.NSG, req.CSG)
	}
	m.received += len(data)
	if m.steps == 1 {
		m.first, m.stage = *req, req.CSG
		m.params.ISID, m.params.CID = req.ISID, req.CID
		m.params.CmdSN, m.params.ExpStatSN = req.CmdSN, req.ExpStatSN
	}
	switch f := &m.first; {
	case req.CSG != m.stage:
		return Refuse(pdu.LoginInitiatorError, "stage %d where %d is current", req.CSG, m.stage)
	case req.ISID != f.ISID || req.TSIH != f.TSIH || req.CID != f.CID:
		return Refuse(pdu.LoginInitiatorError, "ISID, TSIH or CID has changed during the login")
	}
	return nil
}

// handle takes the keys of one complete text.
func (m *Machine) handle(req *pdu.LoginRequest, pairs []Pair) error {
	m.replies = m.replies[:0]
	if err := m.greet(req, pairs); err != nil {
		return err
	}
	var offers []Pair
	for _, p := range pairs {
		if isIdentity(p.Key) || isAnswer(p.Value) {
			continue
		}
		if m.seen[p.Key] {
			return Refuse(pdu.LoginInitiatorError, "%s was offered before", p.Key)
		}
		if len(m.seen) == maxKeys {
			return Refuse(pdu.LoginInitiatorError, "more than %d keys in one login", maxKeys)
		}
		m.seen[p.Key] = true
		offers = append(offers, p)
	}
	var err error
	if m.stage == pdu.StageSecurity {
		err = m.secure(offers, req.Transit)
	} else {
		err = m.negotiate(offers)
	}
	if err != nil {
		return err
	}
	m.out = AppendText(m.out[:0:0], m.replies...)
	return nil
}

func (m *Machine) reply(key, value string) { m.replies = append(m.replies, Pair{key, value}) }

// mayLeave tells whether the target agrees to leave the current stage.
func (m *Machine) mayLeave() bool {
	return m.greeted && len(m.text) == 0 && (m.stage != pdu.StageSecurity || m.chap.satisfied(&m.access))
}

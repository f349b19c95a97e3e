package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/target/login"
	"sluice/target/pdu"
)

// loginPhase takes a new connection to the full feature phase (RFC 7143 6.3). When it
// fails, the initiator has been told why, as far as that is possible.
func (c *conn) loginPhase(ctx context.Context) error {
	limit := time.Now().Add(c.srv.limits.LoginTime)
	// A refusal that comes of the time-out still has to be sent.
	if err := errors.Join(c.net.SetReadDeadline(limit), c.net.SetWriteDeadline(limit.Add(time.Second))); err != nil {
		return fmt.Errorf("set login time-out: %w", err)
	}
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	c.in.grow(loginInput)
	cfg := c.srv.login
	var tsih uint16
	cfg.Lookup = func(ask login.Ask) (login.Access, error) { return c.srv.lookup(c, ask, tsih) }
	m := login.New(cfg)
	for first := true; ; first = false {
		req, data, err := c.readLogin(first)
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		if first {
			tsih = req.TSIH
			c.statSN = req.ExpStatSN
			c.expCmdSN.Store(uint32(req.CmdSN))
		}
		done, err := c.loginStep(ctx, m, req, data, tsih)
		if err != nil {
			p := m.Params()
			return fmt.Errorf("login of %q to %q: %w", p.Initiator, p.Target, err)
		}
		if done {
			return nil
		}
	}
}

// loginStep answers one request. The machine does not know sessions, so it never sees a
// TSIH; that a TSIH is good was checked by Server.lookup.
func (c *conn) loginStep(ctx context.Context, m *login.Machine, req *pdu.LoginRequest, data []byte, tsih uint16) (bool, error) {
	var ans login.Answer
	var err error
	if req.TSIH != tsih {
		err = login.Refuse(pdu.LoginInitiatorError, "TSIH has changed during the login")
		ans = refusal(req, err)
	} else {
		alone := *req
		alone.TSIH = 0
		ans, err = c.step(ctx, m, &alone, data)
	}
	ans.Header.TSIH = tsih
	if ans.Done {
		if err = c.enterFullFeature(ctx, m.Params(), tsih); err != nil {
			ans = refusal(req, err)
		} else {
			ans.Header.TSIH = c.ses.tsih
		}
	}
	if werr := c.sendLogin(&ans); werr != nil && err == nil {
		err = werr
	}
	return ans.Done, err
}

// step gives a request to the machine. Those who guess secrets wait first.
func (c *conn) step(ctx context.Context, m *login.Machine, req *pdu.LoginRequest, data []byte) (login.Answer, error) {
	if !m.Challenged() {
		return m.Step(req, data)
	}
	g := &c.srv.guesses
	who := guesser{m.Params().Initiator, c.host}
	if err := c.pause(ctx, g.delay(who, time.Now())); err != nil {
		err = login.Refuse(pdu.LoginUnavailable, "wait after wrong secrets: %w", err)
		return refusal(req, err), err
	}
	ans, err := m.Step(req, data)
	switch e, ok := errors.AsType[*login.Error](err); {
	case ok && e.Status == pdu.LoginAuthFailure:
		g.wrong(who, time.Now())
	case err == nil && !m.Challenged():
		g.right(who)
	}
	return ans, err
}

// enterFullFeature makes or takes over the session, and prepares for what comes next.
func (c *conn) enterFullFeature(ctx context.Context, p login.Params, tsih uint16) error {
	c.firstCmdSN = p.CmdSN
	// Until the session is ours nobody else looks at params, and no digest is checked.
	c.params.Store(&p)
	ses, err := c.srv.open(ctx, c, &p, tsih)
	if err != nil {
		return err
	}
	c.ses = ses
	c.expCmdSN.Store(uint32(c.firstCmdSN))
	c.maxCmdSN.Store(uint32(c.firstCmdSN) + uint32(c.srv.limits.CommandWindow) - 1)
	if err := c.net.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear login time-out: %w", err)
	}
	if ses.target != nil {
		c.in.grow(fullInput)
	}
	c.out.init()
	c.log = c.log.With("initiator", p.Initiator, "target", p.Target, "tsih", ses.tsih)
	// From here on others may queue PDUs for the connection. They are sent after the login
	// response, when the reader first settles.
	if err := c.srv.loggedIn(c); err != nil {
		return login.Refuse(pdu.LoginOutOfResources, "%w", err)
	}
	c.log.Info("logged in", "discovery", p.Discovery, "user", p.User,
		"header_digest", p.HeaderDigest, "data_digest", p.DataDigest)
	return nil
}

// readLogin reads one Login Request. Anything else ends the connection: answering a
// stranger that speaks another protocol serves nobody, but one that has begun to log in
// is told (RFC 7143 11.13.5).
func (c *conn) readLogin(first bool) (*pdu.LoginRequest, []byte, error) {
	h, err := c.readBasicHeader()
	if err != nil {
		return nil, nil, err
	}
	ahs, n, _ := h.Sizes()
	if h.Opcode() != pdu.OpLoginRequest || ahs > 0 || n > login.MaxRequestData { // do not wait for more
		err := login.Refuse(pdu.LoginInvalidRequest, "opcode %#02x with %d bytes of data instead of a login request", byte(h.Opcode()), n)
		if !first || h.Opcode() == pdu.OpLoginRequest {
			ans := refusal(&pdu.LoginRequest{ITT: h.ITT()}, err)
			if werr := c.sendLogin(&ans); werr != nil {
				return nil, nil, werr
			}
		}
		return nil, nil, err
	}
	var req pdu.LoginRequest
	req.Unmarshal(h)
	data := make([]byte, n)
	s := c.segment(h)
	if _, err := c.take(&s, data); err != nil {
		return nil, nil, err
	}
	if _, err := c.finish(&s); err != nil {
		return nil, nil, err
	}
	return &req, data, nil
}

// refusal is the answer that tells of err.
func refusal(req *pdu.LoginRequest, err error) login.Answer {
	status := pdu.LoginTargetError
	if e, ok := errors.AsType[*login.Error](err); ok {
		status = e.Status
	}
	return login.Answer{Header: pdu.LoginResponse{CSG: req.CSG, ISID: req.ISID, TSIH: req.TSIH, ITT: req.ITT, Status: status}}
}

// sendLogin sends a Login Response. During the login nobody else writes.
func (c *conn) sendLogin(ans *login.Answer) error {
	exp := pdu.SN(c.expCmdSN.Load())
	ans.Header.Counters = pdu.Counters{StatSN: c.statSN, ExpCmdSN: exp, MaxCmdSN: exp.Add(uint32(c.srv.limits.CommandWindow) - 1)}
	c.statSN++
	var h pdu.Header
	ans.Header.Marshal(&h)
	out := append(h[:], ans.Data...)
	out = append(out, make([]byte, pdu.Padding(len(ans.Data)))...)
	if _, err := c.net.Write(out); err != nil {
		return fmt.Errorf("send login response: %w", err)
	}
	return nil
}

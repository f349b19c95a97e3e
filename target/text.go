package target

import (
	"fmt"
	"net"
	"slices"

	"sluice/target/login"
	"sluice/target/pdu"
)

// textExchange is a text negotiation in the full feature phase: a text, possibly in
// several requests, and its answer, possibly in several responses (RFC 7143 11.10).
type textExchange struct {
	itt, ttt uint32 // of the request to come; ttt is 0 if there is no exchange
	in, out  []byte // what was not understood, and not sent, yet
}

func (c *conn) onText(r *request) error {
	var p pdu.TextRequest
	p.Unmarshal(&r.h)
	t := &c.text
	if p.TTT == pdu.NoTag {
		*t = textExchange{itt: p.ITT}
	}
	switch {
	case p.TTT != pdu.NoTag && (t.ttt == 0 || p.TTT != t.ttt || p.ITT != t.itt),
		p.ITT == pdu.NoTag,
		p.Final && p.Continue,
		len(t.out) > 0 && len(r.data) > 0,
		len(t.in)+len(r.data) > login.MaxText:
		*t = textExchange{}
		return c.reject(&r.h, nil, pdu.ReasonProtocolError)
	}
	t.in = append(t.in, r.data...)
	if !p.Continue && len(t.out) == 0 {
		out, err := c.answerText(t.in)
		if err != nil {
			*t = textExchange{}
			c.log.Warn("text request", "err", err)
			return c.reject(&r.h, nil, pdu.ReasonInvalidField)
		}
		t.in, t.out = nil, out
	}
	c.sendText(&p)
	return nil
}

// sendText sends as much of the answer as fits.
func (c *conn) sendText(p *pdu.TextRequest) {
	t := &c.text
	n := min(len(t.out), c.params.Load().MaxSendDataSegmentLength)
	ctl := c.srv.newControl()
	ctl.data, t.out = t.out[:n], t.out[n:]
	answer := pdu.TextResponse{ITT: p.ITT, TTT: pdu.NoTag, LUN: p.LUN, DataLength: uint32(n)}
	answer.Continue = len(t.out) > 0
	answer.Final = !answer.Continue && p.Final
	if answer.Final {
		*t = textExchange{}
	} else {
		c.mu.Lock()
		t.ttt = c.newTTT()
		c.mu.Unlock()
		answer.TTT = t.ttt
	}
	answer.Marshal(&ctl.h)
	ctl.status = true
	c.enqueue(ctl)
}

func (c *conn) answerText(text []byte) ([]byte, error) {
	pairs, err := login.ParseText(text)
	if err != nil {
		return nil, fmt.Errorf("parse keys: %w", err)
	}
	params := *c.params.Load()
	var out []byte
	for _, pair := range pairs {
		if pair.Key == "SendTargets" {
			out = login.AppendText(out, c.sendTargets(pair.Value)...)
			continue
		}
		value, reply, err := params.Offer(pair)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pair.Key, err)
		}
		if reply {
			out = login.AppendText(out, login.Pair{Key: pair.Key, Value: value})
		}
	}
	c.params.Store(&params)
	return out, nil
}

// sendTargets answers SendTargets (RFC 7143 appendix C): All is for discovery sessions
// only, an empty value for others, and those see but their own target. What the initiator
// may not see does not exist.
func (c *conn) sendTargets(which string) []login.Pair {
	discovery := c.ses.target == nil
	if (which == "All") != discovery && (which == "All" || which == "") {
		return []login.Pair{{Key: "SendTargets", Value: "Reject"}}
	}
	var names []string
	if discovery {
		names = c.srv.visible(c, c.ses.initiator)
	} else {
		names = []string{c.ses.targetName()}
	}
	if which != "All" && which != "" {
		name, err := login.NormalizeName(which)
		if err != nil {
			return []login.Pair{{Key: "SendTargets", Value: "Reject"}}
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n != name })
	}
	slices.Sort(names)
	var pairs []login.Pair
	for _, name := range names {
		pairs = append(pairs,
			login.Pair{Key: "TargetName", Value: name},
			login.Pair{Key: "TargetAddress", Value: fmt.Sprintf("%s,%d", portalAddress(c.net.LocalAddr()), c.srv.portalGroup)})
	}
	return pairs
}

// portalAddress is the address of a portal as an initiator reaches it: an IPv4 address
// also where the socket shows it as an IPv6 one.
func portalAddress(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return net.JoinHostPort(ap.Addr().Unmap().WithZone("").String(), fmt.Sprint(ap.Port()))
	}
	return a.String()
}

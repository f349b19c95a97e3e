package target

import "sluice/target/pdu"

// maxRejectLog is how many rejected PDUs of one connection are logged.
const maxRejectLog = 10

// reject answers a PDU that cannot be executed (RFC 7143 11.17).
func (c *conn) reject(h *pdu.Header, ahs []byte, reason pdu.RejectReason) error {
	c.slowDown(h)
	if c.rejects++; c.rejects <= maxRejectLog {
		c.log.Warn("PDU rejected", "opcode", byte(h.Opcode()), "itt", h.ITT(), "reason", byte(reason))
	}
	ctl := c.srv.newControl()
	ctl.data = append(append(make([]byte, 0, len(h)+len(ahs)), h[:]...), ahs...)
	r := pdu.Reject{Reason: reason, DataLength: uint32(len(ctl.data))}
	r.Marshal(&ctl.h)
	ctl.status = true
	c.enqueue(ctl)
	return nil
}

// onNopOut answers a ping (RFC 7143 11.18).
func (c *conn) onNopOut(r *request) error {
	var p pdu.NopOut
	p.Unmarshal(&r.h)
	if p.ITT == pdu.NoTag {
		return nil // the answer to a ping of ours, or a mere confirmation of ExpStatSN
	}
	ctl := c.srv.newControl()
	ctl.data = r.data[:min(len(r.data), c.params.Load().MaxSendDataSegmentLength)]
	answer := pdu.NopIn{ITT: p.ITT, TTT: pdu.NoTag, DataLength: uint32(len(ctl.data))}
	answer.Marshal(&ctl.h)
	ctl.status = true
	c.enqueue(ctl)
	return nil
}

// ping asks the initiator for a sign of life (RFC 7143 11.19).
func (c *conn) ping() {
	ctl := c.srv.newControl()
	c.mu.Lock()
	p := pdu.NopIn{ITT: pdu.NoTag, TTT: c.newTTT()}
	p.Marshal(&ctl.h)
	c.push(ctl)
	c.flush()
}

// newTTT returns a target transfer tag. conn.mu is held.
func (c *conn) newTTT() uint32 {
	c.nextTTT++
	if c.nextTTT == pdu.NoTag {
		c.nextTTT = 1
	}
	return c.nextTTT
}

// onLogout ends the session (RFC 7143 11.14). The response goes out when no command runs
// any more.
func (c *conn) onLogout(r *request) error {
	var p pdu.LogoutRequest
	p.Unmarshal(&r.h)
	answer := pdu.LogoutResponse{ITT: p.ITT, Time2Wait: uint16(c.params.Load().DefaultTime2Wait)}
	switch {
	case p.Reason == pdu.LogoutRecover:
		answer.Result = pdu.LogoutRecoverUnsupported
	case p.Reason == pdu.LogoutCloseConnection && p.CID != c.params.Load().CID:
		answer.Result = pdu.LogoutNoCID
	case p.Reason > pdu.LogoutRecover:
		return c.reject(&r.h, nil, pdu.ReasonInvalidField)
	}
	ctl := c.srv.newControl()
	answer.Marshal(&ctl.h)
	ctl.status = true
	if answer.Result != pdu.LogoutClosed {
		c.enqueue(ctl)
		return nil
	}
	c.submitBatch()
	c.mu.Lock()
	c.farewell = ctl
	c.mu.Unlock()
	return errLoggedOut
}

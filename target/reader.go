package target

import (
	"errors"
	"fmt"

	"sluice/target/pdu"
	"sluice/target/scsi"
)

// request is a request that counts in the order of CmdSN: a command, whose immediate data
// has been received, or the header and data of any other. With neither it is one that was
// rejected and only takes its place.
type request struct {
	h       pdu.Header
	command *command
	data    []byte
	void    bool
}

// fullFeaturePhase reads and executes PDUs until the connection ends.
func (c *conn) fullFeaturePhase() error {
	stop := c.watch()
	defer stop()
	for {
		h, ahs, err := c.readHeader()
		if err != nil {
			return err
		}
		if err := c.onPDU(h, ahs); err != nil {
			return err
		}
		if len(c.batched) >= maxBatch {
			c.submitBatch()
		}
	}
}

// maxBatch is how many commands are submitted together at most.
const maxBatch = 64

func (c *conn) onPDU(h *pdu.Header, ahs []byte) error {
	if n := h.DataLength(); n > c.params.Load().MaxRecvDataSegmentLength {
		if err := c.reject(h, ahs, pdu.ReasonProtocolError); err != nil {
			return err
		}
		return fmt.Errorf("%w: data segment of %d bytes in opcode %#02x", errProtocol, n, byte(h.Opcode()))
	}
	switch op := h.Opcode(); op {
	case pdu.OpSCSICommand:
		return c.onCommand(h, ahs)
	case pdu.OpDataOut:
		return c.onDataOut(h)
	case pdu.OpNopOut, pdu.OpTaskRequest, pdu.OpTextRequest, pdu.OpLogout:
		return c.onRequest(h, ahs)
	case pdu.OpSNACK: // nothing is kept to be sent again with ErrorRecoveryLevel 0
		return c.refuse(h, ahs, new(c.segment(h)), pdu.ReasonSNACK)
	case pdu.OpLoginRequest:
		return c.refuse(h, ahs, new(c.segment(h)), pdu.ReasonProtocolError)
	default:
		return c.refuse(h, ahs, new(c.segment(h)), pdu.ReasonUnsupported)
	}
}

// onRequest takes any request but a command.
func (c *conn) onRequest(h *pdu.Header, ahs []byte) error {
	c.slowDown(h)
	seg := c.segment(h)
	if !c.inWindow(h) {
		return c.skip(&seg)
	}
	data := make([]byte, h.DataLength())
	if _, err := c.take(&seg, data); err != nil {
		return err
	}
	intact, err := c.finish(&seg)
	switch {
	case err != nil:
		return err
	case !intact:
		return c.reject(h, ahs, pdu.ReasonDataDigest)
	}
	return c.arrive(request{h: *h, data: data})
}

// inWindow tells whether a request may be executed at all; one that may not is to be
// ignored in silence (RFC 7143 4.2.2.1).
func (c *conn) inWindow(h *pdu.Header) bool {
	if h.Immediate() {
		return true
	}
	sn := h.CmdSN()
	_, twice := c.held[sn]
	return !twice && sn.In(pdu.SN(c.expCmdSN.Load()), pdu.SN(c.maxCmdSN.Load()))
}

// arrive executes a request in its turn, and those that were waiting for it.
func (c *conn) arrive(r request) error {
	if r.h.Immediate() {
		return c.deliver(&r)
	}
	sn := r.h.CmdSN()
	if exp := pdu.SN(c.expCmdSN.Load()); sn != exp {
		c.hold(sn, r)
		return nil
	}
	c.expCmdSN.Store(uint32(sn.Add(1)))
	if err := c.deliver(&r); err != nil || len(c.held) == 0 {
		return err
	}
	return c.catchUp()
}

// catchUp executes the requests that were held back and whose turn it is now.
func (c *conn) catchUp() error {
	for {
		sn := pdu.SN(c.expCmdSN.Load())
		r, ok := c.held[sn]
		if !ok {
			return nil
		}
		delete(c.held, sn)
		c.expCmdSN.Store(uint32(sn.Add(1)))
		if err := c.deliver(&r); err != nil {
			return err
		}
	}
}

// hold keeps a request until those before it have come.
func (c *conn) hold(sn pdu.SN, r request) {
	if r.command != nil {
		c.mu.Lock()
		r.command.kept = true
		c.letOff(r.command)
		c.mu.Unlock()
	}
	c.held[sn] = r
}

// resumeAt is the CmdSN at which a connection goes on that takes the place of this one, for an
// initiator that says that it will send sn next. Commands before that which have not come were
// lost with this connection, and with ErrorRecoveryLevel 0 do not come again.
func (c *conn) resumeAt(sn pdu.SN) pdu.SN {
	next, last := pdu.SN(c.expCmdSN.Load()), pdu.SN(c.maxCmdSN.Load())
	if sn.In(next, last.Add(1)) {
		return sn
	}
	return next
}

func (c *conn) deliver(r *request) error {
	if r.command != nil {
		c.deliverCommand(r.command)
		return nil
	}
	if !r.h.Immediate() {
		c.finished.Add(1)
	}
	if r.void {
		return nil
	}
	switch r.h.Opcode() {
	case pdu.OpNopOut:
		return c.onNopOut(r)
	case pdu.OpTextRequest:
		return c.onText(r)
	case pdu.OpTaskRequest:
		return c.onTaskRequest(r)
	default:
		return c.onLogout(r)
	}
}

// skip reads a data segment and forgets it.
func (c *conn) skip(seg *segment) error {
	_, err := c.finish(seg)
	return err
}

// refuse skips the data segment of a PDU, rejects it, and takes its CmdSN as received, if
// it has one.
func (c *conn) refuse(h *pdu.Header, ahs []byte, seg *segment, reason pdu.RejectReason) error {
	rejected := *h // skipping may read the next
	if err := c.skip(seg); err != nil {
		return err
	}
	if err := c.reject(&rejected, ahs, reason); err != nil {
		return err
	}
	switch h.Opcode() {
	case pdu.OpSCSICommand, pdu.OpNopOut, pdu.OpTaskRequest, pdu.OpTextRequest, pdu.OpLogout:
		return c.arrive(request{h: rejected, void: true})
	default:
		return nil
	}
}

// submitBatch passes the commands that are ready to their logical units, in order.
func (c *conn) submitBatch() {
	if len(c.batched) == 0 {
		return
	}
	c.mu.Lock()
	ready := c.batched[:0]
	for _, m := range c.batched {
		if m.aborted {
			m.stage = receiving // it has not been submitted
			c.bury(m)
			continue
		}
		m.stage = submitted
		ready = append(ready, m)
	}
	c.sending++
	c.mu.Unlock()
	for len(ready) > 0 {
		lu := ready[0].lu
		c.batch = c.batch[:0]
		for len(ready) > 0 && ready[0].lu == lu {
			c.batch = append(c.batch, &ready[0].Command)
			ready = ready[1:]
		}
		c.submit(lu, c.batch)
	}
	clear(c.batched)
	c.batched = c.batched[:0]
	c.abortAgain()
}

// abortAgain is called after submit. It makes up for an Abort that came in the middle.
func (c *conn) abortAgain() {
	c.mu.Lock()
	c.sending--
	again := c.retry
	c.retry = c.retry && c.sending > 0
	c.mu.Unlock()
	if again {
		c.abort(nil, func(m *command) bool { return m.aborted })
	}
}

// resume takes a command on that has waited for memory. It has one pin.
func (c *conn) resume(m *command) {
	c.mu.Lock()
	submit := !m.aborted && !m.write
	switch {
	case submit:
		m.stage = submitted
		c.sending++
	case !m.aborted:
		c.solicit(m)
	}
	c.unpin(m)
	c.flush()
	if submit {
		lu := m.lu // it may have ended at once, and have been recycled
		c.submit(lu, []*scsi.Command{&m.Command})
		c.abortAgain()
	}
}

// settle finishes what is pending before the reader blocks: it submits the batch, sends
// all answers, and waits while too much is queued that only the initiator's pings account
// for.
func (c *conn) settle() error {
	c.submitBatch()
	c.mu.Lock()
	c.corked = false
	if c.control > maxControl {
		c.awaiting++
		for c.control > maxControl && c.writing && !c.broken {
			c.changed.Wait()
		}
		c.awaiting--
	}
	broken := c.broken
	c.flush()
	if broken {
		return errBroken
	}
	return nil
}

// cork leaves the sending of answers to the reader until it settles.
func (c *conn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

var errBroken = errors.New("an earlier write failed")

package target

import (
	"sluice/target/login"
	"sluice/target/pdu"
)

// onCommand takes a SCSI Command with its immediate data (RFC 7143 11.3).
func (c *conn) onCommand(h *pdu.Header, ahs []byte) error {
	var p pdu.SCSICommand
	p.Unmarshal(h)
	seg := c.segment(h)
	if !c.inWindow(h) {
		return c.skip(&seg)
	}
	ext, err := pdu.ParseAHS(ahs)
	if err != nil {
		return c.refuse(h, ahs, &seg, pdu.ReasonInvalidField)
	}
	if p.Immediate {
		c.slowDown(h)
	}
	if reason := c.unfit(&p); reason != 0 {
		return c.refuse(h, ahs, &seg, reason)
	}
	m := c.srv.newCommand(c)
	m.plan(&p, &ext)
	c.enter(m)
	immediate := 0
	if m.data != nil && m.flaw == (sense{}) {
		if immediate, err = c.take(&seg, m.data.b); err != nil {
			return err
		}
	}
	intact, err := c.finish(&seg)
	if err != nil {
		return err
	}
	c.ses.commands.Add(1)
	c.ses.received.Add(uint64(immediate))
	if !intact {
		c.withdraw(m)
		return c.reject(h, ahs, pdu.ReasonDataDigest)
	}
	return c.arrive(request{h: *h, command: m})
}

// unfit tells why a command cannot become a task, or 0.
func (c *conn) unfit(p *pdu.SCSICommand) pdu.RejectReason {
	c.mu.Lock()
	_, taken := c.tasks[p.ITT]
	n := len(c.tasks)
	c.mu.Unlock()
	switch {
	case c.ses.target == nil: // a discovery session
		return pdu.ReasonProtocolError
	case p.ITT == pdu.NoTag:
		return pdu.ReasonInvalidField
	case taken:
		return pdu.ReasonTaskInProgress
	case n >= 2*c.srv.limits.CommandWindow: // the window holds back all but immediate ones
		return pdu.ReasonTooManyImmediate
	}
	return 0
}

// plan works out what a command will need, and what is wrong with how it came.
func (m *command) plan(p *pdu.SCSICommand, ext *pdu.AHS) {
	c := m.c
	params := c.params.Load()
	n := 16 + copy(m.cdb[16:], ext.CDB)
	copy(m.cdb[:], p.CDB[:])
	m.CDB = m.cdb[:n]
	m.Nexus, m.LUN, m.Tag = c.ses.nexus, p.LUN, uint64(p.ITT)
	m.lu = c.ses.target.unit(p.LUN)
	m.itt, m.read, m.write, m.sequenced = p.ITT, p.Read, p.Write, !p.Immediate
	if p.Read || p.Write {
		m.expected = int64(p.ExpectedLength)
	}
	data := int(p.DataLength)
	unasked := min(int64(params.FirstBurstLength), m.expected) // the most that may come
	m.more = p.Write && !p.Final && int64(data) < unasked
	switch {
	case p.Read && p.Write || ext.HasBidi: // no command that we know is bidirectional
		m.flaw = senseInvalidField
	case data > 0 && (!p.Write || !params.ImmediateData):
		m.flaw = senseUnexpectedData
	case int64(data) > unasked:
		m.flaw = senseWrongAmount
	case p.Write && !p.Final && params.InitialR2T && data < int(m.expected):
		m.flaw = senseUnexpectedData
	case p.Read:
		m.InMax = int(m.expected)
	case p.Write:
		m.OutMax = m.expected
		m.taken = max(m.lu.OutLength(m.CDB), 0)
		want := min(m.expected, m.taken)
		if want > int64(c.srv.limits.MaxTransfer) {
			m.flaw = senseInvalidField
			return
		}
		m.want, m.next = int(want), data
	}
}

// enter makes a task of a command and gives a write the memory that it needs at once. The
// command is pinned.
func (c *conn) enter(m *command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pin(m)
	c.tasks[m.itt] = m
	n := m.want
	if n > smallTransfer && (len(c.waiting) > 0 || !c.fits(n)) {
		// What comes unasked must go somewhere; for the rest, the command will wait.
		n = 0
		if m.next > 0 || m.more {
			n = min(m.want, c.params.Load().FirstBurstLength)
		}
	}
	if n > 0 {
		c.grant(m, n)
		m.data = c.srv.buffers.get(n)
	}
}

// withdraw undoes enter.
func (c *conn) withdraw(m *command) {
	c.mu.Lock()
	m.aborted, m.sequenced = true, false
	c.letOff(m)
	c.flush()
}

// deliverCommand goes on with a command whose turn has come and whose immediate data is
// there.
func (c *conn) deliverCommand(m *command) {
	c.mu.Lock()
	if m.kept {
		m.kept = false
		if m.stage == ended {
			c.mu.Unlock()
			return // it was held back, and aborted meanwhile
		}
		c.pin(m)
	}
	m.arrived = true
	if !m.aborted {
		c.proceed(m)
	}
	c.letOff(m)
	c.flush()
}

// proceed takes a command as far as it gets: to an error, to R2Ts, to a place in the queue
// for memory, or to the reader's batch. conn.mu is held, by the reader.
func (c *conn) proceed(m *command) {
	switch {
	case !m.arrived:
	case m.flaw != sense{}:
		m.fail(m.flaw)
	case m.more:
	case m.next < m.want:
		if c.reserve(m, m.want) {
			c.solicit(m)
		}
	case m.InMax > smallTransfer && !c.reserve(m, m.needs()):
	default:
		if m.want > 0 {
			m.Out = m.data.b[:m.want]
		}
		m.stage = batched
		c.batched = append(c.batched, m)
	}
}

// solicit asks for data-out, as much as the initiator allows at once (RFC 7143 11.8).
// conn.mu is held.
func (c *conn) solicit(m *command) {
	if m.data == nil || len(m.data.b) < m.want {
		small := m.data
		m.data = c.srv.buffers.get(m.want)
		if small != nil {
			copy(m.data.b, small.b[:m.next])
			c.srv.buffers.put(small)
		}
	}
	params := c.params.Load()
	m.solicited = max(m.solicited, m.next)
	for len(m.bursts) < params.MaxOutstandingR2T && m.solicited < m.want {
		n := min(m.want-m.solicited, params.MaxBurstLength)
		ttt := c.newTTT()
		m.bursts = append(m.bursts, burst{ttt: ttt, end: m.solicited + n})
		r := pdu.R2T{LUN: m.LUN, ITT: m.itt, TTT: ttt, R2TSN: m.r2tSN, Offset: uint32(m.solicited), Length: uint32(n)}
		m.r2tSN++
		m.solicited += n
		ctl := c.srv.newControl()
		r.Marshal(&ctl.h)
		c.queue = append(c.queue, reply{control: ctl})
	}
}

// onDataOut takes data of a write (RFC 7143 11.7).
func (c *conn) onDataOut(h *pdu.Header) error {
	var d pdu.DataOut
	d.Unmarshal(h)
	seg := c.segment(h)
	c.mu.Lock()
	m := c.tasks[d.ITT]
	if m == nil || m.aborted || m.stage != receiving || !m.expects(&d) {
		late := m != nil && m.aborted || m == nil && c.isGhost(d.ITT)
		c.mu.Unlock()
		if late {
			return c.skip(&seg)
		}
		return c.refuse(h, nil, &seg, pdu.ReasonInvalidField)
	}
	fits := m.fits(&d, c.params.Load())
	var dst []byte
	if from := min(m.next, m.want); fits && m.data != nil {
		dst = m.data.b[min(from, len(m.data.b)):min(from+int(d.DataLength), m.want, len(m.data.b))]
	}
	c.pin(m)
	c.mu.Unlock()
	n, err := c.take(&seg, dst)
	if err != nil {
		return err
	}
	intact, err := c.finish(&seg)
	if err != nil {
		return err
	}
	c.ses.received.Add(uint64(n))
	if !intact {
		if err := c.reject(h, nil, pdu.ReasonDataDigest); err != nil {
			return err
		}
	}
	c.mu.Lock()
	switch {
	case m.aborted || m.stage != receiving:
	case !intact:
		m.fail(senseDigest)
	case !fits:
		m.fail(senseWrongAmount)
	default:
		m.received(&d)
		c.proceed(m)
	}
	c.letOff(m)
	c.flush()
	return nil
}

// expects tells whether a Data-Out belongs to a sequence that is open.
func (m *command) expects(d *pdu.DataOut) bool {
	if d.TTT == pdu.NoTag {
		return m.more
	}
	return len(m.bursts) > 0 && m.bursts[0].ttt == d.TTT
}

// fits tells whether a Data-Out is the next one of its sequence, and within it.
func (m *command) fits(d *pdu.DataOut, params *login.Params) bool {
	if int64(d.Offset) != int64(m.next) {
		return false
	}
	end := m.next + int(d.DataLength)
	if d.TTT == pdu.NoTag {
		limit := int(min(int64(params.FirstBurstLength), m.expected))
		return d.DataSN == m.dataSN && end <= limit && (d.Final || end < limit)
	}
	b := &m.bursts[0]
	return d.DataSN == b.dataSN && end <= b.end && d.Final == (end == b.end)
}

// received notes a Data-Out that fits.
func (m *command) received(d *pdu.DataOut) {
	m.next += int(d.DataLength)
	if d.TTT == pdu.NoTag {
		m.dataSN++
		m.more = !d.Final
		return
	}
	b := &m.bursts[0]
	b.dataSN++
	if d.Final {
		m.bursts = append(m.bursts[:0], m.bursts[1:]...)
	}
}

package target

import (
	"encoding/hex"

	"sluice/target/pdu"
	"sluice/target/scsi"
)

// stage is how far a command has come. It is protected by conn.mu.
type stage uint8

const (
	receiving stage = iota // data-out is to come, or other commands before it
	waiting                // for memory
	batched                // complete, and about to be submitted
	submitted              // with the logical unit
	ended                  // not in conn.tasks any more
)

// command is a SCSI command in flight. It is pooled. It is its own scsi.Transport, which
// gives the logical unit the way back from the command to the connection.
type command struct {
	scsi.Command
	task
	c    *conn
	cdb  [pdu.MaxCDB]byte
	room [512]byte // for small data-in
	sns  [64]byte  // for sense
}

// task is what changes from one use of a command to the next.
type task struct {
	lu        scsi.LogicalUnit
	itt       uint32
	read      bool
	write     bool
	sequenced bool  // it counts for the command window
	expected  int64 // expected data transfer length in bytes; 0 if neither read nor write
	taken     int64 // what the CDB itself asks to send, in bytes (LogicalUnit.OutLength)
	want      int   // bytes of data-out to take: Out in the end; min(expected, taken)

	// Protected by conn.mu, except for the bytes in data, which are the reader's until all
	// have come.
	data      *buffer // where data-out goes; smaller than want until memory is granted
	next      int     // buffer offset at which the next data must begin
	arrived   bool    // its CmdSN's turn has come
	more      bool    // unsolicited Data-Out is to come
	dataSN    pdu.SN  // of that
	bursts    []burst // R2Ts that have not been answered in full, in order
	solicited int     // bytes asked for, those that came unasked included
	r2tSN     pdu.SN  // of the next R2T; in the end how many they were
	flaw      sense   // what to answer without asking the logical unit, if set

	stage   stage
	aborted bool
	pins    int             // who uses the command and would not survive its recycling
	reports []*taskFunction // that wait for its end
	kept    bool            // conn.held refers to it, so it must not be recycled

	// The logical unit's side.
	lent     []*buffer // by Buffer
	lentSize int       // bytes of these
	reserved int       // bytes of conn.memory that are taken for the command
}

// burst is a sequence of Data-Out PDUs that an R2T has asked for, up to buffer offset end.
type burst struct {
	ttt    uint32
	dataSN pdu.SN // of the next one
	end    int
}

// Sense data that the transport itself makes, all with sense key ABORTED COMMAND or
// ILLEGAL REQUEST (RFC 7143 11.4.7.2, SPC-4 4.5.6).
var (
	senseUnexpectedData = sense{0x0b, 0x0c, 0x0c} // unexpected unsolicited data
	senseWrongAmount    = sense{0x0b, 0x0c, 0x0d} // incorrect amount of data
	senseDigest         = sense{0x0b, 0x47, 0x05} // protocol service CRC error
	senseInvalidField   = sense{0x05, 0x24, 0x00} // invalid field in CDB
)

// sense is a sense key with its additional code and qualifier.
type sense struct{ key, asc, ascq byte }

// appendTo appends fixed format sense data (SPC-4 4.5.3).
func (s sense) appendTo(b []byte) []byte {
	return append(b, 0x70, 0, s.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, s.asc, s.ascq, 0, 0, 0, 0)
}

func (s *Server) newCommand(c *conn) *command {
	m, ok := s.commands.Get().(*command)
	if !ok {
		m = new(command)
	}
	m.c = c
	m.Sense, m.In = m.sns[:0], m.room[:0]
	m.Bind(m)
	return m
}

// pdu is the command's header in hexadecimal, for the log: its numbers in the sequence are
// not kept. conn.mu is held.
func (m *command) pdu() string {
	p := pdu.SCSICommand{Final: true, Read: m.read, Write: m.write, LUN: m.LUN, ITT: m.itt, ExpectedLength: uint32(m.expected)}
	copy(p.CDB[:], m.CDB)
	var h pdu.Header
	p.Marshal(&h)
	return hex.EncodeToString(h[:])
}

// recycle returns a command and its buffers to the pools.
func (m *command) recycle() {
	c := m.c
	c.srv.buffers.put(m.data)
	for i, b := range m.lent {
		c.srv.buffers.put(b)
		m.lent[i] = nil
	}
	c.account(-m.reserved)
	if m.kept {
		return
	}
	m.task = task{lent: m.lent[:0], bursts: m.bursts[:0], reports: m.reports[:0]}
	m.c = nil
	c.srv.commands.Put(m)
}

// Buffer implements scsi.Transport.
func (m *command) Buffer(_ *scsi.Command, n int) []byte {
	b := m.c.srv.buffers.get(n)
	m.lent = append(m.lent, b)
	m.lentSize += n
	if over := m.lentSize - m.reserved; over > 0 {
		m.reserved += over
		m.c.account(over)
	}
	return b.b
}

// Done implements scsi.Transport.
func (m *command) Done(*scsi.Command) {
	c := m.c
	c.mu.Lock()
	m.complete()
	c.flush()
}

// complete hands a command over to the writer, or ends it if it was aborted. conn.mu is
// held.
func (m *command) complete() {
	c := m.c
	if m.stage == ended {
		return // its session is breaking down; see conn.survive
	}
	if m.aborted {
		m.stage = receiving // nobody but its pins holds it any more
		c.bury(m)
		return
	}
	c.end(m)
	c.queue = append(c.queue, reply{command: m})
	c.queued += len(m.In)
}

// fail completes a command of the reader's with sense data of our own. Data-Out that is
// still to come for it will be swallowed. conn.mu is held.
func (m *command) fail(s sense) {
	m.Status, m.Sense, m.In = scsi.CheckCondition, s.appendTo(m.sns[:0]), nil
	if m.more || len(m.bursts) > 0 {
		m.c.haunt(m.itt)
	}
	m.complete()
}

// end takes a command out of the table. conn.mu is held.
func (c *conn) end(m *command) {
	m.stage = ended
	delete(c.tasks, m.itt)
	if m.sequenced {
		c.finished.Add(1)
	}
	for i, f := range m.reports {
		m.reports[i] = nil
		f.taskEnded()
	}
	if c.awaiting > 0 {
		c.changed.Broadcast()
	}
}

// bury ends a command that was aborted, if nobody uses it any more. conn.mu is held.
func (c *conn) bury(m *command) {
	if m.stage == batched || m.stage == submitted || m.stage == ended || m.pins > 0 {
		return
	}
	if m.stage == waiting {
		c.forgetWaiting(m)
	}
	if m.more || len(m.bursts) > 0 {
		c.haunt(m.itt)
	}
	c.end(m)
	m.recycle()
	c.wake()
}

// unpin undoes a pin. conn.mu is held.
func (c *conn) unpin(m *command) {
	if m.pins--; m.pins == 0 && m.aborted {
		c.bury(m)
	}
}

// pin keeps the command that the reader works on from being recycled; letOff undoes it.
// conn.mu is held.
func (c *conn) pin(m *command) {
	m.pins++
	c.pinned = m
}

func (c *conn) letOff(m *command) {
	c.pinned = nil
	c.unpin(m)
}

// haunt remembers a task tag for which Data-Out may still come.
func (c *conn) haunt(itt uint32) {
	c.ghosts[c.ghost] = itt
	c.ghost = (c.ghost + 1) % len(c.ghosts)
}

func (c *conn) isGhost(itt uint32) bool {
	for _, g := range c.ghosts {
		if g == itt && itt != pdu.NoTag {
			return true
		}
	}
	return false
}

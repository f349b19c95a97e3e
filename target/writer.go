package target

import (
	"fmt"
	"net"
	"runtime/debug"

	"sluice/target/login"
	"sluice/target/pdu"
)

const (
	// maxControl is how much data of NOP-In, Text Response and Reject may be queued before
	// nothing more is read, in bytes.
	maxControl = 1 << 20
	// maxInline is how much the reader sends by itself, in bytes; for more it starts a
	// writer, so that it can go on reading.
	maxInline = 256 << 10
	// eager is how much data-in ends the cork before its batch is done: a writer sends it
	// while the reader reads on, and while it is still in the CPU's cache.
	eager = 128 << 10
)

// reply is what is queued to be sent: the answer to a command, or another PDU.
type reply struct {
	command *command
	control *control
}

// control is a PDU that is not the answer to a command.
type control struct {
	h      pdu.Header // but for the counters
	data   []byte
	status bool // it takes a StatSN
	sent   func()
}

func (s *Server) newControl() *control {
	if ctl, ok := s.controls.Get().(*control); ok {
		return ctl
	}
	return new(control)
}

func (s *Server) freeControl(ctl *control) {
	*ctl = control{}
	s.controls.Put(ctl)
}

// push queues a PDU. conn.mu is held.
func (c *conn) push(ctl *control) {
	c.control += pdu.HeaderLen + len(ctl.data)
	c.queue = append(c.queue, reply{control: ctl})
}

// enqueue queues a PDU and sends it, unless the reader will.
func (c *conn) enqueue(ctl *control) {
	c.mu.Lock()
	c.push(ctl)
	c.flush()
}

// flush unlocks conn.mu after having sent the queue, unless somebody else is at it or the
// reader will do so when its batch is done.
func (c *conn) flush() {
	if c.writing || len(c.queue) == 0 || c.corked && c.queued < eager {
		c.mu.Unlock()
		return
	}
	c.writing = true
	if c.corked || c.queued > maxInline {
		c.srv.running.Go(func() {
			c.mu.Lock()
			c.drain()
		})
		c.mu.Unlock()
		return
	}
	c.drain()
}

// drain has the writer's role: it sends what is queued until nothing is. It unlocks
// conn.mu.
func (c *conn) drain() {
	defer func() {
		if p := recover(); p != nil { // outside of the lock: the send was at fault
			c.log.Error("panic while sending: the session ends", "panic", p, "stack", string(debug.Stack()))
			c.kill(fmt.Errorf("panic: %v", p))
			c.mu.Lock()
			c.broken, c.writing = true, false
			c.changed.Broadcast()
			c.mu.Unlock()
		}
	}()
	for len(c.queue) > 0 {
		todo := c.queue
		c.queue, c.spare = c.spare[:0], nil
		broken, inFlight := c.broken, len(c.tasks)
		c.control, c.queued = 0, 0
		c.mu.Unlock()
		var err error
		if !broken {
			err = c.send(todo, inFlight)
		}
		c.retire(todo)
		if err != nil {
			c.kill(fmt.Errorf("send: %w", err))
		}
		c.mu.Lock()
		c.spare = todo[:0]
		c.broken = c.broken || err != nil
		c.wake()
		if c.awaiting > 0 {
			c.changed.Broadcast()
		}
	}
	c.writing = false
	if c.awaiting > 0 {
		c.changed.Broadcast()
	}
	c.mu.Unlock()
}

// retire frees what was sent.
func (c *conn) retire(todo []reply) {
	for i, r := range todo {
		if r.command != nil {
			r.command.recycle()
		} else {
			if r.control.sent != nil {
				r.control.sent()
			}
			c.srv.freeControl(r.control)
		}
		todo[i] = reply{}
	}
}

// send puts PDUs on the wire.
func (c *conn) send(todo []reply, inFlight int) error {
	params := c.params.Load()
	if !c.pressed(inFlight) {
		c.openWindow()
	}
	for _, r := range todo {
		var err error
		if r.command != nil {
			err = c.sendAnswer(r.command, params)
		} else {
			err = c.sendControl(r.control, params)
		}
		if err != nil {
			return err
		}
	}
	return c.writeOut()
}

// openWindow lets the initiator send a request for each one that has ended.
func (c *conn) openWindow() {
	c.maxCmdSN.Store(uint32(c.firstCmdSN) + c.finished.Load() + uint32(c.srv.limits.CommandWindow) - 1)
}

// counters are those of the next PDU; status tells whether it takes a StatSN.
func (c *conn) counters(status bool) pdu.Counters {
	n := pdu.Counters{StatSN: c.statSN, ExpCmdSN: pdu.SN(c.expCmdSN.Load()), MaxCmdSN: pdu.SN(c.maxCmdSN.Load())}
	if status {
		c.statSN++
	}
	return n
}

func (c *conn) sendControl(ctl *control, params *login.Params) error {
	h, err := c.startPDU(len(ctl.data))
	if err != nil {
		return err
	}
	*h = ctl.h
	h.PutCounters(c.counters(ctl.status))
	c.finishPDU(h, ctl.data, params)
	return nil
}

// startPDU returns the place of a header, which is to be filled before finishPDU.
func (c *conn) startPDU(data int) (*pdu.Header, error) {
	if !c.out.room(data) {
		if err := c.writeOut(); err != nil {
			return nil, err
		}
	}
	return (*pdu.Header)(c.out.place(pdu.HeaderLen)), nil
}

// finishPDU adds the digests and the data, which must not change until they are sent.
func (c *conn) finishPDU(h *pdu.Header, data []byte, params *login.Params) {
	if params.HeaderDigest {
		pdu.PutDigest(c.out.place(pdu.DigestLen), pdu.HeaderDigest(h, nil))
	}
	if len(data) == 0 {
		return
	}
	c.out.data(data)
	if pad := pdu.Padding(len(data)); pad > 0 {
		clear(c.out.place(pad))
	}
	if params.DataDigest {
		pdu.PutDigest(c.out.place(pdu.DigestLen), pdu.DataDigest(data))
	}
}

// writeOut writes what is gathered, in one system call if the socket takes it.
func (c *conn) writeOut() error {
	if len(c.out.iov) == 0 {
		return nil
	}
	c.writes.Add(1)
	var err error
	if len(c.out.iov) == 1 {
		_, err = c.net.Write(c.out.iov[0])
	} else {
		c.out.vec = net.Buffers(c.out.iov)
		_, err = c.out.vec.WriteTo(c.net)
	}
	c.writes.Add(1)
	c.out.reset()
	return err
}

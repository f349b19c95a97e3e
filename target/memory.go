package target

import "slices"

// Memory of a session: small transfers take what they need, and are bounded by the command
// window; large ones wait for each other in conn.waiting while more is in use than
// Limits.SessionMemory. One is always let through, so that all get their turn.

// reserve takes n bytes for a command, or makes it wait. conn.mu is held.
func (c *conn) reserve(m *command, n int) bool {
	n -= m.reserved
	if n > smallTransfer && (len(c.waiting) > 0 || !c.fits(n)) {
		m.stage = waiting
		c.waiting = append(c.waiting, m)
		return false
	}
	c.grant(m, n)
	return true
}

func (c *conn) grant(m *command, n int) {
	if n > 0 {
		m.reserved += n
		c.memory.Add(int64(n))
	}
}

func (c *conn) fits(n int) bool {
	used := c.memory.Load()
	return used == 0 || used+int64(n) <= int64(c.srv.limits.SessionMemory)
}

// wake lets commands go on for which there is memory now; whoever gives memory back calls
// it. conn.mu is held.
func (c *conn) wake() {
	for len(c.waiting) > 0 {
		m := c.waiting[0]
		n := m.needs() - m.reserved
		if !c.fits(n) && len(c.tasks) > len(c.waiting) {
			return // somebody else will give memory back
		}
		c.waiting = slices.Delete(c.waiting, 0, 1)
		c.grant(m, n)
		m.stage = receiving
		m.pins++
		c.later(m)
	}
}

// needs is how much memory a command asks for, in bytes.
func (m *command) needs() int {
	if m.write {
		return m.want
	}
	return min(m.InMax, m.c.srv.limits.MaxTransfer)
}

func (c *conn) forgetWaiting(m *command) {
	if i := slices.Index(c.waiting, m); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
}

// pressed tells whether so much memory is in use that the command window should not move
// on. A few commands in flight are always granted, so that the window opens again.
func (c *conn) pressed(inFlight int) bool {
	return inFlight > 8 && c.memory.Load() > int64(c.srv.limits.SessionMemory)/4*3
}

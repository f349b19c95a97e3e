package target

import "slices"

// Memory of a session: small transfers take what they need, and are bounded by the command
// window; large ones wait for each other in conn.waiting while more is in use than
// Limits.SessionMemory, or than is left of Limits.Memory. So a single session may fill what
// it is allowed to, n greedy ones share Limits.Memory and leave a part (1 of n+1) for the next.
// One transfer of a session is always let through, so that all get their turn.

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
		c.account(n)
	}
}

// account notes that n bytes more (or less) are in use.
func (c *conn) account(n int) {
	if n == 0 {
		return
	}
	c.memory.Add(int64(n))
	c.srv.memory.Add(int64(n))
}

// share is how many bytes the session may use now.
func (c *conn) share() int64 {
	l := &c.srv.limits
	return min(int64(l.SessionMemory), int64(l.Memory)-c.srv.memory.Load())
}

func (c *conn) fits(n int) bool {
	used := c.memory.Load()
	return used == 0 || used+int64(n) <= c.share()
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
	return inFlight > 8 && c.memory.Load() > c.share()/4*3
}

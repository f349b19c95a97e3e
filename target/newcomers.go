package target

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// newcomers are the connections that have not logged in, by address, each list in the
// order of their coming. A connection that was refused stays among them until it is closed.
//
// When there is no room for another, the one that has been there for longest makes room. A
// login takes milliseconds, so that whoever means it gets through, while somebody who
// opens connections to let them lie only pushes out his own. Refusing the newest instead
// would let him keep everybody else out of his address by renewing what times out.
type newcomers map[string][]*conn

func (n newcomers) add(c *conn) { n[c.host] = append(n[c.host], c) }

func (n newcomers) remove(c *conn) {
	all := n[c.host]
	if i := slices.Index(all, c); i >= 0 {
		all = slices.Delete(all, i, i+1)
	}
	if len(all) == 0 {
		delete(n, c.host)
		return
	}
	n[c.host] = all
}

// oldest returns the connection that has been there for longest, of those from host.
func (n newcomers) oldest(host string) *conn {
	if all := n[host]; len(all) > 0 {
		return all[0]
	}
	return nil
}

// crowd returns the address with the most connections.
func (n newcomers) crowd() (host string) {
	for h, all := range n {
		if len(all) > len(n[host]) {
			host = h
		}
	}
	return host
}

// enter counts a connection as not logged in. If there are too many of its address, or
// altogether, the oldest that has not logged in is returned, to be killed: of its address,
// or of the one with the most. It is an error if there is none, since all have logged in.
func (s *Server) enter(c *conn) (evicted *conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return nil, ErrClosed
	case len(s.newcomers[c.host]) >= s.limits.PendingPerIP:
		evicted = s.newcomers.oldest(c.host)
	case len(s.conns) >= s.limits.Connections:
		if evicted = s.newcomers.oldest(s.newcomers.crowd()); evicted == nil {
			return nil, fmt.Errorf("%d connections are open", len(s.conns))
		}
	}
	if evicted != nil {
		s.forget(evicted)
	}
	s.conns[c] = struct{}{}
	c.isPending = true
	s.newcomers.add(c)
	return evicted, nil
}

// loggedIn stops counting a connection as not logged in. It is an error if the connection
// had to make room for another.
func (s *Server) loggedIn(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.isPending {
		return errCrowded
	}
	c.isPending = false
	s.newcomers.remove(c)
	return nil
}

// leave forgets a connection.
func (s *Server) leave(c *conn) {
	s.memory.Add(-c.memory.Swap(0)) // of commands that were lost in a panic
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(c)
}

// forget is leave with Server.mu held.
func (s *Server) forget(c *conn) {
	delete(s.conns, c)
	if c.isPending {
		c.isPending = false
		s.newcomers.remove(c)
	}
}

// hostOf returns the address of a peer without its port; of an IPv6 address the first 64
// bits, which is what one host has to itself.
func hostOf(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	ip := ap.Addr().Unmap()
	if ip.Is6() && !ip.IsLoopback() {
		if net64, err := ip.WithZone("").Prefix(64); err == nil {
			return net64.String()
		}
	}
	return ip.String()
}

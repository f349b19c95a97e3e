package sessions

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Path is a TCP connection between an initiator and a portal that can be cut. A cut is
// silent: nothing is closed, and nothing passes, the end of a connection included. What one
// side has sent before the end of a cut arrives when it is mended, unless that side has
// closed the connection meanwhile: then it is lost, and the other side is never told.
type Path struct {
	Port int // of 127.0.0.1

	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex // protects the rest
	portal string
	cut    chan struct{} // closed when the cut is mended; nil: there is none
	conns  map[net.Conn]struct{}
}

// maxPending bounds what a Path holds back in one direction, in bytes; then it stops reading.
const maxPending = 16 << 20

// NewPath makes a path to a portal, which ends with the test.
func NewPath(t testing.TB, portal string) *Path {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("opening a path to %s: %v", portal, err)
	}
	p := &Path{Port: l.Addr().(*net.TCPAddr).Port, listener: l, portal: portal, conns: map[net.Conn]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Address is where initiators connect, HOST:PORT.
func (p *Path) Address() string { return p.listener.Addr().String() }

// Cut cuts the path, until Mend.
func (p *Path) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil {
		p.cut = make(chan struct{})
	}
}

// Mend ends a cut.
func (p *Path) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut != nil {
		close(p.cut)
		p.cut = nil
	}
}

// Move has the path lead to another portal, as an address does that moves to another machine: what was connected is cut off.
func (p *Path) Move(portal string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.portal = portal
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Path) leads() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.portal
}

// mended returns a channel that is closed when the cut is mended, or nil if there is none.
func (p *Path) mended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

func (p *Path) close() {
	_ = p.listener.Close()
	p.Mend()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.running.Wait()
}

// keep enters a connection, to be closed with the path, and tells whether that is open.
func (p *Path) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Path) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.join(near) })
	}
}

// join connects an initiator with the portal, when there is no cut. One that has given up by
// then has never been there.
func (p *Path) join(near net.Conn) {
	if !p.keep(near) {
		return
	}
	said := p.hear(near)
	if p.held(said) {
		return
	}
	far, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.leads())
	if err != nil {
		_ = near.Close()
		said.forget()
		return
	}
	if !p.keep(far) {
		said.forget()
		return
	}
	p.running.Go(func() { p.pass(said, near, far) })
	p.pass(p.hear(far), far, near)
}

// speech is what one side of a connection says.
type speech struct {
	chunks chan []byte
	ended  chan struct{} // closed at its end
}

// forget lets the goroutine of hear end.
func (s *speech) forget() {
	for range s.chunks {
	}
}

func (p *Path) hear(c net.Conn) *speech {
	const size = 64 << 10
	s := &speech{make(chan []byte, maxPending/size), make(chan struct{})}
	p.running.Go(func() {
		defer close(s.chunks)
		for {
			chunk := make([]byte, size)
			n, err := c.Read(chunk)
			if err != nil {
				close(s.ended)
				return
			}
			s.chunks <- chunk[:n]
		}
	})
	return s
}

// held waits while there is a cut, and tells whether who speaks has fallen silent in it, in
// which case what was not passed on is lost.
func (p *Path) held(s *speech) (lost bool) {
	mended := p.mended()
	if mended == nil {
		return false
	}
	select {
	case <-mended:
		return false
	case <-s.ended:
		<-mended
		s.forget()
		return true
	}
}

// pass passes on what src says until it ends.
func (p *Path) pass(said *speech, src, dst net.Conn) {
	for chunk := range said.chunks {
		if p.held(said) {
			return // dst is not told
		}
		if _, err := dst.Write(chunk); err != nil {
			break
		}
	}
	if p.mended() == nil { // else dst is not told
		_, _ = src.Close(), dst.Close()
	}
	said.forget()
}

package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Listen opens a portal at a TCP address ("127.0.0.1:3260") and serves it in the
// background until Shutdown. It returns the address that is listened on.
func (s *Server) Listen(ctx context.Context, address string) (net.Addr, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("open portal: %w", err)
	}
	if !s.addListener(l) {
		return nil, errors.Join(fmt.Errorf("open portal %s: %w", address, ErrClosed), l.Close())
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer s.running.Done()
		if err := s.accept(ctx, l); err != nil {
			s.log.Error("portal failed", "portal", l.Addr(), "err", err)
		}
	}()
	return l.Addr(), nil
}

// Serve accepts initiators from l until Shutdown, which closes l and makes it return
// ErrClosed, or until accepting fails for good. The end of ctx cancels the commands of all
// of its connections; to stop in good order, use Shutdown.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !s.addListener(l) {
		return errors.Join(ErrClosed, l.Close())
	}
	defer s.running.Done()
	if err := s.accept(ctx, l); err != nil {
		return fmt.Errorf("accept initiators: %w", err)
	}
	return ErrClosed
}

// addListener enters a portal, whose accept loop is counted in Server.running from now on.
func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	s.running.Add(1)
	return true
}

// accept returns nil once the server is closing.
func (s *Server) accept(ctx context.Context, l net.Listener) error {
	pause := time.Duration(0)
	var pace bucket
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.start(ctx, nc)
			time.Sleep(pace.add(time.Now(), 1, s.limits.AcceptRate, acceptBurst))
			continue
		}
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		var temporary interface{ Temporary() bool }
		switch {
		case closing:
			return nil
		case errors.As(err, &temporary) && temporary.Temporary(): // out of file descriptors, for instance
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("cannot accept an initiator", "err", err, "retry_in", pause)
			time.Sleep(pause)
		default:
			return err
		}
	}
}

// start serves a connection in a goroutine of its own, unless there are too many.
func (s *Server) start(ctx context.Context, nc net.Conn) {
	c := newConn(s, nc)
	evicted, err := s.enter(c)
	if evicted != nil {
		evicted.kill(errCrowded)
	}
	if err != nil {
		s.log.Warn("connection refused", "remote", nc.RemoteAddr(), "err", err)
		_ = nc.Close() // nothing was said yet
		return
	}
	s.running.Go(func() { c.run(ctx) })
}

// Shutdown stops the server: it closes the portals, asks all initiators to log out
// (RFC 7143 11.9.1), waits for that until ctx ends, and then tells those that are left that
// they are disconnected. When it returns, no command is running; unless ctx ended first, all
// have been answered. It returns the error of ctx in the other case. With a ctx that has
// ended already it closes everything at once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close() // accept tells of failures
	}
	var strangers []*conn // that have not logged in
	for c := range s.conns {
		if c.isPending {
			strangers = append(strangers, c)
		}
	}
	s.mu.Unlock()
	for _, c := range strangers {
		c.kill(errShutdown)
	}
	within := 10 * time.Second
	if end, ok := ctx.Deadline(); ok {
		within = time.Until(end)
	}
	asked := ctx.Err() == nil
	for _, ses := range s.sessionsOf("") {
		if asked {
			s.running.Go(func() { ses.conn.Load().askForLogout(within) })
		}
	}
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	for _, ses := range s.sessionsOf("") {
		if asked {
			ses.dismiss(errShutdown)
		} else {
			ses.drop(errShutdown)
		}
	}
	<-ended
	return fmt.Errorf("wait for initiators to log out: %w", ctx.Err())
}

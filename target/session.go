package target

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

// Reasons for which the target itself closes a connection.
var (
	errDropped    = errors.New("the session was closed by the administrator")
	errRemoved    = errors.New("the target was removed")
	errShutdown   = errors.New("the server shuts down")
	errReinstated = errors.New("the initiator has logged in again")
	errColdReset  = errors.New("the target was reset")
	errCrowded    = errors.New("it made room for a newer connection, not having logged in")
	errDoomed     = errors.New("the connection is being closed")
	errSilent     = errors.New("the initiator does not answer")
	errStuck      = errors.New("the initiator does not take what it is sent")
	errLoggedOut  = errors.New("the initiator has logged out")
	errProtocol   = errors.New("protocol error")
)

// session is an iSCSI session (RFC 7143 4.4), which has one connection. The session of a
// discovery has no target.
type session struct {
	srv       *Server
	tsih      uint16
	initiator string
	target    *target
	nexus     *scsi.Nexus
	since     time.Time
	gone      chan struct{} // closed when all is over and the logical units know

	conn     atomic.Pointer[conn]
	handover bool // protected by Server.mu: the end of conn is not the end of the session
	over     bool // protected by Server.mu: it is being ended
	dropped  bool // protected by Server.mu: no other connection may take the session over

	commands, received, sent atomic.Uint64 // of all connections: SCSI commands, bytes of data
}

// SessionInfo describes a session that is logged in.
type SessionInfo struct {
	TSIH           uint16 // session handle
	ISID           [6]byte
	Target         string // empty in a discovery session
	Initiator      string
	InitiatorAlias string
	Remote, Local  string // addresses of the connection
	Since          time.Time
	User           string          // that CHAP has authenticated, or ""
	Algorithm      login.Algorithm // that CHAP used, or 0
	Mutual         bool            // CHAP in both directions
	HeaderDigest   bool
	DataDigest     bool
	Commands       uint64 // SCSI commands received
	BytesReceived  uint64 // of data-out
	BytesSent      uint64 // of data-in
}

func (ses *session) targetName() string {
	if ses.target == nil {
		return ""
	}
	return ses.target.Name
}

func (ses *session) info() SessionInfo {
	c := ses.conn.Load()
	p := c.params.Load()
	return SessionInfo{
		TSIH: ses.tsih, ISID: ses.nexus.ISID,
		Target: ses.targetName(), Initiator: ses.initiator, InitiatorAlias: p.InitiatorAlias,
		Remote: c.net.RemoteAddr().String(), Local: c.net.LocalAddr().String(), Since: ses.since,
		User: p.User, Algorithm: p.Algorithm, Mutual: p.Mutual,
		HeaderDigest: p.HeaderDigest, DataDigest: p.DataDigest,
		Commands: ses.commands.Load(), BytesReceived: ses.received.Load(), BytesSent: ses.sent.Load(),
	}
}

// drop closes the session for a reason of the target's; it ends soon.
func (ses *session) drop(reason error) { ses.last().kill(reason) }

// dismiss does so politely: see conn.dismiss.
func (ses *session) dismiss(reason error) { ses.last().dismiss(reason) }

// last returns the connection of the session, and sees to it that no other takes its place.
func (ses *session) last() *conn {
	ses.srv.mu.Lock()
	defer ses.srv.mu.Unlock()
	ses.dropped = true
	return ses.conn.Load()
}

// open makes the session of a connection whose login has succeeded, or gives it the
// session that it reinstates. Before it returns, all commands of a session or connection
// that is replaced have ended, so that none of them can overwrite what comes now.
func (s *Server) open(ctx context.Context, c *conn, p *login.Params, tsih uint16) (*session, error) {
	if tsih != 0 {
		return s.reinstateConnection(ctx, c, p, tsih)
	}
	for {
		ses, old, err := s.register(c, p)
		if err != nil {
			return nil, err
		}
		if old == nil {
			c.ses = ses // from here on, the end of c ends it
			if ses.target != nil {
				for _, lu := range ses.target.units() {
					lu.Attach(ses.nexus)
				}
			}
			return ses, nil
		}
		old.drop(errReinstated)
		select {
		case <-old.gone:
		case <-ctx.Done():
			return nil, login.Refuse(pdu.LoginUnavailable, "commands of the session that this one replaces do not end: %w", ctx.Err())
		}
	}
}

// register enters a new session, or returns the one that has to end before.
func (s *Server) register(c *conn, p *login.Params) (ses, old *session, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, nil, login.Refuse(pdu.LoginUnavailable, "%w", ErrClosed)
	}
	var t *target
	if !p.Discovery {
		if t = s.targets[p.Target]; t == nil {
			return nil, nil, login.Refuse(pdu.LoginRemoved, "target %s was removed", p.Target)
		}
		for _, other := range s.sessions {
			if other.target == t && other.initiator == p.Initiator && other.nexus.ISID == p.ISID {
				return nil, other, nil
			}
		}
	}
	if len(s.sessions) >= s.limits.Sessions {
		return nil, nil, login.Refuse(pdu.LoginOutOfResources, "%d sessions are open", len(s.sessions))
	}
	ses = &session{
		srv: s, tsih: s.freeTSIH(), initiator: p.Initiator, target: t, since: time.Now(), gone: make(chan struct{}),
		nexus: &scsi.Nexus{Initiator: p.Initiator, ISID: p.ISID, Portal: p.PortalGroup},
	}
	ses.conn.Store(c)
	s.sessions[ses.tsih] = ses
	return ses, nil, nil
}

// freeTSIH returns the next handle that no session has. There always is one, since
// Limits.Sessions is enforced; handles are reused as late as possible.
func (s *Server) freeTSIH() uint16 {
	for {
		s.lastTSIH++
		if _, taken := s.sessions[s.lastTSIH]; !taken && s.lastTSIH != 0 {
			return s.lastTSIH
		}
	}
}

// checkTSIH tells whether a login may join the session of its handle: with one connection
// a session, only in the place of the connection that is there (RFC 7143 6.3.4).
func (s *Server) checkTSIH(initiator, target string, isid [6]byte, tsih, cid uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ses := s.sessions[tsih]
	switch {
	case ses == nil || ses.initiator != initiator || ses.targetName() != target || ses.nexus.ISID != isid:
		return login.Refuse(pdu.LoginNoSession, "session %d does not exist", tsih)
	case ses.handover || ses.conn.Load().params.Load().CID != cid:
		return login.Refuse(pdu.LoginTooManyConnections, "a second connection for session %d", tsih)
	}
	return nil
}

func (s *Server) reinstateConnection(ctx context.Context, c *conn, p *login.Params, tsih uint16) (*session, error) {
	if err := s.checkTSIH(p.Initiator, p.Target, p.ISID, tsih, p.CID); err != nil {
		return nil, err
	}
	s.mu.Lock()
	ses := s.sessions[tsih]
	if ses == nil || ses.handover || ses.dropped {
		s.mu.Unlock()
		return nil, login.Refuse(pdu.LoginNoSession, "session %d has ended", tsih)
	}
	ses.handover = true
	old := ses.conn.Load()
	s.mu.Unlock()
	old.kill(errReinstated)
	var late error
	select {
	case <-old.gone:
	case <-ctx.Done():
		late = login.Refuse(pdu.LoginUnavailable, "commands of the connection that this one replaces do not end: %w", ctx.Err())
	}
	c.firstCmdSN = old.resumeAt(p.CmdSN)
	s.mu.Lock()
	ses.handover = false
	taken := late == nil && !ses.dropped
	if taken {
		ses.conn.Store(c)
	}
	s.mu.Unlock()
	switch {
	case taken:
		return ses, nil
	case late == nil: // its connection is gone, and it was left to us
		s.end(ses, old)
		return nil, login.Refuse(pdu.LoginNoSession, "session %d has ended", tsih)
	}
	select {
	case <-old.gone: // just now, so that nobody else may have ended it
		s.end(ses, old)
	default:
	}
	return nil, late
}

// end ends the session of a connection that is over, once, unless another takes it over.
func (s *Server) end(ses *session, c *conn) {
	s.mu.Lock()
	over := !ses.handover && !ses.over && ses.conn.Load() == c
	ses.over = ses.over || over
	s.mu.Unlock()
	if !over {
		return
	}
	if ses.target != nil {
		for _, lu := range ses.target.units() {
			lu.Detach(ses.nexus)
		}
	}
	s.mu.Lock()
	delete(s.sessions, ses.tsih)
	s.mu.Unlock()
	close(ses.gone)
}

// visible lists the targets that an initiator may see, in the order of their names.
func (s *Server) visible(c *conn, initiator string) []string {
	s.mu.Lock()
	names := make([]string, 0, len(s.targets))
	for name := range s.targets {
		names = append(names, name)
	}
	s.mu.Unlock()
	var seen []string
	for _, name := range names {
		if _, err := s.auth.Authorize(initiator, name, c.net.RemoteAddr()); err == nil {
			seen = append(seen, name)
		}
	}
	return seen
}

// lookup answers login.Config.Lookup for a connection.
func (s *Server) lookup(c *conn, ask login.Ask, tsih uint16) (login.Access, error) {
	var alias string
	if !ask.Discovery {
		s.mu.Lock()
		t := s.targets[ask.Target]
		s.mu.Unlock()
		if t == nil {
			return login.Access{}, login.Refuse(pdu.LoginNotFound, "target %s does not exist", ask.Target)
		}
		alias = t.Alias
	}
	name := ask.Target
	if ask.Discovery {
		name = ""
	}
	access, err := s.auth.Authorize(ask.Initiator, name, c.net.RemoteAddr())
	if err != nil {
		return login.Access{}, fmt.Errorf("authorize %s: %w", ask.Initiator, err)
	}
	if tsih != 0 {
		if err := s.checkTSIH(ask.Initiator, name, ask.ISID, tsih, ask.CID); err != nil {
			return login.Access{}, err
		}
	}
	access.PortalGroup = s.portalGroup
	if access.TargetAlias == "" {
		access.TargetAlias = alias
	}
	return access, nil
}

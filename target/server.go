package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

// ErrClosed is returned when the server has been shut down.
var ErrClosed = errors.New("iSCSI server is shut down")

// Authorizer decides who may log in, and on which terms. It is called concurrently, for
// every login and for every target that a discovery might list, and should not block.
type Authorizer interface {
	// Authorize tells on which terms an initiator that connects from remote may log in to
	// target; for a discovery session, target is empty. Names are normalized
	// (login.NormalizeName). It refuses with an error made by login.Refuse, whose status
	// the initiator is told (LoginForbidden, for one that is not on the list) and whose
	// text is logged; any other error is told as LoginTargetError.
	Authorize(initiator, target string, remote net.Addr) (login.Access, error)
}

// Aborter is a logical unit that can cancel a single command. Abort makes the command
// complete soon, with whatever status; that status is not sent. It may be called for a
// command that has just completed, must not complete the command itself before it
// returns, and must be safe for concurrent use. With a logical unit that is no Aborter,
// single commands are not cancelled: a task management function waits for their end.
type Aborter interface {
	Abort(cmd *scsi.Command)
}

// Clearer is a logical unit that tells a nexus, by a unit attention, that a CLEAR TASK SET
// of another one has ended commands of it. Those are not answered (TAS is 0, SAM-5 5.6), so
// that it could not know otherwise.
type Clearer interface {
	Cleared(nexus *scsi.Nexus)
}

// Options are what a Server needs. Authorizer must be set.
type Options struct {
	Authorizer Authorizer
	Logger     *slog.Logger // by default, nothing is logged
	// Login holds the values to negotiate; its Lookup is not used.
	Login login.Config
	// PortalGroup is the target portal group tag of all portals; default 1.
	PortalGroup uint16
	Limits      Limits
}

// Target is an iSCSI target: a name under which logical units are reached.
type Target struct {
	Name  string // iSCSI name; sessions compare it as login.NormalizeName does
	Alias string // declared to initiators unless empty
	// LUs are the logical units by LUN as on the wire (SAM-5 4.7; see pdu.EncodeLUN). The
	// map must not be changed any more.
	LUs map[uint64]scsi.LogicalUnit
	// Other takes the commands for all other LUNs; by default scsi.Absent. It answers REPORT
	// LUNS and INQUIRY, and refuses the rest (SPC-4 6.6.2, SAM-5 5.11).
	Other scsi.LogicalUnit
}

// Server is an iSCSI target node (RFC 7143 4.2.7). All methods may be called concurrently.
type Server struct {
	auth        Authorizer
	log         *slog.Logger
	login       login.Config
	portalGroup uint16
	limits      Limits

	guesses  guesses
	memory   atomic.Int64 // bytes of buffers in use by the commands of all sessions
	buffers  bufferPool
	commands sync.Pool
	controls sync.Pool
	running  sync.WaitGroup // accept loops, connections, and task management

	mu        sync.Mutex // protects the rest; never taken while a connection's is held
	closing   bool
	listeners map[net.Listener]struct{}
	targets   map[string]*target
	conns     map[*conn]struct{}
	newcomers newcomers // connections that have not logged in
	sessions  map[uint16]*session
	lastTSIH  uint16
}

// target is a Target that has been added.
type target struct{ Target }

// unit returns the logical unit that takes the commands for a LUN.
func (t *target) unit(lun uint64) scsi.LogicalUnit {
	if lu, ok := t.LUs[lun]; ok {
		return lu
	}
	if n, ok := pdu.DecodeLUN(lun); ok { // the same LUN by the other addressing method
		same, _ := pdu.EncodeLUN(n)
		if lu, ok := t.LUs[same]; ok {
			return lu
		}
	}
	return t.Other
}

// units returns all logical units, those that are not addressed by a LUN included.
func (t *target) units() []scsi.LogicalUnit {
	return append(slices.Collect(maps.Values(t.LUs)), t.Other)
}

// New returns a server without portals and targets.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PortalGroup == 0 {
		o.PortalGroup = 1
	}
	return &Server{
		auth:        o.Authorizer,
		log:         slog.New(newQuiet(o.Logger.Handler())),
		login:       o.Login,
		portalGroup: o.PortalGroup,
		limits:      o.Limits.withDefaults(),
		listeners:   make(map[net.Listener]struct{}),
		targets:     make(map[string]*target),
		conns:       make(map[*conn]struct{}),
		newcomers:   make(newcomers),
		sessions:    make(map[uint16]*session),
	}
}

// AddTarget makes a target known to initiators. A name that is malformed or already there
// is an error.
func (s *Server) AddTarget(t Target) error {
	name, err := login.NormalizeName(t.Name)
	if err != nil {
		return fmt.Errorf("add target %q: %w", t.Name, err)
	}
	if t.Other == nil {
		t.Other = scsi.Absent{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return fmt.Errorf("add target %q: %w", t.Name, ErrClosed)
	}
	if _, ok := s.targets[name]; ok {
		return fmt.Errorf("add target %q: it exists", t.Name)
	}
	t.Name = name
	s.targets[name] = &target{t}
	return nil
}

// RemoveTarget hides a target, asks its initiators to log out, gives them Limits.LogoutTime
// for that, closes the sessions that are left, and waits until all of their commands have
// ended, or ctx has. It is an error if there is no such target.
func (s *Server) RemoveTarget(ctx context.Context, name string) error {
	name, err := login.NormalizeName(name)
	if err != nil {
		return fmt.Errorf("remove target: %w", err)
	}
	s.mu.Lock()
	_, ok := s.targets[name]
	delete(s.targets, name)
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("remove target %q: not found", name)
	}
	if err := s.partWith(ctx, s.sessionsOf(name), errRemoved, s.limits.LogoutTime); err != nil {
		return fmt.Errorf("remove target %q: wait for the end of its sessions: %w", name, err)
	}
	return nil
}

// Sessions lists the sessions of a target, or all of them if target is empty, in the order
// of their beginning.
func (s *Server) Sessions(target string) []SessionInfo {
	var all []SessionInfo
	for _, ses := range s.sessionsOf(target) {
		all = append(all, ses.info())
	}
	slices.SortFunc(all, func(a, b SessionInfo) int { return a.Since.Compare(b.Since) })
	return all
}

// DropSessions closes those sessions of a target (of all, if it is empty) for which match
// is true, telling their initiators, and waits until their commands have ended, or ctx has.
// It returns how many they were.
func (s *Server) DropSessions(ctx context.Context, target string, match func(SessionInfo) bool) (int, error) {
	var dropped []*session
	for _, ses := range s.sessionsOf(target) {
		if match(ses.info()) {
			dropped = append(dropped, ses)
		}
	}
	if err := s.partWith(ctx, dropped, errDropped, 0); err != nil {
		return len(dropped), fmt.Errorf("wait for the end of %d sessions: %w", len(dropped), err)
	}
	return len(dropped), nil
}

func (s *Server) sessionsOf(target string) []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*session
	for _, ses := range s.sessions {
		if target == "" || ses.targetName() == target {
			all = append(all, ses)
		}
	}
	return all
}

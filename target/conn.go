package target

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

// conn is one TCP connection of an initiator. Its reader is the goroutine of run; who is
// its writer changes. See the package documentation for who may touch what.
type conn struct {
	srv  *Server
	net  net.Conn
	host string // address of the initiator without its port
	log  *slog.Logger

	isPending bool // protected by Server.mu: it has not logged in

	// Set by the login, and constant from then on, except that text requests replace params.
	ses    *session
	params atomic.Pointer[login.Params]
	cancel context.CancelFunc // ends the commands
	// submit passes a batch to a logical unit; later takes a command that has waited for
	// memory on from a goroutine of its own. Both know the context that cancel ends.
	submit func(scsi.LogicalUnit, []*scsi.Command)
	later  func(*command)

	// The reader's own.
	in         input
	header     pdu.Header // of the PDU in hand, kept for the log should it make us panic
	ahs        [1020]byte
	firstCmdSN pdu.SN
	held       map[pdu.SN]request // that came before their turn
	pinned     *command           // that data is being read for
	batched    []*command         // complete commands, to be submitted together
	batch      []*scsi.Command    // those of them that go to one logical unit
	text       textExchange
	rejects    int // so far

	expCmdSN atomic.Uint32 // written by the reader
	maxCmdSN atomic.Uint32 // as last told to the initiator; written by the writer
	finished atomic.Uint32 // how many requests that count for the window have ended
	memory   atomic.Int64  // bytes of buffers in use by commands

	active  atomic.Bool   // something was received since the last look
	writes  atomic.Uint64 // odd while a write is under way
	gone    chan struct{} // closed when run has ended
	closing atomic.Bool   // the socket is closed, or about to be
	doomed  chan struct{} // closed by kill, for those who wait for something else than the socket

	mu        sync.Mutex          // protects the rest, and the fields of commands that say so
	reason    error               // why the target closes the connection
	tasks     map[uint32]*command // commands that have not ended, by initiator task tag
	pending   int                 // task management functions that have not been answered
	waiting   []*command          // of those, the ones that wait for memory, in order
	ghosts    [64]uint32          // task tags whose late Data-Out is to be swallowed
	ghost     int                 // index of the oldest
	queue     []reply             // what to send next
	farewell  *control            // what to send when all commands have ended
	dismissed bool                // the target ends the session, and has set farewell
	spare     []reply             // the other array of queue
	queued    int                 // bytes of data-in in queue
	control   int                 // bytes of data in queue that no command stands for
	corked    bool                // the reader will send the queue when its batch is done
	writing   bool                // somebody has the writer's role
	sending   int                 // how many calls of submit are under way
	retry     bool                // Abort may have missed a command that was being submitted
	nextTTT   uint32              // of R2Ts and pings
	broken    bool                // nothing can be sent any more
	changed   sync.Cond           // signalled when tasks, queue or writing get less, if awaited
	awaiting  int                 // who waits for changed

	// The writer's own.
	out    vector
	statSN pdu.SN
	sense  [2 + maxSense]byte // of the response in hand
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		srv:    s,
		net:    nc,
		host:   hostOf(nc.RemoteAddr()),
		log:    s.log.With("remote", nc.RemoteAddr().String(), "portal", nc.LocalAddr().String()),
		gone:   make(chan struct{}),
		doomed: make(chan struct{}),
		tasks:  make(map[uint32]*command),
		held:   make(map[pdu.SN]request),
	}
	c.changed.L = &c.mu
	for i := range c.ghosts {
		c.ghosts[i] = pdu.NoTag
	}
	c.params.Store(&login.Params{})
	return c
}

// run is the life of a connection. It returns when all of its commands have ended.
func (c *conn) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	c.submit = func(lu scsi.LogicalUnit, batch []*scsi.Command) {
		defer c.survive()
		lu.Submit(ctx, batch)
	}
	c.later = func(m *command) { c.srv.running.Go(func() { c.resume(m) }) }
	err := c.protect(func() error { return c.loginPhase(ctx) })
	if err == nil {
		err = c.protect(c.fullFeaturePhase)
	}
	polite := c.ses == nil || errors.Is(err, errLoggedOut) || errors.Is(err, errProtocol) || c.isDismissed() // it has been told
	c.windUp(polite)
	if c.ses != nil {
		c.srv.end(c.ses, c)
	}
	close(c.gone)
	if polite {
		c.linger()
	}
	_ = c.net.Close() // every byte that matters was acknowledged or given up
	c.srv.leave(c)
}

// protect runs a phase and turns a panic into an error. It logs how the phase ended.
func (c *conn) protect(phase func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	err = phase()
	c.mu.Lock()
	reason := c.reason
	c.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, errLoggedOut):
	case reason != nil:
		c.log.Info("connection closed", "err", reason)
	case errors.Is(err, io.EOF):
		c.log.Info("connection closed by the initiator")
	default:
		c.log.Warn("connection failed", "err", err)
	}
	return err
}

// panicked logs a panic with the header of the PDU that was in hand, but not its data.
func (c *conn) panicked(p any) {
	c.log.Error("panic: the session ends", "panic", p, "pdu", hex.EncodeToString(c.header[:]), "stack", string(debug.Stack()))
}

// kill closes the connection for a reason of the target's; run then ends by itself.
func (c *conn) kill(reason error) {
	c.mu.Lock()
	if c.reason == nil {
		c.reason = reason
	}
	c.mu.Unlock()
	if !c.closing.Swap(true) {
		close(c.doomed)
		_ = c.net.Close() // it wakes the reader and the writer, which is all it is for
	}
}

// windUp ends everything that goes on for the connection: it cancels all commands and
// waits for them. A polite end sends what is queued.
func (c *conn) windUp(polite bool) {
	if !polite && !c.closing.Swap(true) {
		_ = c.net.Close()
	}
	_ = c.net.SetWriteDeadline(time.Now().Add(c.srv.limits.WriteTime)) // it fails if the socket is closed
	c.letGo()
	c.abort(nil, func(*command) bool { return true }) // first, so that none answers that it was cancelled
	c.cancel()
	c.mu.Lock()
	c.corked = false
	c.broken = c.broken || !polite
	c.awaiting++
	for len(c.tasks) > 0 {
		c.changed.Wait()
	}
	if c.farewell != nil {
		c.push(c.farewell)
	}
	c.flush()
	c.mu.Lock()
	for c.writing {
		c.changed.Wait()
	}
	c.awaiting--
	c.broken = true
	c.mu.Unlock()
}

// letGo gives up the commands that the reader had in hand when it ended.
func (c *conn) letGo() {
	c.mu.Lock()
	for _, m := range c.batched {
		if m.stage == batched {
			m.stage = receiving
		}
	}
	if c.pinned != nil {
		c.unpin(c.pinned)
		c.pinned = nil
	}
	c.mu.Unlock()
}

// maxPanicLog is how many of the commands that a logical unit had in hand are logged.
const maxPanicLog = 8

// survive is deferred around a logical unit's code: if that panics, the session ends. Its
// commands are left to themselves, since nobody knows which of them are still used.
func (c *conn) survive() {
	p := recover()
	if p == nil {
		return
	}
	var at []string
	c.mu.Lock()
	for _, m := range c.tasks {
		if m.stage == submitted {
			if len(at) < maxPanicLog {
				at = append(at, m.pdu())
			}
			c.end(m)
		}
	}
	c.mu.Unlock()
	c.log.Error("panic in a logical unit: the session ends", "panic", p, "pdu", strings.Join(at, " "), "stack", string(debug.Stack()))
	c.kill(fmt.Errorf("panic: %v", p))
}

// linger lets the initiator read what was sent last: closing a socket that holds unread
// data would reset the connection and could destroy it.
func (c *conn) linger() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.net.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.net, 1<<20) // until the initiator closes, or for a second
}

// watch looks after an idle or stuck initiator, until stop is called. It looks at flags
// six times in the life of a silent connection instead of setting deadlines, which would
// cost every read and write.
func (c *conn) watch() (stop func()) {
	const pingAt, dropAt = 3, 6
	period := c.srv.limits.PingAfter / pingAt
	stuckAt := int(c.srv.limits.WriteTime/period) + 1
	var (
		mu            sync.Mutex // protects the rest
		timer         *time.Timer
		stopped       bool
		silent, stuck int
		lastWrite     uint64
	)
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return
		}
		silent++
		if c.active.Swap(false) {
			silent = 0
		}
		stuck++
		if w := c.writes.Load(); w != lastWrite || w%2 == 0 {
			lastWrite, stuck = w, 0
		}
		switch {
		case stuck >= stuckAt:
			c.kill(errStuck)
			return
		case silent >= dropAt:
			c.kill(errSilent)
			return
		case silent == pingAt:
			go c.ping() // it may have to write
		}
		timer.Reset(period)
	}
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(period, look)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

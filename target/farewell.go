package target

import (
	"context"
	"time"

	"sluice/target/pdu"
)

// farewellTime bounds how long an initiator that is dismissed has to take what it is sent
// last.
const farewellTime = 2 * time.Second

// askForLogout tells the initiator that it should log out within a time (RFC 7143 11.9.1,
// event 1). It may have to wait for the initiator to read.
func (c *conn) askForLogout(within time.Duration) {
	a := pdu.Async{Event: pdu.AsyncLogoutRequest, Param3: uint16(min(max(within/time.Second, 1), 3600))}
	ctl := c.srv.newControl()
	a.Marshal(&ctl.h)
	ctl.status = true
	c.enqueue(ctl)
}

// dismiss ends the session for a reason of the target's. Its commands are aborted, and the
// last that the initiator is told is that its connection is dropped, and when it may come
// back (RFC 7143 11.9.1, event 3). One that does not listen is disconnected all the same.
// dismiss does not wait.
func (c *conn) dismiss(reason error) {
	p := c.params.Load()
	a := pdu.Async{Event: pdu.AsyncDropSession, Param2: uint16(p.DefaultTime2Wait), Param3: uint16(p.DefaultTime2Retain)}
	ctl := c.srv.newControl()
	a.Marshal(&ctl.h)
	ctl.status = true
	c.mu.Lock()
	if c.reason == nil {
		c.reason = reason
	}
	c.dismissed = true
	if c.farewell == nil {
		c.farewell = ctl
	}
	c.mu.Unlock()
	time.AfterFunc(farewellTime, func() { c.kill(reason) })
	_ = c.net.SetReadDeadline(time.Now()) // it wakes the reader; if it fails, the reader is awake
}

func (c *conn) isDismissed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dismissed
}

// partWith ends sessions in two steps: it asks their initiators to log out and gives them
// some time, and then dismisses those that are left. When it returns nil, all have ended and
// none of their commands runs. When ctx ends, what is left is closed, and its error is
// returned when that has not ended either.
func (s *Server) partWith(ctx context.Context, all []*session, reason error, within time.Duration) error {
	if within > 0 && ctx.Err() == nil {
		for _, ses := range all {
			// One that does not read must not keep the others from being asked.
			go ses.conn.Load().askForLogout(within)
		}
		patient, cancel := context.WithTimeout(ctx, within)
		_ = awaitEnd(patient, all) // those that are left are dismissed
		cancel()
	}
	for _, ses := range all {
		ses.dismiss(reason)
	}
	err := awaitEnd(ctx, all)
	if err != nil {
		for _, ses := range all {
			ses.drop(reason)
		}
	}
	return err
}

// awaitEnd waits until sessions have ended, or ctx has, whose error it returns.
func awaitEnd(ctx context.Context, all []*session) error {
	for _, ses := range all {
		select {
		case <-ses.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

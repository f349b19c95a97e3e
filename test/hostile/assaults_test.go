package hostile

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"sluice/target/pdu"
)

// assault is an attack by numbers.
type assault struct {
	name string
	// short and long are how many attackers' acts there are in "make test" and in "make
	// hostile".
	short, long int
	// worker does the i-th act. It returns no error for what the target may do to it.
	worker func(a *attacker, i int) error
	crowd  int // workers at a time
}

// attacker is one of those who act at the same time.
type attacker struct {
	scene *scene
	t     testing.TB
	n     int
	peer  *peer      // a session that is kept from one act to the next
	held  []net.Conn // connections that are let lie
	did   *atomic.Int64
}

// source is an address of the attacker's own.
func (a *attacker) source() net.IP { return net.IPv4(127, 2, byte(a.n>>8), byte(a.n)) }

// fresh is a peer from the attacker's address, with an ISID of its own.
func (a *attacker) fresh() *peer {
	p := a.scene.peer(a.t, a.source())
	p.isid[1], p.isid[4], p.isid[5] = 2, byte(a.n>>8), byte(a.n)
	return p
}

// in returns the attacker's session, logged in if it was not.
func (a *attacker) in(keys ...string) (*peer, error) {
	if a.peer != nil {
		return a.peer, nil
	}
	p := a.fresh()
	if err := a.open(p); err != nil {
		return nil, err
	}
	if err := p.tryLogin(p.identity(), keys...); err != nil {
		return nil, err
	}
	a.peer = p
	return p, nil
}

func (a *attacker) open(p *peer) error {
	c, err := dial(p.source, p.portal)
	if err != nil {
		return err
	}
	p.conn = c
	return c.SetDeadline(time.Now().Add(patience))
}

func assaults() []assault {
	return []assault{
		{name: "half-open connections, all kept", short: 2000, long: 10000, crowd: 8, worker: halfOpen},
		{name: "half-open connections from one address", short: 2000, long: 10000, crowd: 8, worker: halfOpenSame},
		{name: "logins a byte at a time", short: 200, long: 2000, crowd: 64, worker: slowLogin},
		{name: "logins, each with its logout", short: 2000, long: 100000, crowd: 16, worker: loginLogout},
		{name: "logins, each gone without a logout", short: 2000, long: 20000, crowd: 16, worker: loginGone},
		{name: "logins that are refused", short: 2000, long: 20000, crowd: 16, worker: loginRefused},
		{name: "wrong CHAP secrets", short: 100, long: 300, crowd: 16, worker: guessSecret},
		{name: "pings of 4 KiB, a thousand at a time", short: 40, long: 400, crowd: 4, worker: pingFlood},
		{name: "pings whose answers nobody reads", short: 8, long: 64, crowd: 8, worker: pingDeaf},
		{name: "text requests, a thousand at a time", short: 40, long: 400, crowd: 4, worker: textFlood},
		{name: "immediate commands, a thousand at a time", short: 40, long: 400, crowd: 4, worker: immediateFlood},
		{name: "unknown opcodes, a thousand at a time", short: 40, long: 400, crowd: 4, worker: opcodeFlood},
		{name: "data that nobody asked for, 8 MiB at a time", short: 40, long: 400, crowd: 4, worker: dataFlood},
		{name: "writes whose data never come, 120 a session", short: 40, long: 200, crowd: 40, worker: neverComes},
		{name: "reads of 1 MiB that nobody takes, 120 a session", short: 16, long: 64, crowd: 16, worker: neverTaken},
	}
}

func halfOpen(a *attacker, i int) error {
	c, err := dial(net.IPv4(127, 3, byte(i>>8), byte(i)), a.scene.portal)
	if err == nil {
		a.held = append(a.held, c)
	}
	return err
}

func halfOpenSame(a *attacker, _ int) error {
	c, err := dial(net.IPv4(127, 4, 0, 1), a.scene.portal)
	if err == nil {
		a.held = append(a.held, c)
	}
	return err
}

func slowLogin(a *attacker, _ int) error {
	p := a.fresh()
	if err := a.open(p); err != nil {
		return err
	}
	defer p.conn.Close()
	if err := p.send(p.loginRequest(p.identity()...).with(slowly)); err != nil {
		return tolerated(err)
	}
	_, err := p.tryAnswer()
	return tolerated(err)
}

func loginLogout(a *attacker, _ int) error {
	p := a.fresh()
	if err := a.open(p); err != nil {
		return err
	}
	defer p.conn.Close()
	if err := p.tryLogin(p.identity()); err != nil {
		return err
	}
	if err := p.send(logout(pdu.LogoutCloseSession, p.cid)); err != nil {
		return err
	}
	h, data, err := p.receive()
	if err == nil && h.Opcode() != pdu.OpLogoutResponse {
		err = errors.New(describe(&h, data))
	}
	return err
}

func loginGone(a *attacker, i int) error {
	p := a.fresh()
	p.isid[2], p.isid[3] = byte(i>>8), byte(i)
	if err := a.open(p); err != nil {
		return err
	}
	defer p.conn.Close()
	return p.tryLogin(p.identity())
}

func loginRefused(a *attacker, _ int) error {
	p := a.fresh()
	p.target += ".not-there"
	if err := a.open(p); err != nil {
		return err
	}
	defer p.conn.Close()
	if err := p.send(p.loginRequest(p.identity()...)); err != nil {
		return tolerated(err)
	}
	r, err := p.tryAnswer()
	if err == nil && r.Status != pdu.LoginNotFound {
		err = fmt.Errorf("login status %04x", uint16(r.Status))
	}
	return tolerated(err)
}

func guessSecret(a *attacker, i int) error {
	p := a.fresh()
	p.name, p.target = guardedIQN, a.scene.guarded
	if err := a.open(p); err != nil {
		return err
	}
	defer p.conn.Close()
	for _, keys := range [][]string{append(p.identity(), "AuthMethod=CHAP"), {"CHAP_A=5"}, {"CHAP_N=" + chapUser, fmt.Sprintf("CHAP_R=0x%032x", i)}} {
		if err := p.send(p.loginPDU(pdu.LoginRequest{}, keys...)); err != nil {
			return tolerated(err)
		}
		r, err := p.tryAnswer()
		if err != nil || r.Status != 0 {
			return tolerated(err)
		}
	}
	return errors.New("a guess was right")
}

// flood sends n copies of what make returns, while the answers are read.
func flood(a *attacker, n int, answers bool, make func(p *peer) message) error {
	p, err := a.in()
	if err != nil {
		return err
	}
	var all []byte
	for range n {
		m := make(p)
		p.itt++
		if !m.ownTag {
			m = m.with(tag(p.itt & 0xffff))
		}
		if m.hasCmdSN {
			m = m.with(number(24, p.cmdSN))
		}
		all = append(all, m.encode(false, false)...)
	}
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	sent := goWrite(p.conn, all)
	for i := 0; answers && i < n; i++ {
		if _, _, err := p.receive(); err != nil {
			return fmt.Errorf("answer %d of %d: %w", i, n, err)
		}
	}
	return <-sent
}

func goWrite(c net.Conn, b []byte) <-chan error {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(b)
		sent <- err
	}()
	return sent
}

func pingFlood(a *attacker, _ int) error {
	data := make([]byte, 4096)
	return flood(a, 1000, true, func(*peer) message { return nop(data...).with(immediate) })
}

func textFlood(a *attacker, _ int) error {
	return flood(a, 1000, true, func(*peer) message { return text("SendTargets=\x00").with(immediate) })
}

func immediateFlood(a *attacker, _ int) error {
	return flood(a, 1000, true, func(*peer) message { return plain(0).with(immediate) })
}

func opcodeFlood(a *attacker, _ int) error {
	return flood(a, 1000, true, func(*peer) message { return opcode(0x0b) })
}

func dataFlood(a *attacker, _ int) error {
	data := make([]byte, 128<<10)
	return flood(a, 64, true, func(*peer) message { return dataOut(0xbad, pdu.NoTag, 0, data) })
}

// pingDeaf pings until the target reads no more.
func pingDeaf(a *attacker, _ int) error {
	p := a.fresh()
	if err := a.open(p); err != nil {
		return err
	}
	a.held = append(a.held, p.conn)
	if err := p.tryLogin(p.identity()); err != nil {
		return err
	}
	ping := nop(make([]byte, 64<<10)...).with(immediate, tag(1), number(24, p.cmdSN)).encode(false, false)
	for range 2000 { // 125 MiB, if they were all taken
		if err := p.conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := p.conn.Write(ping); err != nil {
			return nil //nolint:nilerr // it is not taken, as it should be
		}
	}
	return errors.New("125 MiB of pings were read whose answers nobody takes")
}

func (a *attacker) session(keys ...string) (*peer, error) {
	a.peer = nil
	a.n += 256 // another initiator port
	p, err := a.in(keys...)
	a.peer = nil
	if err == nil {
		a.held = append(a.held, p.conn)
	}
	return p, err
}

func neverComes(a *attacker, i int) error {
	p, err := a.session("InitialR2T=Yes", "ImmediateData=No")
	if err != nil {
		return err
	}
	for range 120 {
		if err := p.send(writing(1<<20, nil, write10(0, 2048)...)); err != nil {
			return err
		}
	}
	return nil
}

func neverTaken(a *attacker, i int) error {
	p, err := a.session("MaxRecvDataSegmentLength=262144")
	if err != nil {
		return err
	}
	for range 120 {
		if err := p.send(reading(1<<20, read10(0, 2048)...)); err != nil {
			return err
		}
	}
	return nil
}

// tolerated returns nil for the errors of one whom the target has cut off, as it may.
func tolerated(err error) error {
	if ended(err) {
		return nil
	}
	return err
}

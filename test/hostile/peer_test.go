package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/target/login"
	"sluice/target/pdu"
)

// patience bounds every wait for an answer; it only matters when a test fails.
const patience = 20 * time.Second

// peer is one connection to the daemon, of somebody who may say whatever he likes.
type peer struct {
	t      testing.TB
	conn   net.Conn
	portal string
	source net.IP // where it connects from
	name   string // of the initiator
	target string
	isid   [6]byte
	tsih   uint16
	cid    uint16
	cmdSN  uint32 // the next
	expSN  uint32 // the StatSN that comes next
	itt    uint32 // the last that was chosen for it
	header bool   // digests
	data   bool
	r2t    pdu.R2T // the last that came
	chap   map[string]string
	agreed map[string]string
	others []*peer
	last   []byte // data of the last PDU that came
}

// connect opens another TCP connection, in the place of the last if there was one.
func (p *peer) connect() {
	p.t.Helper()
	if p.conn != nil {
		_ = p.conn.Close()
	}
	c, err := dial(p.source, p.portal)
	if err != nil {
		p.t.Fatalf("connect: %v", err)
	}
	p.conn, p.header, p.data = c, false, false
	_ = c.SetDeadline(time.Now().Add(patience)) // it fails only on a closed socket
	p.t.Cleanup(func() { _ = c.Close() })
}

func dial(source net.IP, portal string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if source != nil {
		d.LocalAddr = &net.TCPAddr{IP: source}
	}
	return d.Dial("tcp", portal)
}

// send completes a message with the numbers of this connection and sends it.
func (p *peer) send(m message) error {
	switch op := m.h.Opcode(); {
	case m.ownTag || op == pdu.OpLoginRequest:
	default:
		p.itt++
		binary.BigEndian.PutUint32(m.h[16:], p.itt)
	}
	if m.hasCmdSN {
		given := binary.BigEndian.Uint32(m.h[24:])
		binary.BigEndian.PutUint32(m.h[24:], p.cmdSN+given) // given is an error, or 0
		binary.BigEndian.PutUint32(m.h[28:], p.expSN+binary.BigEndian.Uint32(m.h[28:]))
		if m.numbered && given == 0 {
			p.cmdSN++
		}
	}
	return p.write(m.encode(p.header, p.data), m.dribble)
}

func (p *peer) write(b []byte, dribble bool) error {
	if !dribble {
		_, err := p.conn.Write(b)
		return err
	}
	for i := range b {
		if _, err := p.conn.Write(b[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// receive returns the next PDU that is no ping of the target's.
func (p *peer) receive() (h pdu.Header, data []byte, err error) {
	for {
		h, data, err = p.receiveOne()
		if err != nil || h.Opcode() != pdu.OpNopIn || h.ITT() != pdu.NoTag {
			p.last = data
			return h, data, err
		}
	}
}

func (p *peer) receiveOne() (h pdu.Header, data []byte, err error) {
	if _, err = io.ReadFull(p.conn, h[:]); err != nil {
		return h, nil, err
	}
	if err := p.digest(p.header, func() uint32 { return pdu.HeaderDigest(&h, nil) }); err != nil {
		return h, nil, fmt.Errorf("header: %w", err)
	}
	_, n, pad := h.Sizes()
	data = make([]byte, n+pad)
	if _, err = io.ReadFull(p.conn, data); err != nil {
		return h, nil, err
	}
	if err := p.digest(p.data && n > 0, func() uint32 { return pdu.UpdateDigest(0, data) }); err != nil {
		return h, nil, fmt.Errorf("data: %w", err)
	}
	return h, data[:n], nil
}

func (p *peer) digest(on bool, want func() uint32) error {
	var d [pdu.DigestLen]byte
	if !on {
		return nil
	}
	if _, err := io.ReadFull(p.conn, d[:]); err != nil {
		return err
	}
	if got := pdu.GetDigest(d[:]); got != want() {
		return fmt.Errorf("the target's digest %08x is wrong", got)
	}
	return nil
}

// expect receives a PDU that must have this opcode and, if it has one, the next StatSN.
func (p *peer) expect(op pdu.Opcode) (pdu.Header, []byte) {
	p.t.Helper()
	h, data, err := p.receive()
	if err != nil {
		p.t.Fatalf("receive, where opcode %#02x is due: %v", byte(op), err)
	}
	if h.Opcode() != op {
		p.t.Fatalf("got %s, where opcode %#02x is due", describe(&h, data), byte(op))
	}
	if op != pdu.OpR2T && (op != pdu.OpDataIn || h[1]&1 != 0) {
		if sn := binary.BigEndian.Uint32(h[24:]); sn != p.expSN {
			p.t.Fatalf("StatSN %d, where %d is due", sn, p.expSN)
		}
		p.expSN++
	}
	return h, data
}

func describe(h *pdu.Header, data []byte) string {
	s := fmt.Sprintf("opcode %#02x", byte(h.Opcode()))
	switch h.Opcode() {
	case pdu.OpReject:
		s += fmt.Sprintf(" (reject, reason %#02x)", h[2])
	case pdu.OpSCSIResponse:
		s += fmt.Sprintf(" (status %#02x, sense % x)", h[3], data)
	case pdu.OpLoginResponse:
		s += fmt.Sprintf(" (login status %02x%02x)", h[36], h[37])
	default: // the opcode says it
	}
	return s
}

// loginRequest is a request of the operational stage, straight to the end of the login.
func (p *peer) loginRequest(keys ...string) message {
	return p.loginPDU(pdu.LoginRequest{Transit: true, CSG: pdu.StageOperational, NSG: pdu.StageFullFeature}, keys...)
}

func (p *peer) loginPDU(r pdu.LoginRequest, keys ...string) message {
	r.ISID, r.TSIH, r.CID, r.CmdSN, r.ExpStatSN = p.isid, p.tsih, p.cid, pdu.SN(p.cmdSN), pdu.SN(p.expSN)
	var data []byte
	if len(keys) > 0 {
		data = []byte(strings.Join(keys, "\x00") + "\x00")
	}
	return build(&r, data)
}

// identity are the keys that every first request of a normal session has.
func (p *peer) identity() []string {
	return []string{"InitiatorName=" + p.name, "SessionType=Normal", "TargetName=" + p.target}
}

// answer receives a login response.
func (p *peer) answer() pdu.LoginResponse {
	p.t.Helper()
	r, err := p.tryAnswer()
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *peer) tryAnswer() (r pdu.LoginResponse, err error) {
	h, data, err := p.receive()
	switch {
	case err != nil:
		return r, fmt.Errorf("no login response: %w", err)
	case h.Opcode() != pdu.OpLoginResponse:
		return r, fmt.Errorf("got %s, where a login response is due", describe(&h, data))
	}
	r.Unmarshal(&h)
	p.expSN = uint32(r.StatSN) + 1
	pairs, err := login.ParseText(data)
	if err != nil {
		return r, fmt.Errorf("the target's keys: %w", err)
	}
	for _, pair := range pairs {
		p.agreed[pair.Key] = pair.Value
	}
	return r, nil
}

// login logs in with these operational keys on top of the identity.
func (p *peer) login(identity []string, keys ...string) {
	p.t.Helper()
	if err := p.tryLogin(identity, keys...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) tryLogin(identity []string, keys ...string) error {
	if err := p.send(p.loginRequest(append(identity, keys...)...)); err != nil {
		return fmt.Errorf("send login: %w", err)
	}
	r, err := p.tryAnswer()
	if err != nil {
		return err
	}
	if r.Status != pdu.LoginSuccess || !r.Transit {
		return fmt.Errorf("login refused with status %04x", uint16(r.Status))
	}
	p.tsih = r.TSIH
	p.header, p.data = p.agreed["HeaderDigest"] == "CRC32C", p.agreed["DataDigest"] == "CRC32C"
	return nil
}

// ended tells whether the error of a read or write says that the target hung up.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// renewDeadline gives the connection as much time as it had in the beginning.
func (p *peer) renewDeadline() { _ = p.conn.SetDeadline(time.Now().Add(patience)) }

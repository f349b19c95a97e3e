package initiator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"sluice/target/pdu"
)

// Patience is how long a Session waits for the target before it gives the connection up; what a test wants to see hang
// must hang for longer.
const Patience = 2 * time.Minute

// MaxTransfer is the longest Write and Read, in bytes: one piece of immediate data.
const MaxTransfer = 64 << 10

// StatusError is a command that ended with another status than GOOD (SAM-5 5.3.1), with the sense data's key and
// additional code where there is some (SPC-4 4.5).
type StatusError struct {
	Op, Status, Key byte
	Code            uint16 // ASC and ASCQ
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("operation %#02x: status %#02x, sense key %#x, code %#04x", e.Op, e.Status, e.Key, e.Code)
}

// unitAttention is the sense key of something to be told before a command is carried out (SPC-4 4.5.6).
const unitAttention = 6

// Session is a session of one connection. Its methods are for one goroutine at a time, but Close may be called
// whenever. Offsets and lengths are multiples of 512 bytes.
type Session struct {
	conn  net.Conn
	cmdSN pdu.SN
	expSN pdu.SN
	itt   uint32
}

// Dial logs in to a target as the initiator port with a number.
func Dial(ctx context.Context, portal, target string, port uint16) (*Session, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", portal)
	if err != nil {
		return nil, err
	}
	s := &Session{conn: conn, cmdSN: 1, expSN: 1}
	if err := s.login(target, port); err != nil {
		return nil, errors.Join(fmt.Errorf("login: %w", err), conn.Close())
	}
	if _, err := s.Do([16]byte{}, nil, 0); err != nil { // TEST UNIT READY takes the unit attention of a new nexus
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

func (s *Session) login(target string, port uint16) error {
	text := []byte("InitiatorName=iqn.2026-11.io.sluice.test:initiator\x00SessionType=Normal\x00TargetName=" + target +
		"\x00ImmediateData=Yes\x00InitialR2T=Yes\x00FirstBurstLength=262144\x00MaxRecvDataSegmentLength=262144\x00")
	req := pdu.LoginRequest{
		Transit: true, CSG: pdu.StageOperational, NSG: pdu.StageFullFeature, ISID: [6]byte{0x80, 4: byte(port >> 8), 5: byte(port)},
		CmdSN: s.cmdSN, ExpStatSN: s.expSN, DataLength: uint32(len(text)),
	}
	var h pdu.Header
	req.Marshal(&h)
	if err := s.send(&h, text); err != nil {
		return err
	}
	h, _, err := s.receive()
	if err != nil {
		return err
	}
	var resp pdu.LoginResponse
	resp.Unmarshal(&h)
	if h.Opcode() != pdu.OpLoginResponse || resp.Status != pdu.LoginSuccess {
		return fmt.Errorf("opcode %#02x, status %04x", byte(h.Opcode()), uint16(resp.Status))
	}
	s.expSN = resp.StatSN + 1
	return nil
}

// Close ends the connection, and with it the session. Commands under way fail.
func (s *Session) Close() error { return s.conn.Close() }

// Read reads len(p) bytes, at most MaxTransfer.
func (s *Session) Read(p []byte, off int64) error {
	got, err := s.Do(cdb(0x88, off, len(p)), nil, len(p))
	if err == nil && len(got) != len(p) {
		err = fmt.Errorf("reading %d bytes: %d came", len(p), len(got))
	}
	copy(p, got)
	return err
}

// Write writes p, at most MaxTransfer. With fua it is durable when Write returns.
func (s *Session) Write(p []byte, off int64, fua bool) error {
	c := cdb(0x8a, off, len(p))
	if fua {
		c[1] |= 0x08
	}
	_, err := s.Do(c, p, 0)
	return err
}

// Zero makes n bytes zeros (WRITE SAME(16) of a sector of zeros, SBC-3 5.46), with unmap set by giving their space up.
func (s *Session) Zero(off, n int64, unmap bool) error {
	c := cdb(0x93, off, int(n))
	if unmap {
		c[1] |= 0x08
	}
	_, err := s.Do(c, make([]byte, Sector), 0)
	return err
}

// Flush makes all that was acknowledged durable (SYNCHRONIZE CACHE(10)).
func (s *Session) Flush() error {
	_, err := s.Do([16]byte{0: 0x35}, nil, 0)
	return err
}

// cdb is that of READ(16), WRITE(16) and WRITE SAME(16).
func cdb(op byte, off int64, n int) (c [16]byte) {
	c[0] = op
	binary.BigEndian.PutUint64(c[2:], uint64(off/Sector))
	binary.BigEndian.PutUint32(c[10:], uint32(n/Sector))
	return c
}

// Do carries out any command, with the data that it sends, or the number of bytes that it expects, and does it again
// after each unit attention.
func (s *Session) Do(cdb [16]byte, out []byte, in int) ([]byte, error) {
	for {
		got, err := s.once(cdb, out, in)
		if refused, ok := errors.AsType[*StatusError](err); !ok || refused.Key != unitAttention {
			return got, err
		}
	}
}

func (s *Session) once(cdb [16]byte, out []byte, in int) ([]byte, error) {
	s.itt++
	c := pdu.SCSICommand{
		Final: true, Read: in > 0, Write: len(out) > 0, ITT: s.itt, CmdSN: s.cmdSN, ExpStatSN: s.expSN,
		ExpectedLength: uint32(max(len(out), in)), DataLength: uint32(len(out)), CDB: cdb,
	}
	s.cmdSN++
	var h pdu.Header
	c.Marshal(&h)
	if err := s.send(&h, out); err != nil {
		return nil, err
	}
	got := make([]byte, 0, in)
	for {
		h, data, err := s.receive()
		if err != nil {
			return nil, err
		}
		switch h.Opcode() {
		case pdu.OpDataIn:
			var d pdu.DataIn
			d.Unmarshal(&h)
			if int(d.Offset) != len(got) {
				return nil, fmt.Errorf("data for offset %d came after %d bytes", d.Offset, len(got))
			}
			got = append(got, data...)
			if d.HasStatus {
				s.expSN = d.StatSN + 1
				return got, status(cdb[0], d.Status, nil)
			}
		case pdu.OpSCSIResponse:
			var r pdu.SCSIResponse
			r.Unmarshal(&h)
			s.expSN = r.StatSN + 1
			return got, status(cdb[0], r.Status, data)
		case pdu.OpNopIn:
			if err := s.pong(&h); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("an unexpected message, opcode %#02x", byte(h.Opcode()))
		}
	}
}

// status makes an error of a status that is not GOOD. Sense data has its length before it.
func status(op, code byte, sense []byte) error {
	if code == 0 {
		return nil
	}
	e := &StatusError{Op: op, Status: code}
	if len(sense) >= 16 { // fixed format
		e.Key, e.Code = sense[2+2]&0xf, binary.BigEndian.Uint16(sense[2+12:])
	}
	return e
}

// pong answers a ping of the target.
func (s *Session) pong(h *pdu.Header) error {
	var n pdu.NopIn
	n.Unmarshal(h)
	if n.TTT == pdu.NoTag {
		return nil
	}
	out := pdu.NopOut{Immediate: true, ITT: pdu.NoTag, TTT: n.TTT, CmdSN: s.cmdSN, ExpStatSN: s.expSN}
	var reply pdu.Header
	out.Marshal(&reply)
	return s.send(&reply, nil)
}

func (s *Session) send(h *pdu.Header, data []byte) error {
	if err := s.conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	out := append(append(h[:len(h):len(h)], data...), make([]byte, pdu.Padding(len(data)))...)
	_, err := s.conn.Write(out)
	return err
}

func (s *Session) receive() (h pdu.Header, data []byte, err error) {
	if _, err := io.ReadFull(s.conn, h[:]); err != nil {
		return h, nil, err
	}
	_, n, pad := h.Sizes()
	data = make([]byte, n+pad)
	_, err = io.ReadFull(s.conn, data)
	return h, data[:n], err
}

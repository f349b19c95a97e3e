package sessions

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"sluice/target/pdu"
	"sluice/test/harness"
)

const sector = 512

// raw is an initiator that does what a test says and nothing by itself. It has at most a few
// commands under way.
type raw struct {
	t     *testing.T
	conn  net.Conn
	cmdSN pdu.SN
	expSN pdu.SN
	itt   uint32
	// early holds answers to commands that came while something else was waited for.
	early map[uint32]answer
}

type answer struct {
	status byte
	data   []byte
}

// patience is after what time a test gives up; nothing that works takes nearly as long.
const patience = 20 * time.Second

// newRaw logs in to a volume from the initiator port with this number.
func newRaw(t *testing.T, gw *harness.Gateway, volume string, port byte) *raw {
	t.Helper()
	return newRawOn(t, gw.Portal, gw.IQN(volume), port)
}

// newRawOn logs in to a target at an address.
func newRawOn(t *testing.T, address, target string, port byte) *raw {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := &raw{t: t, conn: c, cmdSN: 1, expSN: 1, early: map[uint32]answer{}}
	text := []byte("InitiatorName=iqn.2026-11.io.sluice.test:raw\x00SessionType=Normal\x00TargetName=" + target +
		"\x00ImmediateData=Yes\x00FirstBurstLength=262144\x00MaxRecvDataSegmentLength=262144\x00")
	req := pdu.LoginRequest{
		Transit: true, CSG: pdu.StageOperational, NSG: pdu.StageFullFeature, ISID: [6]byte{0x80, 5: port},
		CmdSN: r.cmdSN, ExpStatSN: r.expSN, DataLength: uint32(len(text)),
	}
	var h pdu.Header
	req.Marshal(&h)
	r.send(&h, text)
	h, _ = r.receive()
	var resp pdu.LoginResponse
	resp.Unmarshal(&h)
	if h.Opcode() != pdu.OpLoginResponse || resp.Status != pdu.LoginSuccess {
		t.Fatalf("login: opcode %#02x, status %04x", byte(h.Opcode()), uint16(resp.Status))
	}
	r.expSN = resp.StatSN + 1
	r.await(r.command([16]byte{}, nil, 0)) // takes the unit attention
	return r
}

func (r *raw) send(h *pdu.Header, data []byte) {
	r.t.Helper()
	out := append(append(h[:len(h):len(h)], data...), make([]byte, pdu.Padding(len(data)))...)
	if err := r.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.conn.Write(out); err != nil {
		r.t.Fatalf("send: %v", err)
	}
}

func (r *raw) receive() (pdu.Header, []byte) {
	r.t.Helper()
	h, data, err := r.tryReceive(patience)
	if err != nil {
		r.t.Fatalf("receive: %v", err)
	}
	return h, data
}

func (r *raw) tryReceive(within time.Duration) (h pdu.Header, data []byte, err error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return h, nil, err
	}
	if _, err := io.ReadFull(r.conn, h[:]); err != nil {
		return h, nil, err
	}
	_, n, pad := h.Sizes()
	data = make([]byte, n+pad)
	_, err = io.ReadFull(r.conn, data)
	return h, data[:n], err
}

// command sends a command with its data (at most one piece), or that expects some, and
// returns its tag.
func (r *raw) command(cdb [16]byte, out []byte, in int) uint32 {
	r.t.Helper()
	r.itt++
	c := pdu.SCSICommand{
		Final: true, Read: in > 0, Write: len(out) > 0, ITT: r.itt, CmdSN: r.cmdSN, ExpStatSN: r.expSN,
		ExpectedLength: uint32(max(len(out), in)), DataLength: uint32(len(out)), CDB: cdb,
	}
	r.cmdSN++
	var h pdu.Header
	c.Marshal(&h)
	r.send(&h, out)
	return r.itt
}

func rw(op byte, block, n int) (cdb [16]byte) {
	cdb[0] = op
	binary.BigEndian.PutUint32(cdb[2:], uint32(block))
	binary.BigEndian.PutUint16(cdb[7:], uint16(n))
	return cdb
}

func (r *raw) write(block int, data []byte) uint32 {
	r.t.Helper()
	return r.command(rw(0x2a, block, len(data)/sector), data, 0)
}

func (r *raw) read(block, n int) uint32 {
	r.t.Helper()
	return r.command(rw(0x28, block, n), nil, n*sector)
}

// next receives one PDU, keeps it if it is an answer to a command, and returns it.
func (r *raw) next(within time.Duration) (pdu.Header, error) {
	r.t.Helper()
	h, data, err := r.tryReceive(within)
	if err != nil {
		return h, err
	}
	switch h.Opcode() {
	case pdu.OpDataIn:
		var d pdu.DataIn
		d.Unmarshal(&h)
		a := r.early[d.ITT]
		a.data = append(a.data, data...)
		r.early[d.ITT] = a
		if d.HasStatus {
			r.expSN = d.StatSN + 1
		}
		h[1] &= 1 // what answers looks at: whether it has the status
	case pdu.OpSCSIResponse:
		var s pdu.SCSIResponse
		s.Unmarshal(&h)
		a := r.early[s.ITT]
		a.status = s.Status
		r.early[s.ITT] = a
		r.expSN = s.StatSN + 1
	default: // not an answer
	}
	return h, nil
}

// answers tells whether a PDU is the last of the answer to a task.
func answers(h *pdu.Header, itt uint32) bool {
	return h.ITT() == itt && (h.Opcode() == pdu.OpSCSIResponse || h.Opcode() == pdu.OpDataIn && h[1]&1 != 0)
}

// await waits for the answer to a command.
func (r *raw) await(itt uint32) answer {
	r.t.Helper()
	a, err := r.tryAwait(itt, patience)
	if err != nil {
		r.t.Fatalf("no answer to task %d: %v", itt, err)
	}
	return a
}

// tryAwait gives up after a time in which nothing has come; the error is then
// os.ErrDeadlineExceeded.
func (r *raw) tryAwait(itt uint32, within time.Duration) (answer, error) {
	r.t.Helper()
	for {
		h, err := r.next(within)
		if err != nil {
			return answer{}, err
		}
		if answers(&h, itt) {
			return r.early[itt], nil
		}
	}
}

// manage carries out a task management function, and returns after its response.
func (r *raw) manage(f pdu.TaskFunction, itt uint32) {
	r.t.Helper()
	p := pdu.TaskRequest{Immediate: true, Function: f, ITT: 0xfffe, ReferencedTag: itt, CmdSN: r.cmdSN, ExpStatSN: r.expSN, RefCmdSN: r.cmdSN - 1}
	var h pdu.Header
	p.Marshal(&h)
	r.send(&h, nil)
	for {
		h, err := r.next(patience)
		if err != nil {
			r.t.Fatalf("no response to function %d: %v", f, err)
		}
		if h.Opcode() == pdu.OpTaskResponse {
			var resp pdu.TaskResponse
			resp.Unmarshal(&h)
			if resp.Result != pdu.TaskComplete {
				r.t.Fatalf("function %d: result %d", f, resp.Result)
			}
			return
		}
	}
}

// content reads sectors, which must succeed.
func (r *raw) content(block, n int) []byte {
	r.t.Helper()
	a := r.await(r.read(block, n))
	if a.status != 0 || len(a.data) != n*sector {
		r.t.Fatalf("reading %d: status %#02x, %d bytes", block, a.status, len(a.data))
	}
	return a.data
}

// stuck fails unless a command gets no answer for a moment.
func (r *raw) stuck(itt uint32) {
	r.t.Helper()
	if _, err := r.tryAwait(itt, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("task %d does not wait: %v", itt, err)
	}
}

func pattern(b byte, sectors int) []byte { return bytes.Repeat([]byte{b}, sectors*sector) }

package target

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

const (
	targetIQN    = "iqn.2026-11.test:ram"
	initiatorIQN = "iqn.2026-11.test:host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server with one target, over TCP or in memory.
type rig struct {
	*Server
	t      *testing.T
	disk   *ramDisk
	dial   func() net.Conn
	panics *panicLog
}

// panicLog fails a test in which the server has logged a panic, unless it expects one.
type panicLog struct {
	slog.Handler
	mu   sync.Mutex
	seen []string
}

func (p *panicLog) Enabled(context.Context, slog.Level) bool { return true }
func (p *panicLog) WithAttrs([]slog.Attr) slog.Handler       { return p }
func (p *panicLog) Handle(_ context.Context, r slog.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(r.Message, "panic") {
		text := r.Message
		r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
		p.seen = append(p.seen, text)
	}
	return nil
}

func (p *panicLog) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// newRig starts a server; it ends with the test.
func newRig(t *testing.T, overTCP bool, o Options) *rig {
	t.Helper()
	r := &rig{t: t, disk: newRAMDisk(1 << 20), panics: new(panicLog)}
	if o.Authorizer == nil {
		o.Authorizer = everybody{}
	}
	o.Logger = slog.New(r.panics)
	r.Server = New(o)
	err := r.AddTarget(Target{Name: targetIQN, Alias: "ram", LUs: map[uint64]scsi.LogicalUnit{0: r.disk}})
	if err != nil {
		t.Fatal(err)
	}
	if overTCP {
		address, err := r.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r.dial = func() net.Conn {
			c, err := net.Dial("tcp", address.String())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	} else {
		p := newPipes()
		served := make(chan error, 1)
		go func() { served <- r.Serve(t.Context(), p) }()
		r.dial = func() net.Conn {
			ours, theirs := net.Pipe()
			p.conns <- theirs
			return ours
		}
		t.Cleanup(func() {
			if err := <-served; !errors.Is(err, ErrClosed) {
				t.Errorf("Serve returned %v", err)
			}
		})
	}
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.Shutdown(now) // it did not wait for logouts
		for _, p := range r.panics.take() {
			t.Errorf("the server panicked: %s", p)
		}
	})
	return r
}

// initiator is the other end of a connection: it can say whatever one likes.
type initiator struct {
	t      *testing.T
	conn   net.Conn
	isid   [6]byte
	tsih   uint16
	cid    uint16
	cmdSN  pdu.SN
	expSN  pdu.SN // next StatSN
	itt    uint32
	header bool // digests
	data   bool
	name   string
}

func (r *rig) connect() *initiator {
	c := r.dial()
	r.t.Cleanup(func() { _ = c.Close() })
	return &initiator{t: r.t, conn: c, isid: [6]byte{0x80, 1}, cid: 7, cmdSN: 1000, expSN: 5000, name: initiatorIQN}
}

// login connects and logs in with these operational keys.
func (r *rig) login(keys ...string) *initiator {
	r.t.Helper()
	i := r.connect()
	i.mustLogin(keys...)
	return i
}

func (i *initiator) mustLogin(keys ...string) map[string]string {
	i.t.Helper()
	status, answer := i.tryLogin(append([]string{"SessionType=Normal", "TargetName=" + targetIQN}, keys...)...)
	if status != pdu.LoginSuccess {
		i.t.Fatalf("login refused with status %04x", uint16(status))
	}
	return answer
}

// tryLogin goes straight to the operational stage and to its end.
func (i *initiator) tryLogin(keys ...string) (pdu.LoginStatus, map[string]string) {
	i.t.Helper()
	text := strings.Join(append([]string{"InitiatorName=" + i.name}, keys...), "\x00") + "\x00"
	req := pdu.LoginRequest{
		Transit: true, CSG: pdu.StageOperational, NSG: pdu.StageFullFeature, ISID: i.isid, TSIH: i.tsih,
		CID: i.cid, CmdSN: i.cmdSN, ExpStatSN: i.expSN, DataLength: uint32(len(text)),
	}
	var h pdu.Header
	req.Marshal(&h)
	i.send(&h, []byte(text))
	answer, data := i.receive()
	var resp pdu.LoginResponse
	resp.Unmarshal(&answer)
	if answer.Opcode() != pdu.OpLoginResponse {
		i.t.Fatalf("opcode %#02x instead of a login response", byte(answer.Opcode()))
	}
	i.expSN = resp.StatSN + 1
	if resp.Status == pdu.LoginSuccess {
		i.tsih = resp.TSIH
	}
	pairs, err := login.ParseText(data)
	if err != nil {
		i.t.Fatal(err)
	}
	agreed := make(map[string]string)
	for _, p := range pairs {
		agreed[p.Key] = p.Value
	}
	i.header, i.data = agreed["HeaderDigest"] == "CRC32C", agreed["DataDigest"] == "CRC32C"
	return resp.Status, agreed
}

// encode is a PDU as on the wire. The AHS are those that the header announces, from data.
func (i *initiator) encode(h *pdu.Header, data []byte) []byte {
	ahs, _, _ := h.Sizes()
	out := append(h[:len(h):len(h)], data[:ahs]...)
	if i.header {
		out = binary.LittleEndian.AppendUint32(out, pdu.HeaderDigest(h, data[:ahs]))
	}
	data = data[ahs:]
	out = append(out, data...)
	out = append(out, make([]byte, pdu.Padding(len(data)))...)
	if i.data && len(data) > 0 {
		out = binary.LittleEndian.AppendUint32(out, pdu.DataDigest(data))
	}
	return out
}

func (i *initiator) send(h *pdu.Header, data []byte) {
	i.t.Helper()
	if _, err := i.conn.Write(i.encode(h, data)); err != nil {
		i.t.Fatalf("send: %v", err)
	}
}

func (i *initiator) receive() (pdu.Header, []byte) {
	i.t.Helper()
	h, data, err := i.tryReceive()
	if err != nil {
		i.t.Fatalf("receive: %v", err)
	}
	return h, data
}

func (i *initiator) tryReceive() (h pdu.Header, data []byte, err error) {
	if _, err = io.ReadFull(i.conn, h[:]); err != nil {
		return h, nil, err
	}
	if i.header {
		var d [4]byte
		if _, err = io.ReadFull(i.conn, d[:]); err != nil {
			return h, nil, err
		}
		if pdu.GetDigest(d[:]) != pdu.HeaderDigest(&h, nil) {
			return h, nil, errors.New("wrong header digest")
		}
	}
	_, n, pad := h.Sizes()
	data = make([]byte, n+pad)
	if _, err = io.ReadFull(i.conn, data); err != nil {
		return h, nil, err
	}
	if i.data && n > 0 {
		var d [4]byte
		if _, err = io.ReadFull(i.conn, d[:]); err != nil {
			return h, nil, err
		}
		if pdu.GetDigest(d[:]) != pdu.DataDigest(data[:n]) {
			return h, nil, errors.New("wrong data digest")
		}
	}
	return h, data[:n], nil
}

// expect receives a PDU and fails unless it has this opcode and the next StatSN, if it
// carries one.
func (i *initiator) expect(op pdu.Opcode) (pdu.Header, []byte) {
	i.t.Helper()
	h, data := i.receive()
	if h.Opcode() != op {
		i.t.Fatalf("got opcode %#02x (%x), expected %#02x", byte(h.Opcode()), h, byte(op))
	}
	switch op {
	case pdu.OpDataIn, pdu.OpR2T:
	default:
		var r pdu.SCSIResponse
		r.Unmarshal(&h)
		if r.StatSN != i.expSN {
			i.t.Fatalf("StatSN is %d, expected %d", r.StatSN, i.expSN)
		}
		i.expSN++
	}
	return h, data
}

// silence fails if anything comes before the server has answered a ping.
func (i *initiator) silence() {
	i.t.Helper()
	i.ping()
	h, _ := i.expect(pdu.OpNopIn)
	if h.ITT() != 0xdead {
		i.t.Fatal("a ping that was not asked for")
	}
}

func (i *initiator) ping() {
	i.t.Helper()
	n := pdu.NopOut{Immediate: true, ITT: 0xdead, TTT: pdu.NoTag, CmdSN: i.cmdSN, ExpStatSN: i.expSN}
	var h pdu.Header
	n.Marshal(&h)
	i.send(&h, nil)
}

// closed fails unless the server closes the connection; what it says before is lost.
func (i *initiator) closed() {
	i.t.Helper()
	if err := i.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		i.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, i.conn); err != nil && !errors.Is(err, io.ErrClosedPipe) && !isReset(err) {
		i.t.Fatalf("the connection is not closed: %v", err)
	}
}

func isReset(err error) bool { return strings.Contains(err.Error(), "reset by peer") }

// cdbs

func read10(block, n int) (cdb [16]byte)  { return rw(0x28, block, n) }
func write10(block, n int) (cdb [16]byte) { return rw(0x2a, block, n) }

func rw(op byte, block, n int) (cdb [16]byte) {
	cdb[0] = op
	binary.BigEndian.PutUint32(cdb[2:], uint32(block))
	binary.BigEndian.PutUint16(cdb[7:], uint16(n))
	return cdb
}

// command sends a SCSI command with the next CmdSN and task tag.
func (i *initiator) command(c pdu.SCSICommand, data []byte) uint32 {
	i.t.Helper()
	i.itt++
	c.ITT, c.CmdSN, c.ExpStatSN, c.DataLength = i.itt, i.cmdSN, i.expSN, uint32(len(data))
	i.cmdSN++
	var h pdu.Header
	c.Marshal(&h)
	i.send(&h, data)
	return i.itt
}

// read sends READ(10) of n blocks.
func (i *initiator) read(block, n int) uint32 {
	i.t.Helper()
	return i.command(pdu.SCSICommand{Final: true, Read: true, CDB: read10(block, n), ExpectedLength: uint32(n * sector)}, nil)
}

// write sends WRITE(10) with these immediate data, all of n blocks being expected.
func (i *initiator) write(block, n int, final bool, data []byte) uint32 {
	i.t.Helper()
	return i.command(pdu.SCSICommand{Final: final, Write: true, CDB: write10(block, n), ExpectedLength: uint32(n * sector)}, data)
}

func (i *initiator) dataOut(d pdu.DataOut, data []byte) {
	i.t.Helper()
	d.DataLength, d.ExpStatSN = uint32(len(data)), i.expSN
	var h pdu.Header
	d.Marshal(&h)
	i.send(&h, data)
}

// good expects a response with status GOOD, and returns it.
func (i *initiator) good() pdu.SCSIResponse { i.t.Helper(); return i.status(scsi.Good) }

func (i *initiator) status(want scsi.Status) pdu.SCSIResponse {
	i.t.Helper()
	h, _ := i.expect(pdu.OpSCSIResponse)
	var r pdu.SCSIResponse
	r.Unmarshal(&h)
	if r.Status != byte(want) {
		i.t.Fatalf("status %#02x, expected %#02x", r.Status, byte(want))
	}
	return r
}

// check expects CHECK CONDITION with this sense.
func (i *initiator) check(want sense) {
	i.t.Helper()
	h, data := i.expect(pdu.OpSCSIResponse)
	var r pdu.SCSIResponse
	r.Unmarshal(&h)
	if r.Status != byte(scsi.CheckCondition) || len(data) < 16 {
		i.t.Fatalf("status %#02x with %d bytes of data", r.Status, len(data))
	}
	if got := (sense{data[4], data[14], data[15]}); got != want {
		i.t.Fatalf("sense %x, expected %x", got, want)
	}
}

func (i *initiator) r2t() pdu.R2T {
	i.t.Helper()
	h, _ := i.expect(pdu.OpR2T)
	var r pdu.R2T
	r.Unmarshal(&h)
	return r
}

func (i *initiator) rejected(want pdu.RejectReason) {
	i.t.Helper()
	h, data := i.expect(pdu.OpReject)
	var r pdu.Reject
	r.Unmarshal(&h)
	if r.Reason != want || len(data) < pdu.HeaderLen {
		i.t.Fatalf("rejected for reason %d with %d bytes, expected reason %d", r.Reason, len(data), want)
	}
}

func (i *initiator) request(h pdu.Header) { i.t.Helper(); i.send(&h, nil) }

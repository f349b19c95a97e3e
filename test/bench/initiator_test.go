package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"time"

	"sluice/target/pdu"
)

// initiator is an iSCSI client for what iscsiverify cannot do: digests of the data, which
// libiscsi does not have, and several sessions that start at the same time. It keeps depth commands in flight, gathers
// those that it can send in one write, and takes all answers that have come in one read.
// It checks every digest, and fails at the first thing that is not as it should be.
type initiator struct {
	conn    net.Conn
	in      *bufio.Reader
	out     []byte
	digests bool
	cmdSN   pdu.SN
	maxSN   pdu.SN // the last CmdSN that the target takes
	expSN   pdu.SN // the next StatSN
	lun     uint64
	data    []byte // of a received data segment
	read    int    // bytes of data received
}

// load is what an initiator asks for: commands of bytes each, within the first area bytes.
type load struct {
	write       bool
	depth       int
	bytes, area int
}

// dialDisk logs in to the disk of an iscsi:// address, as the n-th session of a host.
func dialDisk(address string, n byte, digests bool) (*initiator, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	path := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	if len(path) != 2 {
		return nil, fmt.Errorf("%s: not host:port/target/lun", address)
	}
	var lun int
	if _, err := fmt.Sscan(path[1], &lun); err != nil {
		return nil, fmt.Errorf("LUN of %s: %w", address, err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, 10*time.Second)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second)) // an open connection takes it; run sets its own
	c := &initiator{conn: conn, in: bufio.NewReaderSize(conn, 256<<10), cmdSN: 1, maxSN: 1, data: make([]byte, 1<<18+4)}
	c.lun, _ = pdu.EncodeLUN(lun)
	if err := c.login(path[0], n, digests); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("login: %w", err)
	}
	if err := c.ready(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("test unit ready: %w", err)
	}
	return c, nil
}

// ready sends TEST UNIT READY until no unit attention is left (SAM-5 5.14).
func (c *initiator) ready() (err error) {
	for range 8 {
		var h pdu.Header
		cmd := pdu.SCSICommand{Final: true, Attr: pdu.AttrSimple, LUN: c.lun, ITT: uint32(c.cmdSN), CmdSN: c.cmdSN, ExpStatSN: c.expSN}
		cmd.Marshal(&h)
		c.append(&h, nil)
		c.cmdSN++
		if err := c.flush(); err != nil {
			return err
		}
		if _, err = c.answer(); err == nil {
			return nil
		}
	}
	return err
}

// login goes straight to the operational stage, since no authentication is asked for.
func (c *initiator) login(target string, n byte, digests bool) error {
	method := "None"
	if digests {
		method = "CRC32C"
	}
	text := strings.Join([]string{
		"InitiatorName=iqn.2026-11.io.sluice.test:bench", "TargetName=" + target, "SessionType=Normal",
		"HeaderDigest=" + method, "DataDigest=" + method, "InitialR2T=Yes", "ImmediateData=Yes", "MaxRecvDataSegmentLength=262144",
		"MaxBurstLength=262144", "FirstBurstLength=65536", "MaxConnections=1", "ErrorRecoveryLevel=0", "",
	}, "\x00")
	var answer strings.Builder
	for range 8 {
		req := pdu.LoginRequest{
			Transit: true, CSG: pdu.StageOperational, NSG: pdu.StageFullFeature, ISID: [6]byte{0x80, 0, 0, 0, 1, n},
			CmdSN: c.cmdSN, ExpStatSN: c.expSN, DataLength: uint32(len(text)),
		}
		var h pdu.Header
		req.Marshal(&h)
		c.append(&h, []byte(text))
		if err := c.flush(); err != nil {
			return err
		}
		data, err := c.receive(&h)
		if err != nil {
			return err
		}
		var resp pdu.LoginResponse
		resp.Unmarshal(&h)
		if h.Opcode() != pdu.OpLoginResponse || resp.Status != pdu.LoginSuccess {
			return fmt.Errorf("opcode %#02x, status %#04x", byte(h.Opcode()), uint16(resp.Status))
		}
		c.expSN, c.maxSN = resp.StatSN+1, resp.MaxCmdSN
		answer.Write(data)
		if resp.Transit && resp.NSG == pdu.StageFullFeature {
			break
		}
		text = ""
	}
	for _, key := range []string{"HeaderDigest=", "DataDigest="} {
		if digests && !strings.Contains(answer.String(), key+"CRC32C") {
			return fmt.Errorf("the target has no %sCRC32C", key)
		}
	}
	c.digests = digests
	return nil
}

// run puts the load on the disk for a time and returns how many commands were carried out.
func (c *initiator) run(l load, d time.Duration) (done int, err error) {
	payload := make([]byte, l.bytes)
	for i := 0; i < len(payload); i += 8 {
		binary.NativeEndian.PutUint64(payload[i:], rand.Uint64())
	}
	_ = c.conn.SetDeadline(time.Now().Add(d + 30*time.Second))
	start, inFlight := time.Now(), 0
	c.read = 0
	for {
		running := time.Since(start) < d
		if !running && inFlight == 0 {
			break
		}
		for running && inFlight < l.depth && c.cmdSN.LessEq(c.maxSN) {
			c.command(l, payload)
			inFlight++
		}
		if err := c.flush(); err != nil {
			return 0, err
		}
		for more := true; more; more = c.in.Buffered() >= pdu.HeaderLen {
			finished, err := c.answer()
			if err != nil {
				return 0, err
			}
			if finished {
				inFlight--
				done++
			}
		}
	}
	if !l.write && c.read != done*l.bytes {
		return 0, fmt.Errorf("%d reads of %d bytes brought %d", done, l.bytes, c.read)
	}
	return done, nil
}

// command adds a READ (16) or a WRITE (16) (SBC-3 5.15, 5.42) of a random place to what is sent next.
func (c *initiator) command(l load, payload []byte) {
	cmd := pdu.SCSICommand{
		Final: true, Read: !l.write, Write: l.write, Attr: pdu.AttrSimple, LUN: c.lun, ITT: uint32(c.cmdSN) & 0x7fffffff,
		ExpectedLength: uint32(l.bytes), CmdSN: c.cmdSN, ExpStatSN: c.expSN,
	}
	cmd.CDB[0] = 0x88
	if l.write {
		cmd.CDB[0], cmd.DataLength = 0x8a, uint32(l.bytes)
		binary.NativeEndian.PutUint64(payload, rand.Uint64()) // no block is like another
	} else {
		payload = nil
	}
	const sector = 512
	binary.BigEndian.PutUint64(cmd.CDB[2:], rand.Uint64N(uint64(l.area/l.bytes))*uint64(l.bytes/sector))
	binary.BigEndian.PutUint32(cmd.CDB[10:], uint32(l.bytes/sector))
	var h pdu.Header
	cmd.Marshal(&h)
	c.append(&h, payload)
	c.cmdSN++
}

// answer takes one PDU and tells whether it ends a command.
func (c *initiator) answer() (finished bool, err error) {
	var h pdu.Header
	if _, err := c.receive(&h); err != nil {
		return false, err
	}
	if h.Opcode() == pdu.OpDataIn {
		var d pdu.DataIn
		d.Unmarshal(&h)
		c.window(d.MaxCmdSN)
		c.read += int(d.DataLength)
		if !d.HasStatus {
			return false, nil
		}
		c.expSN = d.StatSN + 1
		return true, good(d.Status)
	}
	if h.Opcode() != pdu.OpSCSIResponse {
		return false, fmt.Errorf("opcode %#02x", byte(h.Opcode()))
	}
	var r pdu.SCSIResponse
	r.Unmarshal(&h)
	c.window(r.MaxCmdSN)
	c.expSN = r.StatSN + 1
	if r.Response != pdu.ResponseCompleted {
		return true, fmt.Errorf("service response %d", r.Response)
	}
	return true, good(r.Status)
}

func good(status byte) error {
	if status != 0 {
		return fmt.Errorf("status %#02x", status)
	}
	return nil
}

func (c *initiator) window(last pdu.SN) {
	if c.maxSN.Less(last) {
		c.maxSN = last
	}
}

// append adds a PDU to what is sent next.
func (c *initiator) append(h *pdu.Header, data []byte) {
	c.out = append(c.out, h[:]...)
	if c.digests {
		c.out = binary.LittleEndian.AppendUint32(c.out, pdu.HeaderDigest(h, nil))
	}
	c.out = append(c.out, data...)
	c.out = append(c.out, make([]byte, pdu.Padding(len(data)))...)
	if c.digests && len(data) > 0 {
		c.out = binary.LittleEndian.AppendUint32(c.out, pdu.DataDigest(data))
	}
}

func (c *initiator) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

// receive takes one PDU. Its data is good until the next call.
func (c *initiator) receive(h *pdu.Header) ([]byte, error) {
	if _, err := io.ReadFull(c.in, h[:]); err != nil {
		return nil, err
	}
	ahs, n, pad := h.Sizes()
	if ahs != 0 {
		return nil, errors.New("additional header segments in an answer")
	}
	if err := c.checkDigest(true, h[:]); err != nil {
		return nil, err
	}
	if n+pad > len(c.data) {
		return nil, fmt.Errorf("a data segment of %d bytes", n)
	}
	data := c.data[:n+pad]
	if _, err := io.ReadFull(c.in, data); err != nil {
		return nil, err
	}
	return data[:n], c.checkDigest(n > 0, data)
}

// checkDigest reads the digest of what was read, if there is one.
func (c *initiator) checkDigest(there bool, of []byte) error {
	if !c.digests || !there {
		return nil
	}
	var digest [pdu.DigestLen]byte
	if _, err := io.ReadFull(c.in, digest[:]); err != nil {
		return err
	}
	if pdu.GetDigest(digest[:]) != pdu.UpdateDigest(0, of) {
		return errors.New("wrong digest")
	}
	return nil
}

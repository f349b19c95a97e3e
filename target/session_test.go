package target

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

// TestReinstatement: the same initiator port logs in again; its old session ends, and what
// was under way in it, before the new one begins.
func TestReinstatement(t *testing.T) {
	r := newRig(t, true, Options{})
	hang := newHanger(r.disk)
	old := r.login()
	old.write(0, 1, true, make([]byte, sector))
	hang.wait(1)
	fresh := r.login()
	if running, nexuses := r.disk.inUse(); running != 0 || nexuses != 1 {
		t.Fatalf("%d commands running, %d nexuses", running, nexuses)
	}
	old.closed()
	close(hang.release)
	fresh.read(0, 1)
	fresh.expect(pdu.OpDataIn)
	fresh.expSN++
	if n := len(r.Sessions(targetIQN)); n != 1 {
		t.Fatalf("%d sessions", n)
	}
}

// TestReinstatementNeverMixesData: the new session does not begin while a write of the old
// one, which cannot be cancelled, may still be executed.
func TestReinstatementNeverMixesData(t *testing.T) {
	r := newRig(t, true, Options{Limits: Limits{LoginTime: 300 * time.Millisecond}})
	r.disk.inline = false
	started, release := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	r.disk.hook = func(context.Context, *scsi.Command, <-chan struct{}) bool {
		close(started)
		<-release
		return false
	}
	r.login().write(0, 1, true, make([]byte, sector))
	<-started
	i := r.connect()
	status, _ := i.tryLogin("SessionType=Normal", "TargetName="+targetIQN)
	if status != pdu.LoginUnavailable {
		t.Fatalf("status %04x", uint16(status))
	}
}

// TestConnectionReinstatement: a login with the handle of a live session takes the place of
// its connection, if it is for the same CID; anything else is refused.
func TestConnectionReinstatement(t *testing.T) {
	r := newRig(t, true, Options{})
	old := r.login()
	old.command(pdu.SCSICommand{Final: true}, nil)
	old.good()
	try := func(change func(*initiator)) (*initiator, pdu.LoginStatus) {
		i := r.connect()
		i.tsih, i.cmdSN = old.tsih, old.cmdSN
		change(i)
		status, _ := i.tryLogin("SessionType=Normal", "TargetName="+targetIQN)
		return i, status
	}
	for _, c := range []struct {
		name   string
		change func(*initiator)
		want   pdu.LoginStatus
	}{
		{"a handle of nobody's", func(i *initiator) { i.tsih += 9 }, pdu.LoginNoSession},
		{"the handle of another initiator", func(i *initiator) { i.name += "x" }, pdu.LoginNoSession},
		{"the handle of another port", func(i *initiator) { i.isid[5]++ }, pdu.LoginNoSession},
		{"a second connection", func(i *initiator) { i.cid++ }, pdu.LoginTooManyConnections},
	} {
		if _, status := try(c.change); status != c.want {
			t.Errorf("%s: status %04x, expected %04x", c.name, uint16(status), uint16(c.want))
		}
	}
	old.silence() // it lives on
	i, status := try(func(*initiator) {})
	if status != pdu.LoginSuccess || i.tsih != old.tsih {
		t.Fatalf("status %04x, handle %d", uint16(status), i.tsih)
	}
	old.closed()
	i.command(pdu.SCSICommand{Final: true}, nil)
	i.good()
	_, nexuses := r.disk.inUse()
	if s := r.Sessions(""); len(s) != 1 || s[0].Commands != 2 || nexuses != 1 {
		t.Fatalf("sessions %+v, %d nexuses", s, nexuses)
	}
}

// TestReinstatedConnectionGoesOn: commands that were lost with the old connection do not come
// again (ErrorRecoveryLevel 0), so that the new one goes on behind them, with its whole window.
func TestReinstatedConnectionGoesOn(t *testing.T) {
	for _, lost := range []int{0, 3, 16} {
		r := newRig(t, true, Options{Limits: Limits{CommandWindow: 16}})
		old := r.login()
		old.command(pdu.SCSICommand{Final: true}, nil)
		old.good()
		i := r.connect()
		i.tsih, i.cmdSN = old.tsih, old.cmdSN.Add(uint32(lost))
		i.mustLogin()
		end := i.cmdSN.Add(16 - 1)
		i.command(pdu.SCSICommand{Final: true}, nil)
		if got := i.maxCmdSN(); got != end.Add(1) {
			t.Errorf("%d lost: the window ends at %d, expected %d", lost, got, end.Add(1))
		}
	}
}

// TestHandlesNeverRunOut: handles are used again, and 0 never.
func TestHandlesNeverRunOut(t *testing.T) {
	s := New(Options{Authorizer: everybody{}})
	s.sessions[1], s.sessions[2], s.sessions[65535] = nil, nil, nil
	s.lastTSIH = 65533
	var got []uint16
	for range 3 {
		got = append(got, s.freeTSIH())
	}
	if !slices.Equal(got, []uint16{65534, 3, 4}) {
		t.Fatalf("handles %v", got)
	}
}

// TestManyLogins: sessions come and go without a trace.
func TestManyLogins(t *testing.T) {
	r := newRig(t, true, Options{Limits: Limits{Sessions: 3, Connections: 6}})
	for range 100 {
		i := r.login()
		i.logout()
		_ = i.conn.Close()
	}
}

func (i *initiator) logout() {
	i.t.Helper()
	i.request(header(&pdu.LogoutRequest{ITT: 0x109, CmdSN: i.cmdSN, ExpStatSN: i.expSN}))
	h, _ := i.expect(pdu.OpLogoutResponse)
	var p pdu.LogoutResponse
	p.Unmarshal(&h)
	if p.Result != pdu.LogoutClosed || p.ITT != 0x109 {
		i.t.Fatalf("logout response %+v", p)
	}
}

// TestLogout ends what is under way; commands that come after it are not executed.
func TestLogout(t *testing.T) {
	r := newRig(t, true, Options{})
	hang := newHanger(r.disk)
	i := r.login()
	i.request(header(&pdu.LogoutRequest{Reason: pdu.LogoutRecover, ITT: 0x109, CmdSN: i.cmdSN}))
	i.cmdSN++
	if h, _ := i.expect(pdu.OpLogoutResponse); pdu.LogoutResult(h[2]) != pdu.LogoutRecoverUnsupported {
		t.Fatalf("result %d", h[2])
	}
	i.request(header(&pdu.LogoutRequest{Reason: pdu.LogoutCloseConnection, CID: 99, ITT: 0x109, CmdSN: i.cmdSN}))
	i.cmdSN++
	if h, _ := i.expect(pdu.OpLogoutResponse); pdu.LogoutResult(h[2]) != pdu.LogoutNoCID {
		t.Fatalf("result %d", h[2])
	}
	i.read(0, 1)
	hang.wait(1)
	out := header(&pdu.LogoutRequest{ITT: 0x109, CmdSN: i.cmdSN})
	after := header(&pdu.SCSICommand{Final: true, Write: true, ITT: 0x10a, CmdSN: i.cmdSN + 1, CDB: write10(0, 1), ExpectedLength: sector, DataLength: sector})
	both := append(i.encode(&out, nil), i.encode(&after, make([]byte, sector))...)
	if _, err := i.conn.Write(both); err != nil {
		t.Fatal(err)
	}
	if h, _ := i.expect(pdu.OpLogoutResponse); pdu.LogoutResult(h[2]) != pdu.LogoutClosed {
		t.Fatalf("result %d", h[2])
	}
	i.closed()
	if !slices.Equal(r.disk.executed, []byte{0x28}) {
		t.Fatalf("executed: %x", r.disk.executed)
	}
}

// TestStrangers: what is not a login is not let in, and does no harm.
func TestStrangers(t *testing.T) {
	r := newRig(t, true, Options{})
	for name, bytes := range map[string]string{
		"another protocol": "GET / HTTP/1.1\r\nHost: a very long name, so that there are 48 bytes\r\n\r\n",
		"half a header":    "\x43\x87\x00\x00",
		"too much data":    "\x43\x87\x00\x00\x00\xff\xff\xff" + strings.Repeat("\x00", 40),
		"no data":          "\x43\x87\x00\x00\x00\x00\x10\x00" + strings.Repeat("\x00", 40),
		"header segments":  "\x43\x87\x00\x00\xff\x00\x00\x00" + strings.Repeat("\x00", 40+1020),
	} {
		c := r.dial()
		if _, err := io.WriteString(c, bytes); err != nil {
			t.Fatal(err)
		}
		if half, ok := c.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
		if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
			t.Errorf("%s: %v", name, err)
		}
		_ = c.Close()
	}
	i := r.connect()
	if status, _ := i.tryLogin("SessionType=Normal", "TargetName=iqn.2026-11.test:nothing"); status != pdu.LoginNotFound {
		t.Errorf("unknown target: status %04x", uint16(status))
	}
	r.login().silence()
}

// list lets initiators on it see and use targets.
type list map[string][]string

func (l list) Authorize(initiator, target string, _ net.Addr) (login.Access, error) {
	if target == "" || slices.Contains(l[initiator], target) {
		return login.Access{}, nil
	}
	return login.Access{}, login.Refuse(pdu.LoginForbidden, "%s is not on the list", initiator)
}

// TestAccess: an initiator that is not on the list is told 0202, and sees nothing.
func TestAccess(t *testing.T) {
	r := newRig(t, true, Options{Authorizer: list{initiatorIQN: {targetIQN}}})
	r.login()
	i := r.connect()
	i.name += "2"
	if status, _ := i.tryLogin("SessionType=Normal", "TargetName="+targetIQN); status != pdu.LoginForbidden {
		t.Fatalf("status %04x", uint16(status))
	}
	d := r.connect()
	d.name += "2"
	if status, _ := d.tryLogin("SessionType=Discovery"); status != pdu.LoginSuccess {
		t.Fatalf("discovery: status %04x", uint16(status))
	}
	if answer := d.ask("SendTargets=All"); answer != "" {
		t.Fatalf("it sees %q", answer)
	}
}

// ask sends a text request and puts the answers together.
func (i *initiator) ask(keys string) string {
	i.t.Helper()
	text := strings.ReplaceAll(keys, " ", "\x00") + "\x00"
	var answer []byte
	p := pdu.TextRequest{Final: true, ITT: 0x7e, TTT: pdu.NoTag, CmdSN: i.cmdSN, DataLength: uint32(len(text))}
	for data := []byte(text); ; data = nil {
		h := header(&p)
		i.cmdSN++
		i.send(&h, data)
		resp, part := i.expect(pdu.OpTextResponse)
		var r pdu.TextResponse
		r.Unmarshal(&resp)
		answer = append(answer, part...)
		if r.Final {
			return strings.ReplaceAll(strings.Trim(string(answer), "\x00"), "\x00", " ")
		}
		p = pdu.TextRequest{Final: true, ITT: 0x7e, TTT: r.TTT, CmdSN: i.cmdSN}
	}
}

// TestDiscovery lists targets under the address that the initiator came to, in as many
// pieces as it takes.
func TestDiscovery(t *testing.T) {
	r := newRig(t, true, Options{})
	for n := range 100 {
		name := fmt.Sprintf("iqn.2026-11.test:volume%d", n)
		if err := r.AddTarget(Target{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	d := r.connect()
	if status, _ := d.tryLogin("SessionType=Discovery", "MaxRecvDataSegmentLength=512"); status != pdu.LoginSuccess {
		t.Fatalf("status %04x", uint16(status))
	}
	portal := d.conn.RemoteAddr().String() + ",1"
	one := "TargetName=" + targetIQN + " TargetAddress=" + portal
	if all := d.ask("SendTargets=All"); strings.Count(all, "TargetName=") != 101 || !strings.Contains(all, one) {
		t.Errorf("All: %q", all)
	}
	if got := d.ask("SendTargets=" + strings.ToUpper(targetIQN)); got != one {
		t.Errorf("by name: %q", got)
	}
	if got := d.ask("SendTargets=iqn.2026-11.test:nothing"); got != "" {
		t.Errorf("unknown: %q", got)
	}
	d.command(pdu.SCSICommand{Final: true}, nil)
	d.rejected(pdu.ReasonProtocolError)

	i := r.login()
	if got := i.ask("SendTargets="); got != one {
		t.Errorf("own target: %q", got)
	}
	if got := i.ask("SendTargets=All X-what=1 MaxBurstLength=512"); got != "SendTargets=Reject X-what=NotUnderstood MaxBurstLength=Reject" {
		t.Errorf("what is not for a normal session: %q", got)
	}
}

// TestRunTimeChanges: targets and sessions come and go while the server runs.
func TestRunTimeChanges(t *testing.T) {
	r := newRig(t, true, Options{Limits: Limits{LogoutTime: time.Millisecond}})
	i := r.login("HeaderDigest=CRC32C")
	i.write(0, 1, true, make([]byte, sector))
	i.good()
	s := r.Sessions(targetIQN)
	if len(s) != 1 || s[0].Initiator != initiatorIQN || s[0].Commands != 1 || s[0].BytesReceived != sector || !s[0].HeaderDigest || s[0].DataDigest {
		t.Fatalf("sessions: %+v", s)
	}
	n, err := r.DropSessions(t.Context(), targetIQN, func(s SessionInfo) bool { return s.User == "somebody" })
	if n != 0 || err != nil {
		t.Fatalf("dropped %d, %v", n, err)
	}
	if err := r.RemoveTarget(t.Context(), targetIQN); err != nil {
		t.Fatal(err)
	}
	i.closed()
	if status, _ := r.connect().tryLogin("SessionType=Normal", "TargetName="+targetIQN); status != pdu.LoginNotFound {
		t.Fatalf("status %04x", uint16(status))
	}
	if err := r.RemoveTarget(t.Context(), targetIQN); err == nil {
		t.Fatal("removed twice")
	}
	for _, bad := range []Target{{}, {Name: "bad name"}, {Name: strings.Repeat("x", 224)}} {
		if r.AddTarget(bad) == nil {
			t.Errorf("added %+v", bad)
		}
	}
}

// TestPanics: a panic in a logical unit ends one session and nothing else.
func TestPanics(t *testing.T) {
	r := newRig(t, true, Options{})
	other := r.connect()
	other.isid[5] = 3
	other.mustLogin()
	i := r.login()
	r.disk.hook = func(_ context.Context, cmd *scsi.Command, _ <-chan struct{}) bool {
		if cmd.CDB[0] == 0x28 {
			panic("a bug")
		}
		return false
	}
	i.read(0, 1)
	i.closed()
	if seen := r.panics.take(); len(seen) != 1 || !strings.Contains(seen[0], "a bug") || !strings.Contains(seen[0], "pdu=01c0") {
		t.Fatalf("logged: %q", seen)
	}
	other.command(pdu.SCSICommand{Final: true}, nil)
	other.good()
	i = r.login()
	i.command(pdu.SCSICommand{Final: true}, nil)
	i.good()
}

// TestPanicNamesItsCommand: what is logged is the command that panicked, whatever was read
// after it, and nothing of its data.
func TestPanicNamesItsCommand(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login()
	r.disk.hook = func(_ context.Context, cmd *scsi.Command, _ <-chan struct{}) bool {
		if cmd.CDB[0] == 0x2a {
			panic("a bug")
		}
		return false
	}
	h := header(&pdu.SCSICommand{Final: true, Write: true, ITT: 0x77, CmdSN: i.cmdSN, CDB: write10(5, 1), ExpectedLength: sector, DataLength: sector})
	data := bytes.Repeat([]byte{0xd7}, sector)
	ping := header(&pdu.NopOut{Immediate: true, ITT: 0x88, TTT: pdu.NoTag, CmdSN: i.cmdSN + 1})
	if _, err := i.conn.Write(append(append(h[:], data...), ping[:]...)); err != nil {
		t.Fatal(err)
	}
	i.closed()
	cdb := write10(5, 1)
	seen := strings.Join(r.panics.take(), "\n")
	if !strings.Contains(seen, "pdu=01a0") || !strings.Contains(seen, hex.EncodeToString(cdb[:])) || !strings.Contains(seen, "00000077") {
		t.Errorf("logged: %s", seen)
	}
	if strings.Contains(seen, "d7d7") || strings.Contains(seen, "00000088") {
		t.Errorf("logged, too: %s", seen)
	}
}

// TestShutdown asks for a logout, and waits for it.
func TestShutdown(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login()
	half := r.connect() // has not logged in
	ended := make(chan error)
	go func() { ended <- r.Shutdown(context.Background()) }()
	h, _ := i.expect(pdu.OpAsync)
	var a pdu.Async
	a.Unmarshal(&h)
	if a.Event != pdu.AsyncLogoutRequest {
		t.Fatalf("event %d", a.Event)
	}
	half.closed()
	i.write(0, 1, true, make([]byte, sector))
	i.good() // it may finish what it is at
	select {
	case err := <-ended:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	i.logout()
	_ = i.conn.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := r.AddTarget(Target{Name: "iqn.2026-11.test:late"}); !errors.Is(err, ErrClosed) {
		t.Errorf("AddTarget: %v", err)
	}
	if _, err := r.Listen(t.Context(), "127.0.0.1:0"); !errors.Is(err, ErrClosed) {
		t.Errorf("Listen: %v", err)
	}
}

// TestShutdownDoesNotWaitForever: who does not log out is disconnected.
func TestShutdownDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		i := r.login()
		events := i.events()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 5*time.Second {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
		want := []pdu.AsyncEvent{pdu.AsyncLogoutRequest, pdu.AsyncDropSession}
		if got := <-events; !slices.Equal(got, want) {
			t.Fatalf("it was told of events %v, expected %v", got, want)
		}
	})
}

// TestHalfOpen: who connects and does not log in is disconnected, and cannot keep others
// out meanwhile: the newest is let in, and the oldest makes room for it.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{Limits: Limits{PendingPerIP: 3, Connections: 4}})
		begin := time.Now()
		var half []*initiator
		for range 3 {
			half = append(half, r.connect())
		}
		synctest.Wait()
		r.login().silence() // it lives
		if _, err := io.Copy(io.Discard, half[0].conn); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			half = append(half, r.connect())
		}
		synctest.Wait()
		if time.Since(begin) != 0 {
			t.Fatal("room was not made at once")
		}
		for _, i := range half[3:] {
			if _, err := io.Copy(io.Discard, i.conn); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begin) != 15*time.Second {
			t.Fatalf("disconnected after %v", time.Since(begin))
		}
		synctest.Wait()
		if n := len(r.newcomers) + len(r.conns); n != 1 {
			t.Fatalf("%d connections are counted, where there is 1", n)
		}
	})
}

// TestSilentInitiator: an idle initiator is pinged, and dropped if it does not answer.
func TestSilentInitiator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		i := r.login()
		begin := time.Now()
		for range 3 {
			h, _ := i.receive()
			var n pdu.NopIn
			n.Unmarshal(&h)
			if h.Opcode() != pdu.OpNopIn || n.ITT != pdu.NoTag || n.TTT == pdu.NoTag || n.StatSN != i.expSN {
				t.Fatalf("instead of a ping: %x", h)
			}
			i.request(header(&pdu.NopOut{Immediate: true, ITT: pdu.NoTag, TTT: n.TTT, CmdSN: i.cmdSN}))
			synctest.Wait()
		}
		if d := time.Since(begin); d < 90*time.Second || d > 120*time.Second {
			t.Fatalf("three pings in %v", d)
		}
		begin = time.Now()
		i.receive() // and no answer
		if _, _, err := i.tryReceive(); err == nil {
			t.Fatal("not dropped")
		}
		if d := time.Since(begin); d < 60*time.Second || d > 70*time.Second {
			t.Fatalf("dropped after %v", d)
		}
	})
}

// TestStuckInitiator: one that does not read what it is sent is dropped, and until then
// holds up nobody else.
func TestStuckInitiator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		stuck := r.login()
		stuck.read(0, 100) // and it never reads the answer
		synctest.Wait()
		other := r.connect()
		other.isid[5] = 3
		other.mustLogin()
		other.command(pdu.SCSICommand{Final: true}, nil)
		other.good()
		other.logout()
		_ = other.conn.Close()
		begin := time.Now()
		for len(r.Sessions("")) > 0 {
			time.Sleep(time.Second)
		}
		if d := time.Since(begin); d < 55*time.Second || d > 80*time.Second {
			t.Fatalf("dropped after %v", d)
		}
	})
}

// TestStuckLogout: nor does one stay that logs out without reading what it has asked for.
func TestStuckLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		i := r.login()
		i.read(0, 2000) // more than the reader sends by itself
		i.request(header(&pdu.LogoutRequest{ITT: 0x109, CmdSN: i.cmdSN}))
		begin := time.Now()
		for len(r.Sessions("")) > 0 {
			time.Sleep(time.Second)
		}
		if d := time.Since(begin); d < 55*time.Second || d > 80*time.Second {
			t.Fatalf("ended after %v", d)
		}
	})
}

// TestPingFlood: pings whose answers nobody reads do not pile up.
func TestPingFlood(t *testing.T) {
	r := newRig(t, true, Options{})
	i := r.login()
	h := header(&pdu.NopOut{Immediate: true, ITT: 1, TTT: pdu.NoTag, CmdSN: i.cmdSN, DataLength: 8192})
	one := i.encode(&h, make([]byte, 8192))
	if err := i.conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for {
		n, err := i.conn.Write(one)
		sent += n
		if err != nil {
			break
		}
		if sent > 200<<20 {
			t.Fatal("the server takes in pings without end")
		}
	}
	ses := slices.Collect(maps.Values(r.sessions))[0]
	c := ses.conn.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.control > 2*maxControl {
		t.Fatalf("%d bytes are queued", c.control)
	}
}

package hostile

import (
	"bytes"
	"slices"
	"strings"

	"sluice/target/pdu"
)

// step is one thing that an attacker does, or that must come of it.
type step func(*peer)

// with joins steps: how to get there, what to do, what must come of it.
func with(steps ...step) []step { return steps }

// How to get there.

// connected is a TCP connection on which nothing was said.
func connected(p *peer) { p.connect() }

// normal is a session with the volume, as an ordinary initiator has it.
func normal(p *peer) { p.t.Helper(); session()(p) }

// session is a session with these keys negotiated.
func session(keys ...string) step {
	return func(p *peer) {
		p.t.Helper()
		p.tsih = 0
		p.connect()
		p.login(p.identity(), keys...)
		settled(p)
	}
}

// settled takes the unit attentions that a new session, or one after a reset, is owed.
func settled(p *peer) { p.t.Helper(); p.try(plain(0)) }

// asked is a session in which all data of a write are asked for by R2T.
func asked(p *peer) { session("InitialR2T=Yes", "ImmediateData=No", "MaxBurstLength=8192")(p) }

// free is a session in which data may come unasked, 8 KiB a write at most.
func free(p *peer) {
	session("InitialR2T=No", "ImmediateData=Yes", "FirstBurstLength=8192", "MaxBurstLength=16384")(p)
}

// digested is a session with both digests.
func digested(p *peer) { session("HeaderDigest=CRC32C", "DataDigest=CRC32C")(p) }

// discovery is a discovery session.
func discovery(p *peer) {
	p.connect()
	p.login([]string{"InitiatorName=" + p.name, "SessionType=Discovery"})
}

// again opens a second connection beside the first, which stays.
func again(p *peer) {
	first := *p
	p.others = append(p.others, &first)
	p.conn = nil
	p.connect()
}

// back goes back to the connection before the last again.
func back(p *peer) {
	others := p.others
	first := others[len(others)-1]
	first.t = p.t
	*p = *first
}

// What is done.

// send sends a message with its errors. That the target has hung up meanwhile is for the
// next step to find out.
func send(m message, edits ...edit) step {
	m = m.with(edits...)
	return func(p *peer) {
		p.t.Helper()
		if err := p.send(m); err != nil && !ended(err) {
			p.t.Fatalf("send: %v", err)
		}
	}
}

// raw sends bytes.
func raw(b []byte) step {
	return func(p *peer) {
		p.t.Helper()
		if err := p.write(b, false); err != nil && !ended(err) {
			p.t.Fatalf("send: %v", err)
		}
	}
}

// many repeats steps.
func many(n int, steps ...step) step {
	return func(p *peer) {
		p.t.Helper()
		for range n {
			for _, s := range steps {
				s(p)
			}
		}
	}
}

// hangsUp closes the connection in the middle.
func hangsUp(p *peer) { _ = p.conn.Close() }

// requests sends a login request in which something is wrong.
func requests(r pdu.LoginRequest, keys []string, edits ...edit) step {
	return func(p *peer) { p.t.Helper(); send(p.loginPDU(r, keys...), edits...)(p) }
}

// logs sends the usual first request with more keys, or with errors.
func logs(edits ...edit) step {
	return func(p *peer) { p.t.Helper(); send(p.loginRequest(p.identity()...), edits...)(p) }
}

// offers sends the usual first request with more keys.
func offers(keys ...string) step {
	return func(p *peer) { p.t.Helper(); send(p.loginRequest(append(p.identity(), keys...)...))(p) }
}

// says sends a first request of the operational stage with these keys and no others.
func says(keys ...string) step {
	return func(p *peer) { p.t.Helper(); send(p.loginRequest(keys...))(p) }
}

// security sends a request of the security stage, without wanting to leave it.
func security(keys ...string) step {
	return requests(pdu.LoginRequest{CSG: pdu.StageSecurity}, keys)
}

// as changes who the attacker claims to be.
func as(change func(*peer)) step { return change }

// What must come of it.

func rejected(want pdu.RejectReason) step {
	return func(p *peer) {
		p.t.Helper()
		h, data := p.expect(pdu.OpReject)
		var r pdu.Reject
		r.Unmarshal(&h)
		if r.Reason != want {
			p.t.Fatalf("rejected for reason %#02x, where %#02x is due", byte(r.Reason), byte(want))
		}
		if len(data) < pdu.HeaderLen {
			p.t.Fatalf("the reject repeats %d bytes of the header", len(data))
		}
	}
}

// status expects a SCSI Response with this status.
func status(want byte) step {
	return func(p *peer) {
		p.t.Helper()
		h, data := p.expect(pdu.OpSCSIResponse)
		if h[2] != 0 || h[3] != want {
			p.t.Fatalf("response %#02x with %s, where status %#02x is due", h[2], describe(&h, data), want)
		}
	}
}

func good(p *peer) { p.t.Helper(); status(0)(p) }

// sensed expects CHECK CONDITION with a sense key and additional sense code.
func sensed(key, asc, ascq byte) step {
	return func(p *peer) {
		p.t.Helper()
		h, data := p.expect(pdu.OpSCSIResponse)
		if h[2] != 0 || h[3] != 2 || len(data) < 16 || data[4]&15 != key || data[14] != asc || data[15] != ascq {
			p.t.Fatalf("got %s, where sense %02x/%02x/%02x is due", describe(&h, data), key, asc, ascq)
		}
	}
}

// residual expects GOOD with a residual, which is an underflow or an overflow.
func residual(under bool, n uint32) step {
	return func(p *peer) {
		p.t.Helper()
		h, data := p.expect(pdu.OpSCSIResponse)
		var r pdu.SCSIResponse
		r.Unmarshal(&h)
		if r.Status != 0 || r.Underflow != under || r.Overflow == under || r.Residual != n {
			p.t.Fatalf("got %s, underflow %v, overflow %v, residual %d", describe(&h, data), r.Underflow, r.Overflow, r.Residual)
		}
	}
}

// delivers expects n bytes of data-in, in any number of PDUs, and GOOD with them or after.
// flags are those of the last: 0x04 overflow, 0x02 underflow.
func delivers(n int, flags byte, rest uint32) step {
	return func(p *peer) {
		p.t.Helper()
		got := 0
		for {
			h, data, err := p.receive()
			if err != nil {
				p.t.Fatalf("receive after %d bytes of data: %v", got, err)
			}
			got += len(data)
			if h.Opcode() == pdu.OpDataIn && h[1]&1 == 0 {
				continue
			}
			if h.Opcode() == pdu.OpSCSIResponse {
				got -= len(data)
			}
			var r pdu.SCSIResponse // status, flags and residual are in the same places
			r.Unmarshal(&h)
			p.expSN++
			if h.Opcode() != pdu.OpDataIn && h.Opcode() != pdu.OpSCSIResponse || r.Status != 0 || got != n || h[1]&6 != flags || r.Residual != rest {
				p.t.Fatalf("%d bytes, then %s, flags %#02x, residual %d, where %d bytes, flags %#02x, residual %d are due",
					got, describe(&h, data), h[1]&6, r.Residual, n, flags, rest)
			}
			return
		}
	}
}

// asks expects an R2T for n bytes at an offset.
func asks(offset, n int) step {
	return func(p *peer) {
		p.t.Helper()
		h, _ := p.expect(pdu.OpR2T)
		p.r2t.Unmarshal(&h)
		if int(p.r2t.Offset) != offset || int(p.r2t.Length) != n {
			p.t.Fatalf("R2T for %d bytes at %d, where %d at %d are due", p.r2t.Length, p.r2t.Offset, n, offset)
		}
	}
}

// gives answers the last R2T.
func gives(offset int, data []byte, edits ...edit) step {
	return func(p *peer) {
		p.t.Helper()
		send(dataOut(p.r2t.ITT, p.r2t.TTT, offset, data), edits...)(p)
	}
}

// refused expects a login response with this status, and the end of the connection.
func refused(want pdu.LoginStatus) step {
	return func(p *peer) {
		p.t.Helper()
		if r := p.answer(); r.Status != want {
			p.t.Fatalf("login status %04x, where %04x is due", uint16(r.Status), uint16(want))
		}
		closed(p)
	}
}

// goesOn expects a login response that is a success but not the end of the login.
func goesOn(p *peer) {
	p.t.Helper()
	if r := p.answer(); r.Status != pdu.LoginSuccess || r.Transit && r.NSG == pdu.StageFullFeature {
		p.t.Fatalf("login status %04x, transit %v to stage %d", uint16(r.Status), r.Transit, r.NSG)
	}
}

// in expects the login to succeed, with a unit that is ready for commands.
func in(p *peer) { p.t.Helper(); success(p); settled(p) }

// success expects the login to succeed.
func success(p *peer) {
	p.t.Helper()
	r := p.answer()
	if r.Status != pdu.LoginSuccess || !r.Transit || r.NSG != pdu.StageFullFeature || r.TSIH == 0 {
		p.t.Fatalf("login status %04x, transit %v to stage %d, TSIH %d", uint16(r.Status), r.Transit, r.NSG, r.TSIH)
	}
	p.tsih = r.TSIH
	p.header, p.data = p.agreed["HeaderDigest"] == "CRC32C", p.agreed["DataDigest"] == "CRC32C"
}

// agrees expects a key to have been answered so in the login.
func agrees(key, value string) step {
	return func(p *peer) {
		p.t.Helper()
		if got, ok := p.agreed[key]; !ok || got != value {
			p.t.Fatalf("%s was answered %q (%v), where %q is due", key, got, ok, value)
		}
	}
}

// closed expects the target to hang up, without having said anything more.
func closed(p *peer) {
	p.t.Helper()
	if h, data, err := p.receive(); err == nil {
		p.t.Fatalf("got %s, where the end of the connection is due", describe(&h, data))
	} else if !ended(err) {
		p.t.Fatalf("the connection is not closed: %v", err)
	}
}

// hungUp expects the end of the connection, whatever is said before.
func hungUp(p *peer) {
	p.t.Helper()
	for {
		if _, _, err := p.receive(); ended(err) {
			return
		} else if err != nil {
			p.t.Fatalf("the connection is not closed: %v", err)
		}
	}
}

// alive expects the answer to a ping to be the next thing that comes.
func alive(p *peer) {
	p.t.Helper()
	send(nop('a', 'l', 'i', 'v', 'e'), immediate)(p)
	h, data := p.expect(pdu.OpNopIn)
	if h.ITT() != p.itt || !bytes.Equal(data, []byte("alive")) {
		p.t.Fatalf("ping %d was answered with tag %d and %q", p.itt, h.ITT(), data)
	}
}

// executes expects the next command in order to be executed: the window is as it should be.
func executes(p *peer) { p.t.Helper(); send(plain(0))(p); good(p) }

// answers expects these PDUs, in any order.
func answers(ops ...pdu.Opcode) step {
	return func(p *peer) {
		p.t.Helper()
		left := slices.Clone(ops)
		for len(left) > 0 {
			h, data, err := p.receive()
			i := slices.Index(left, h.Opcode())
			if err != nil || i < 0 {
				p.t.Fatalf("got %s (%v), where one of %#x is due", describe(&h, data), err, left)
			}
			left = slices.Delete(left, i, i+1)
			p.expSN++
		}
	}
}

// pong expects the answer to a ping.
func pong(p *peer) { p.t.Helper(); p.expect(pdu.OpNopIn) }

func taskResult(want pdu.TaskResult) step {
	return func(p *peer) {
		p.t.Helper()
		h, _ := p.expect(pdu.OpTaskResponse)
		if got := pdu.TaskResult(h[2]); got != want {
			p.t.Fatalf("task management response %d, where %d is due", got, want)
		}
	}
}

func loggedOut(want pdu.LogoutResult) step {
	return func(p *peer) {
		p.t.Helper()
		h, _ := p.expect(pdu.OpLogoutResponse)
		if got := pdu.LogoutResult(h[2]); got != want {
			p.t.Fatalf("logout response %d, where %d is due", got, want)
		}
	}
}

// texts expects a text response that contains want.
func texts(want string) step {
	return func(p *peer) {
		p.t.Helper()
		if _, data := p.expect(pdu.OpTextResponse); !strings.Contains(string(data), want) || want == "" && len(data) > 0 {
			p.t.Fatalf("the text response is %q, where %q is due", data, want)
		}
	}
}

package hostile

import (
	"bytes"
	"slices"
	"strings"

	"sluice/target/pdu"
)

// strangers do not begin with a login: nothing but a login is answered.
func strangers() []sequence {
	const silence, where = "the connection is closed without a word", "6.3, 7.4.2"
	table := []sequence{
		{name: "HTTP request", must: silence, section: where, steps: with(connected,
			raw([]byte("GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a browser\r\n\r\n")), closed)},
		{name: "TLS hello", must: silence, section: where, steps: with(connected,
			raw(append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 512)...)), closed)},
		{name: "48 bytes of 0xff", must: silence, section: where, steps: with(connected, raw(bytes.Repeat([]byte{0xff}, 48)), closed)},
		{name: "a mebibyte of zeros", must: silence, section: where, steps: with(connected, raw(make([]byte, 1<<20)), hungUp)},
		{name: "nothing, then gone", must: "nothing", section: where, steps: with(connected, hangsUp)},
		{name: "half a header, then gone", must: "nothing", section: where, steps: with(connected, raw(make([]byte, 24)), hangsUp)},
		{
			name: "a hundred connections that say nothing", must: "nothing, and the next login succeeds", section: where,
			steps: with(many(100, connected, hangsUp), normal, alive),
		},
		{name: "data-out with a mebibyte of data", must: silence, section: where, steps: with(connected,
			send(dataOut(1, pdu.NoTag, 0, make([]byte, 1<<20))), hungUp)},
		{name: "WRITE with immediate data", must: silence + ", nothing is written", section: where, steps: with(connected,
			send(writing(512, make([]byte, 512), write10(0, 1)...)), hungUp)},
		{name: "answer of another target", must: silence, section: where, steps: with(connected,
			send(build(&pdu.LoginResponse{Transit: true, CSG: 1, NSG: 3, TSIH: 1}, nil)), closed)},
	}
	for op := range 0x40 {
		if op := pdu.Opcode(op); op != pdu.OpLoginRequest {
			table = append(table, sequence{
				name: named("opcode %#02x before the login", byte(op)), must: silence, section: where,
				steps: with(connected, send(opcode(op)), closed),
			})
		}
	}
	return table
}

// logins break the rules of the login phase that do not depend on keys.
func logins() []sequence {
	const initiatorError = pdu.LoginInitiatorError
	op, full, sec := pdu.StageOperational, pdu.StageFullFeature, pdu.StageSecurity
	bare := func(r pdu.LoginRequest, edits ...edit) step {
		return func(p *peer) { p.t.Helper(); requests(r, p.identity(), edits...)(p) }
	}
	refusal := func(name, section string, r pdu.LoginRequest) sequence {
		return sequence{name: name, must: "status 0200, closed", section: section, steps: with(connected, bare(r), refused(initiatorError))}
	}
	begun := with(connected, bare(pdu.LoginRequest{CSG: op}), goesOn)
	after := func(steps ...step) []step { return append(slices.Clip(begun), steps...) }
	return []sequence{
		refusal("current stage 2", "11.12.3", pdu.LoginRequest{CSG: 2}),
		refusal("current stage full feature", "11.12.3", pdu.LoginRequest{Transit: true, CSG: full, NSG: full}),
		refusal("next stage 2", "11.12.3", pdu.LoginRequest{Transit: true, CSG: op, NSG: 2}),
		refusal("from operational back to security", "6.3, 11.12.3", pdu.LoginRequest{Transit: true, CSG: op, NSG: sec}),
		refusal("next stage is the current one", "11.12.3", pdu.LoginRequest{Transit: true, CSG: op, NSG: op}),
		refusal("both T and C", "11.12.2", pdu.LoginRequest{Transit: true, Continue: true, CSG: op, NSG: full}),
		{
			name: "version 1 at least", must: "status 0205, closed", section: "11.12.5",
			steps: with(connected, bare(pdu.LoginRequest{Transit: true, CSG: op, NSG: full, VersionMin: 1, VersionMax: 1}), refused(pdu.LoginBadVersion)),
		},
		{
			name: "version 0 to 255", must: "version 0 is chosen", section: "11.12.4",
			steps: with(connected, bare(pdu.LoginRequest{Transit: true, CSG: op, NSG: full, VersionMax: 255}), in, alive),
		},
		{
			name: "without the I bit", must: "a login request is always immediate; it is taken", section: "11.12",
			steps: with(connected, bare(pdu.LoginRequest{Transit: true, CSG: op, NSG: full}, at(0, 3)), in, alive),
		},
		{
			name: "AHS", must: "status 020b, closed", section: "11.12",
			steps: with(connected, logs(ahs(0, 0, 1, 0)), refused(pdu.LoginInvalidRequest)),
		},
		{
			name: "1020 bytes of AHS announced", must: "closed", section: "11.2.1.4",
			steps: with(connected, logs(wordsOfAHS(255), announces(0)), raw(make([]byte, 1020)), hungUp),
		},
		{
			name: "16 MiB of keys announced", must: "status 020b, closed, before they are read", section: "6.1, 11.12",
			steps: with(connected, logs(announces(1<<24-1)), refused(pdu.LoginInvalidRequest)),
		},
		{
			name: "8193 bytes of keys", must: "status 020b, closed", section: "6.1",
			steps: with(connected, offers("X-a="+strings.Repeat("a", 8193)), hungUp),
		},
		{
			name: "fewer bytes than announced, then gone", must: "nothing", section: "11.2.1.5",
			steps: with(connected, logs(announces(4000)), hangsUp),
		},
		{name: "gone in the middle of the header", must: "nothing", section: "11.2.1", steps: with(connected, func(p *peer) {
			raw(p.loginRequest().encode(false, false)[:30])(p)
		}, hangsUp)},
		{name: "byte by byte", must: "the login succeeds", section: "6.3", steps: with(connected, logs(slowly), in, alive)},
		{name: "login and first commands in one packet", must: "all are answered", section: "6.3", steps: with(connected, func(p *peer) {
			first := p.loginRequest(p.identity()...).encode(false, false)
			ping := nop().with(immediate, tag(1))
			raw(append(first, ping.encode(false, false)...))(p)
		}, success, pong, alive)},
		{
			name: "ISID changes on the way", must: "status 0200, closed", section: "11.12.6",
			steps: after(as(func(p *peer) { p.isid[5]++ }), requests(pdu.LoginRequest{Transit: true, CSG: op, NSG: full}, nil), refused(initiatorError)),
		},
		{
			name: "TSIH changes on the way", must: "status 0200, closed", section: "11.12.7",
			steps: after(as(func(p *peer) { p.tsih = 7 }), requests(pdu.LoginRequest{Transit: true, CSG: op, NSG: full}, nil), refused(initiatorError)),
		},
		{
			name: "CID changes on the way", must: "status 0200, closed", section: "11.12.8",
			steps: after(as(func(p *peer) { p.cid++ }), requests(pdu.LoginRequest{Transit: true, CSG: op, NSG: full}, nil), refused(initiatorError)),
		},
		{
			name: "back to the security stage on the way", must: "status 0200, closed", section: "6.3",
			steps: after(requests(pdu.LoginRequest{Transit: true, CSG: sec, NSG: op}, nil), refused(initiatorError)),
		},
		{
			name: "another task tag on the way", must: "a login may not be confused by it", section: "11.12",
			steps: after(requests(pdu.LoginRequest{Transit: true, CSG: op, NSG: full}, nil, tag(99)), in, alive),
		},
		{
			name: "NOP-Out on the way", must: "status 020b, closed", section: "6.3, 11.13.5",
			steps: after(send(nop()), refused(pdu.LoginInvalidRequest)),
		},
		{
			name: "SCSI command on the way", must: "status 020b, closed, nothing is executed", section: "6.3, 11.13.5",
			steps: after(send(writing(512, make([]byte, 512), write10(0, 1)...)), hungUp),
		},
		{
			name: "text request on the way", must: "status 020b, closed", section: "6.3, 11.13.5",
			steps: after(send(text("SendTargets=All\x00")), refused(pdu.LoginInvalidRequest)),
		},
		{
			name: "logout on the way", must: "status 020b, closed", section: "6.3, 11.13.5",
			steps: after(send(logout(pdu.LogoutCloseSession, 1)), refused(pdu.LoginInvalidRequest)),
		},
		{
			name: "data-out on the way", must: "status 020b, closed", section: "6.3, 11.13.5",
			steps: after(send(dataOut(1, pdu.NoTag, 0, nil)), refused(pdu.LoginInvalidRequest)),
		},
		{
			name: "header digest before it is agreed", must: "its bytes are not a header; closed", section: "6.3, 13.1",
			steps: with(connected, func(p *peer) { p.header = true; logs(announces(0))(p); p.header = false }, hangsUp),
		},
		{
			name: "keys that never end", must: "refused at the bound on text", section: "6.1, 7.8",
			steps: with(connected, bare(pdu.LoginRequest{Continue: true, CSG: op}), goesOn, func(p *peer) {
				for range 100 {
					requests(pdu.LoginRequest{Continue: true, CSG: op}, []string{"X-k=" + strings.Repeat("v", 4000)})(p)
					if r, err := p.tryAnswer(); err != nil || r.Status != 0 {
						return
					}
				}
				p.t.Fatal("400 KB of keys were taken")
			}),
		},
		{
			name: "requests that never end", must: "refused at the bound on requests", section: "7.8",
			steps: with(connected, bare(pdu.LoginRequest{CSG: op}), goesOn, func(p *peer) {
				for range 1000 {
					requests(pdu.LoginRequest{CSG: op}, nil)(p)
					if r, err := p.tryAnswer(); err != nil || r.Status != 0 {
						return
					}
				}
				p.t.Fatal("1000 requests without an end were answered")
			}),
		},
		{
			name: "C bit, then the rest with another stage", must: "status 0200, closed", section: "6.2",
			steps: with(connected, requests(pdu.LoginRequest{Continue: true, CSG: op}, nil), goesOn,
				requests(pdu.LoginRequest{CSG: sec}, nil), refused(initiatorError)),
		},
		{name: "a key split between two requests", must: "the login succeeds", section: "6.1", steps: with(connected, func(p *peer) {
			all := p.loginRequest(p.identity()...).data
			one := p.loginPDU(pdu.LoginRequest{Continue: true, CSG: op})
			one.data = all[:20]
			send(one)(p)
			goesOn(p)
			two := p.loginPDU(pdu.LoginRequest{Transit: true, CSG: op, NSG: full})
			two.data = all[20:]
			send(two)(p)
		}, in, alive)},
		{
			name: "second login on the same connection", must: "rejected: protocol error", section: "6.3, 7.3",
			steps: with(normal, logs(), rejected(pdu.ReasonProtocolError), alive),
		},
		{
			name: "login response after the login", must: "rejected: command not supported", section: "11.17.1",
			steps: with(normal, send(build(&pdu.LoginResponse{}, nil)), rejected(pdu.ReasonUnsupported), alive),
		},
		{
			name: "500 logins that are given up half way", must: "nothing, and the next login succeeds", section: "6.3",
			steps: with(many(500, connected, bare(pdu.LoginRequest{CSG: op}), goesOn, hangsUp), normal, executes),
		},
		{
			name: "CmdSN begins at the end of the numbers", must: "it wraps around", section: "4.2.2.1",
			steps: with(as(func(p *peer) { p.cmdSN = 0xfffffffe }), normal, executes, executes, executes, executes, alive),
		},
		{
			name: "ExpStatSN begins at the end of the numbers", must: "it wraps around", section: "4.2.2.2",
			steps: with(as(func(p *peer) { p.expSN = 0xfffffffe }), normal, executes, executes, executes, executes, alive),
		},
	}
}

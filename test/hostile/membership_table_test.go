package hostile

import (
	"strings"

	"sluice/target/login"
	"sluice/target/pdu"
)

// memberships are logins that claim a session: their own, another's, or none that exists.
func memberships() []sequence {
	claim := func(change func(*peer)) []step { return with(normal, again, as(change), logs()) }
	no := func(name, must, section string, want pdu.LoginStatus, change func(*peer)) sequence {
		return sequence{
			name: name, must: must + ", the session is untouched", section: section,
			steps: append(claim(change), refused(want), back, alive, executes),
		}
	}
	unknown := "status 020a, closed"
	return []sequence{
		{
			name: "TSIH that no session has", must: unknown, section: "6.3.4, 11.13.5",
			steps: with(as(func(p *peer) { p.tsih = 0xbeef }), connected, logs(), refused(pdu.LoginNoSession)),
		},
		{
			name: "TSIH ffff", must: unknown, section: "6.3.4, 11.13.5",
			steps: with(as(func(p *peer) { p.tsih = 0xffff }), connected, logs(), refused(pdu.LoginNoSession)),
		},
		no("TSIH of a live session, another ISID", unknown, "6.3.4", pdu.LoginNoSession, func(p *peer) { p.isid[5]++ }),
		no("TSIH of a live session, another initiator", unknown, "6.3.4", pdu.LoginNoSession, func(p *peer) { p.name += "x" }),
		no("TSIH of a live session, another CID", "status 0206: one connection a session", "6.3.4, 11.13.5", pdu.LoginTooManyConnections, func(p *peer) { p.cid++ }),
		no("TSIH of a live session, another target", "status 0203, closed", "6.3.4", pdu.LoginNotFound, func(p *peer) { p.target += "x" }),
		{
			name: "TSIH and ISID of the bystander's session", must: unknown, section: "6.3.4, 9",
			steps: with(as(func(p *peer) { p.tsih, p.isid = 1, [6]byte{0x80} }), connected, logs(), refused(pdu.LoginNoSession)),
		},
		{name: "every TSIH from 1 to 300, one after the other", must: unknown + " each time", section: "6.3.4", steps: with(func(p *peer) {
			for i := range 300 {
				p.tsih = uint16(i + 1)
				p.connect()
				logs()(p)
				refused(pdu.LoginNoSession)(p)
			}
		})},
		{
			name: "TSIH, ISID and CID of the own live session", must: "the connection is reinstated: the old one ends, the new one works", section: "6.3.4",
			steps: append(claim(func(p *peer) {}), in, executes, alive),
		},
		{
			name: "the own ISID without a TSIH", must: "the session is reinstated: the old one ends, the new one works", section: "6.3.5",
			steps: with(normal, again, as(func(p *peer) { p.tsih = 0 }), logs(), in, executes, alive, back, closed),
		},
		{name: "a hundred reinstatements, one on top of the other", must: "the last one works", section: "6.3.5", steps: with(normal,
			many(100, again, as(func(p *peer) { p.tsih = 0 }), logs(), in), executes, alive)},
		{name: "reinstatement with a write under way", must: "the old write never happens", section: "6.3.5", steps: with(asked,
			send(writing(8192, nil, write10(64, 16)...)), asks(0, 8192), gives(0, make([]byte, 4096), more), again,
			as(func(p *peer) { p.tsih = 0 }), logs(), in, executes, back, closed)},
		{
			name: "reinstatement of a session that is gone", must: "a TSIH does not outlive its session", section: "6.3.4",
			steps: with(normal, send(logout(pdu.LogoutCloseSession, 1)), loggedOut(pdu.LogoutClosed), closed, connected, logs(), refused(pdu.LoginNoSession)),
		},
		{name: "TSIH in a discovery session", must: "refused", section: "6.3.4", steps: with(as(func(p *peer) { p.tsih = 1 }), connected, func(p *peer) {
			says("InitiatorName="+p.name, "SessionType=Discovery")(p)
		}, refused(pdu.LoginNoSession))},
		{
			name: "SCSI command in a discovery session", must: "rejected, nothing is executed", section: "4.3, 7.3",
			steps: with(discovery, send(writing(512, make([]byte, 512), write10(0, 1)...)), rejected(pdu.ReasonProtocolError), alive),
		},
		{
			name: "task management in a discovery session", must: "rejected", section: "4.3",
			steps: with(discovery, send(task(pdu.TaskTargetColdReset, pdu.NoTag)), rejected(pdu.ReasonProtocolError), alive),
		},
		{
			name: "data-out in a discovery session", must: "rejected", section: "4.3",
			steps: with(discovery, send(dataOut(1, pdu.NoTag, 0, make([]byte, 512))), rejected(pdu.ReasonInvalidField), alive),
		},
		{name: "an open session with a volume behind CHAP, by TSIH", must: "refused", section: "9.2", steps: with(normal, again, as(func(p *peer) {
			p.target = strings.Replace(p.target, "victim", "guarded", 1)
		}), logs(), func(p *peer) {
			if r := p.answer(); r.Status == 0 {
				p.t.Fatal("logged in")
			}
		}, closed, back, alive)},
	}
}

// guarded is an attacker who knows whom the volume behind CHAP is for.
func guarded(p *peer) {
	p.name, p.target = guardedIQN, strings.Replace(p.target, "victim", "guarded", 1)
	p.chap = map[string]string{}
	p.connect()
}

// challenged is guarded, with the challenge of the target's in p.agreed.
func challenged(algorithm string) step {
	return func(p *peer) {
		p.t.Helper()
		guarded(p)
		security(append(p.identity(), "AuthMethod=CHAP")...)(p)
		goesOn(p)
		security("CHAP_A=" + algorithm)(p)
		goesOn(p)
		if p.agreed["CHAP_C"] == "" || p.agreed["CHAP_I"] == "" {
			p.t.Fatalf("no challenge: %v", p.agreed)
		}
	}
}

// proof is the right CHAP_R for a secret.
func proof(p *peer, a login.Algorithm, secret string) string {
	p.t.Helper()
	return "CHAP_R=0x" + hexResponse(p.t, a, p.agreed["CHAP_I"], secret, p.agreed["CHAP_C"])
}

// proves gives a name and the response of a secret, with more keys.
func proves(user, secret string, more ...string) step {
	return func(p *peer) {
		p.t.Helper()
		keys := append([]string{"CHAP_N=" + user, proof(p, login.MD5, secret)}, more...)
		requests(pdu.LoginRequest{Transit: true, CSG: pdu.StageSecurity, NSG: pdu.StageFullFeature}, keys)(p)
	}
}

// chaps try to get around CHAP. Each comes from an address of its own, so that none suffers
// from the delay that another has earned.
func chaps() []sequence {
	const denied = "status 0201, closed"
	toFull := pdu.LoginRequest{Transit: true, CSG: pdu.StageSecurity, NSG: pdu.StageFullFeature}
	toOperational := pdu.LoginRequest{Transit: true, CSG: pdu.StageSecurity, NSG: pdu.StageOperational}
	denies := func(name, section string, steps ...step) sequence {
		return sequence{name: name, must: denied, section: section, steps: append(steps, refused(pdu.LoginAuthFailure))}
	}
	sends := func(r pdu.LoginRequest, keys ...string) step { return requests(r, keys) }
	first := func(r pdu.LoginRequest, keys ...string) step {
		return func(p *peer) { p.t.Helper(); requests(r, append(p.identity(), keys...))(p) }
	}
	md5 := challenged("5")
	return []sequence{
		{name: "the right secret", must: "the login succeeds", section: "12.1.3", steps: with(md5, proves(chapUser, chapSecret), in, executes, alive)},
		{
			name: "the right secret, with mutual CHAP", must: "the target proves itself, too", section: "12.1.3",
			steps: with(md5, proves(chapUser, chapSecret, "CHAP_I=9", "CHAP_C=0x00112233445566778899aabbccddeeff"), in, func(p *peer) {
				want := "0x" + hexResponse(p.t, login.MD5, "9", mutualSecret, "0x00112233445566778899aabbccddeeff")
				if p.agreed["CHAP_N"] != mutualUser || !strings.EqualFold(p.agreed["CHAP_R"], want) {
					p.t.Fatalf("the target answers %v", p.agreed)
				}
			}, executes),
		},
		denies("straight to the operational stage", "6.3, 12", guarded, func(p *peer) { logs()(p) }),
		denies("no AuthMethod, straight to full feature", "6.3, 12", guarded, first(toFull)),
		denies("AuthMethod=None", "12.1.2", guarded, first(toFull, "AuthMethod=None")),
		denies("AuthMethod without CHAP", "12.1.2", guarded, first(toFull, "AuthMethod=KRB5,SRP,None")),
		denies("AuthMethod=chap", "6.1", guarded, first(toFull, "AuthMethod=chap")),
		denies("empty AuthMethod", "6.2", guarded, first(toFull, "AuthMethod=")),
		denies("wrong secret", "12.1.3", md5, proves(chapUser, "not the secret at all")),
		denies("empty secret", "12.1.3", md5, proves(chapUser, "")),
		denies("the other direction's secret", "9.2.1", md5, proves(chapUser, mutualSecret)),
		denies("wrong user", "12.1.3", md5, proves("root", chapSecret)),
		denies("empty user", "12.1.3", md5, proves("", chapSecret)),
		denies("the target's own user", "9.2.1", md5, proves(mutualUser, mutualSecret)),
		denies("reflected challenge", "9.2.1", md5, func(p *peer) {
			proves(chapUser, chapSecret, "CHAP_I="+p.agreed["CHAP_I"], "CHAP_C="+p.agreed["CHAP_C"])(p)
		}),
		{
			name: "reflection over a second connection", must: "the target never computes a response for somebody who has not proved himself", section: "9.2.1",
			steps: with(md5, again, func(p *peer) {
				id, challenge := p.agreed["CHAP_I"], p.agreed["CHAP_C"]
				p.agreed = make(map[string]string)
				md5(p)
				requests(pdu.LoginRequest{CSG: 0}, []string{"CHAP_N=" + chapUser, "CHAP_I=" + id, "CHAP_C=" + challenge})(p)
				if r := p.answer(); r.Status == 0 || p.agreed["CHAP_R"] != "" {
					p.t.Fatalf("status %04x, CHAP_R %q", uint16(r.Status), p.agreed["CHAP_R"])
				}
			}, closed),
		},
		denies("the initiator's challenge before its proof", "12.1.3", md5, sends(pdu.LoginRequest{CSG: 0}, "CHAP_I=1", "CHAP_C=0x00112233445566778899aabbccddeeff")),
		denies("a response from an earlier login", "9.2.1", md5, func(p *peer) {
			old := proof(p, login.MD5, chapSecret)
			md5(p)
			requests(toFull, []string{"CHAP_N=" + chapUser, old})(p)
		}),
		{name: "challenges of a hundred logins", must: "all differ, in identifier and challenge", section: "9.2.1", steps: with(func(p *peer) {
			seen := make(map[string]bool)
			for range 100 {
				md5(p)
				if c := p.agreed["CHAP_C"]; seen[c] {
					p.t.Fatalf("challenge %s came twice", c)
				} else {
					seen[c] = true
				}
			}
		})},
		denies("proof before the challenge", "12.1.3", guarded, first(toFull, "AuthMethod=CHAP", "CHAP_N="+chapUser, "CHAP_R=0x00112233445566778899aabbccddeeff")),
		denies("CHAP_A before AuthMethod", "12.1.3", guarded, first(pdu.LoginRequest{CSG: 0}, "CHAP_A=5")),
		denies("an algorithm that does not exist", "12.1.3", guarded, first(pdu.LoginRequest{CSG: 0}, "AuthMethod=CHAP"), goesOn, security("CHAP_A=250")),
		denies("SHA-1, which is not enough", "12.1.3", guarded, first(pdu.LoginRequest{CSG: 0}, "AuthMethod=CHAP"), goesOn, security("CHAP_A=6")),
		denies("a list of algorithms without an end", "12.1.3", guarded, first(pdu.LoginRequest{CSG: 0}, "AuthMethod=CHAP"), goesOn,
			security("CHAP_A="+strings.Repeat("9,", 3000)+"9")),
		{name: "CHAP_A twice", must: "refused", section: "6.2", steps: with(md5, security("CHAP_A=5"), func(p *peer) {
			if r := p.answer(); r.Status>>8 != 2 {
				p.t.Fatalf("status %04x", uint16(r.Status))
			}
		}, closed)},
		{name: "AuthMethod again after the challenge", must: "refused", section: "6.2", steps: with(md5, sends(toFull, "AuthMethod=None"), func(p *peer) {
			if r := p.answer(); r.Status>>8 != 2 {
				p.t.Fatalf("status %04x", uint16(r.Status))
			}
		}, closed)},
		denies("a response of 4000 bytes", "12.1.3", md5, sends(toFull, "CHAP_N="+chapUser, "CHAP_R=0x"+strings.Repeat("ab", 3900))),
		denies("an empty response", "12.1.3", md5, sends(toFull, "CHAP_N="+chapUser, "CHAP_R=")),
		denies("a response that is no binary value", "12.1.3", md5, sends(toFull, "CHAP_N="+chapUser, "CHAP_R=0xzz")),
		denies("the first half of the right response", "12.1.3", md5, func(p *peer) {
			r := proof(p, login.MD5, chapSecret)
			requests(toFull, []string{"CHAP_N=" + chapUser, r[:len(r)-16]})(p)
		}),
		denies("the right response with a tail", "12.1.3", md5, func(p *peer) {
			requests(toFull, []string{"CHAP_N=" + chapUser, proof(p, login.MD5, chapSecret) + "00"})(p)
		}),
		denies("no CHAP_N", "12.1.3", md5, func(p *peer) { requests(toFull, []string{proof(p, login.MD5, chapSecret)})(p) }),
		denies("no CHAP_R", "12.1.3", md5, sends(toFull, "CHAP_N="+chapUser)),
		denies("CHAP_C without CHAP_I", "12.1.3", md5, proves(chapUser, chapSecret, "CHAP_C=0x00112233")),
		denies("CHAP_I of 256", "12.1.3", md5, proves(chapUser, chapSecret, "CHAP_I=256", "CHAP_C=0x00112233")),
		denies("a challenge of 1025 bytes", "12.1.3", md5, proves(chapUser, chapSecret, "CHAP_I=1", "CHAP_C=0x"+strings.Repeat("ab", 1025))),
		{name: "leaving before the proof", must: "the target does not agree to leave the stage", section: "6.3", steps: with(md5, sends(toOperational), goesOn,
			requests(pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3}, nil), refused(pdu.LoginInitiatorError))},
		{
			name: "commands before the proof", must: "status 020b, nothing is executed", section: "6.3, 11.13.5",
			steps: with(md5, send(reading(512, read10(0, 1)...)), refused(pdu.LoginInvalidRequest)),
		},
		{name: "another initiator's credentials", must: "status 0202, closed", section: "9.2", steps: with(guarded, as(func(p *peer) { p.name = initiatorIQN }),
			first(pdu.LoginRequest{CSG: 0}, "AuthMethod=CHAP"), refused(pdu.LoginForbidden))},
		{name: "operational keys in the place of a proof", must: "status 0200, closed", section: "6.3", steps: with(guarded, first(toOperational, "AuthMethod=CHAP"), goesOn, sends(toOperational, "CHAP_A=5"), goesOn,
			sends(toFull, "CHAP_N="+chapUser, "CHAP_R=0x00", "HeaderDigest=None"), refused(pdu.LoginInitiatorError))},
		{name: "reinstating a session without its secret", must: "refused, and the session lives", section: "6.3.4, 9.2", steps: with(md5, proves(chapUser, chapSecret), in, again,
			as(func(p *peer) { p.tsih = 0 }), logs(), refused(pdu.LoginAuthFailure), back, alive)},
		{name: "reinstating the connection without the secret", must: "refused, and the session lives", section: "6.3.4, 9.2", steps: with(md5, proves(chapUser, chapSecret), in, again,
			logs(), refused(pdu.LoginAuthFailure), back, alive)},
	}
}

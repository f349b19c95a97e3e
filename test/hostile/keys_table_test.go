package hostile

import (
	"strings"

	"sluice/target/pdu"
)

// keys are logins whose text is wrong.
func keys() []sequence {
	const no = "status 0200, closed"
	refusal := func(name, section string, keys ...string) sequence {
		return sequence{name: name, must: no, section: section, steps: with(connected, offers(keys...), refused(pdu.LoginInitiatorError))}
	}
	// An unacceptable value of a known key: RFC 7143 6.2 has it answered Reject, and a
	// numeric one may be answered with a value instead; the login itself may go on or end.
	survives := func(name string, keys ...string) sequence {
		return sequence{name: name, must: "answered Reject or refused, never agreed", section: "6.2, 13", steps: with(connected, offers(keys...), func(p *peer) {
			p.t.Helper()
			r := p.answer()
			key, value, _ := strings.Cut(keys[0], "=")
			if got := p.agreed[key]; r.Status == 0 && got != "Reject" && got != "NotUnderstood" && got != "Irrelevant" && got == value {
				p.t.Fatalf("%s=%s was agreed", key, got)
			}
			if r.Status == 0 {
				in := r.Transit
				if in {
					alive(p)
				}
			}
		})}
	}
	answered := func(name, section, key, value, answer string) sequence {
		return sequence{name: name, must: "answered " + answer, section: section, steps: with(connected, offers(key+"="+value), in, agrees(key, answer), alive)}
	}
	return []sequence{
		{
			name: "no InitiatorName", must: "status 0207, closed", section: "6.3, 13.5",
			steps: with(connected, func(p *peer) { says("TargetName=" + p.target)(p) }, refused(pdu.LoginMissingParameter)),
		},
		{
			name: "no TargetName", must: "status 0207, closed", section: "6.3, 13.4",
			steps: with(connected, says("InitiatorName="+initiatorIQN, "SessionType=Normal"), refused(pdu.LoginMissingParameter)),
		},
		{name: "no keys at all", must: "status 0207, closed", section: "6.3", steps: with(connected, says(), refused(pdu.LoginMissingParameter))},
		{
			name: "unknown target", must: "status 0203, closed", section: "11.13.5",
			steps: with(as(func(p *peer) { p.target += "x" }), connected, logs(), refused(pdu.LoginNotFound)),
		},
		{
			name: "target name of 2000 bytes", must: no, section: "4.2.7.1",
			steps: with(as(func(p *peer) { p.target = "iqn." + strings.Repeat("a", 2000) }), connected, logs(), refused(pdu.LoginInitiatorError)),
		},
		{
			name: "target name with a newline and colours", must: no, section: "4.2.7.1",
			steps: with(as(func(p *peer) { p.target = "iqn.2026-11.test:\n\x1b[31mroot" }), connected, logs(), refused(pdu.LoginInitiatorError)),
		},
		{
			name: "target name is a path", must: no, section: "4.2.7.1",
			steps: with(as(func(p *peer) { p.target = "../../etc/passwd" }), connected, logs(), refused(pdu.LoginInitiatorError)),
		},
		{
			name: "empty initiator name", must: no, section: "4.2.7.1",
			steps: with(as(func(p *peer) { p.name = "" }), connected, logs(), refused(pdu.LoginInitiatorError)),
		},
		{
			name: "initiator name of 224 bytes", must: no, section: "4.2.7.1",
			steps: with(as(func(p *peer) { p.name = "iqn.2026-11.test:" + strings.Repeat("a", 207) }), connected, logs(), refused(pdu.LoginInitiatorError)),
		},
		{
			name: "initiator name that is not UTF-8", must: no, section: "4.2.7.1",
			steps: with(as(func(p *peer) { p.name = "iqn.2026-11.test:\xff\xfe" }), connected, logs(), refused(pdu.LoginInitiatorError)),
		},
		{
			name: "names in capitals", must: "names are compared in lower case; the login succeeds", section: "4.2.7.3",
			steps: with(as(func(p *peer) { p.target = strings.ToUpper(p.target) }), connected, logs(), in, alive),
		},
		{name: "unknown session type", must: "status 0209 or 0200, closed", section: "11.13.5, 13.21", steps: with(connected,
			func(p *peer) { says("InitiatorName="+p.name, "TargetName="+p.target, "SessionType=Bogus")(p) }, func(p *peer) {
				if r := p.answer(); r.Status != pdu.LoginBadSessionType && r.Status != pdu.LoginInitiatorError {
					p.t.Fatalf("status %04x", uint16(r.Status))
				}
			}, closed)},
		{name: "InitiatorName twice", must: no, section: "6.1", steps: with(connected, func(p *peer) {
			says("InitiatorName="+p.name, "InitiatorName=iqn.2026-11.test:b", "TargetName="+p.target)(p)
		}, refused(pdu.LoginInitiatorError))},
		{name: "TargetName changes in a later request", must: no, section: "6.3", steps: with(connected, func(p *peer) {
			requests(pdu.LoginRequest{CSG: 1}, p.identity())(p)
			goesOn(p)
			requests(pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3}, []string{"TargetName=" + p.target + "x"})(p)
		}, refused(pdu.LoginInitiatorError))},
		{name: "InitiatorName changes in a later request", must: no, section: "6.3", steps: with(connected, func(p *peer) {
			requests(pdu.LoginRequest{CSG: 1}, p.identity())(p)
			goesOn(p)
			requests(pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3}, []string{"InitiatorName=iqn.2026-11.test:other"})(p)
		}, refused(pdu.LoginInitiatorError))},
		refusal("a key twice in one request", "6.1, 6.2", "MaxBurstLength=65536", "MaxBurstLength=65536"),
		{name: "a key again in a later request", must: no, section: "6.2", steps: with(connected, func(p *peer) {
			requests(pdu.LoginRequest{CSG: 1}, append(p.identity(), "MaxBurstLength=65536"))(p)
			goesOn(p)
			requests(pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3}, []string{"MaxBurstLength=131072"})(p)
		}, refused(pdu.LoginInitiatorError))},
		refusal("no equals sign", "6.1", "MaxBurstLength"),
		refusal("empty key", "6.1", "=65536"),
		refusal("a key of 64 bytes", "6.1", strings.Repeat("K", 64)+"=1"),
		refusal("a key of a thousand bytes", "6.1", strings.Repeat("K", 1000)+"=1"),
		refusal("a key with a space", "6.1", "Max Burst=1"),
		refusal("a key with control characters", "6.1", "Max\x01\x02=1"),
		answered("an unknown key", "6.2", "X-org.test.key", "1", "NotUnderstood"),
		answered("an unknown key with an empty value", "6.2", "X-org.test.key", "", "NotUnderstood"),
		{name: "a thousand unknown keys", must: no, section: "6.2, 7.8", steps: with(connected, func(p *peer) {
			all := p.identity()
			for i := range 1000 {
				all = append(all, named("X%d=", i))
			}
			says(all...)(p)
		}, hungUp)},
		survives("a value of 8000 bytes", "MaxBurstLength="+strings.Repeat("1", 7900)),
		survives("MaxRecvDataSegmentLength of 0", "MaxRecvDataSegmentLength=0"),
		survives("MaxRecvDataSegmentLength of 511", "MaxRecvDataSegmentLength=511"),
		survives("MaxRecvDataSegmentLength of 2^24", "MaxRecvDataSegmentLength=16777216"),
		survives("MaxRecvDataSegmentLength of 2^64+512", "MaxRecvDataSegmentLength=18446744073709552128"),
		survives("MaxBurstLength of 0", "MaxBurstLength=0"),
		survives("MaxBurstLength of -1", "MaxBurstLength=-1"),
		survives("FirstBurstLength of 2^32+512", "FirstBurstLength=4294967808"),
		survives("a number that is none", "MaxBurstLength=many"),
		survives("a number with blanks", "MaxBurstLength= 65536 "),
		survives("a number in exponents", "MaxBurstLength=1e6"),
		survives("an empty number", "MaxBurstLength="),
		survives("a range where a number is due", "MaxBurstLength=512~65536"),
		survives("MaxOutstandingR2T of 0", "MaxOutstandingR2T=0"),
		survives("MaxConnections of 0", "MaxConnections=0"),
		survives("MaxConnections of 65536", "MaxConnections=65536"),
		survives("ErrorRecoveryLevel of 3", "ErrorRecoveryLevel=3"),
		survives("DefaultTime2Wait of 3601", "DefaultTime2Wait=3601"),
		survives("DefaultTime2Retain of a million", "DefaultTime2Retain=1000000"),
		survives("a boolean that is none", "InitialR2T=Perhaps"),
		survives("a boolean in small letters", "ImmediateData=yes"),
		survives("a digest that does not exist", "HeaderDigest=MD5"),
		survives("an empty list of digests", "DataDigest="),
		survives("a list of 2000 digests", "HeaderDigest="+strings.Repeat("X,", 2000)+"CRC32D"),
		survives("markers", "IFMarker=Yes"),
		answered("two connections", "13.2", "MaxConnections", "2", "1"),
		answered("ErrorRecoveryLevel 2", "13.20", "ErrorRecoveryLevel", "2", "0"),
		answered("a digest among unknown ones", "13.1", "HeaderDigest", "SHA512,X-a,CRC32C,None", "CRC32C"),
		{name: "security keys in the operational stage", must: "no CHAP begins, whatever is answered", section: "6.3, 12", steps: with(connected,
			offers("AuthMethod=CHAP,None"), func(p *peer) {
				if r := p.answer(); r.Status == 0 && p.agreed["AuthMethod"] == "CHAP" {
					p.t.Fatal("CHAP was agreed in the operational stage")
				}
			})},
		{
			name: "operational keys in the security stage", must: "not agreed before the operational stage, or refused", section: "6.3, 13",
			steps: with(connected, func(p *peer) { requests(pdu.LoginRequest{CSG: 0}, append(p.identity(), "MaxBurstLength=65536"))(p) }, func(p *peer) {
				p.answer()
			}),
		},
		{name: "SendTargets in the login", must: "not answered with targets", section: "13, appendix C", steps: with(connected, offers("SendTargets=All"), func(p *peer) {
			p.answer()
			if v := p.agreed["SendTargets"]; p.agreed["TargetAddress"] != "" || v == "All" {
				p.t.Fatalf("SendTargets was answered %q", v)
			}
		})},
		{name: "a declaration of the target's", must: "refused or not agreed", section: "13.9", steps: with(connected, offers("TargetPortalGroupTag=9"), func(p *peer) {
			if r := p.answer(); r.Status == 0 && p.agreed["TargetPortalGroupTag"] == "9" {
				p.t.Fatal("the initiator has chosen the portal group")
			}
		})},
		{name: "answers that nobody asked for", must: "ignored or refused", section: "6.2", steps: with(connected,
			offers("MaxBurstLength=NotUnderstood", "HeaderDigest=Reject", "X-b=Irrelevant"), func(p *peer) { p.answer() })},
		{name: "NULs only", must: "status 0200 or 0207, closed", section: "6.1", steps: with(connected, func(p *peer) {
			m := p.loginRequest()
			m.data = make([]byte, 4096)
			send(m)(p)
			if r := p.answer(); r.Status>>8 != 2 {
				p.t.Fatalf("status %04x", uint16(r.Status))
			}
		}, closed)},
		{name: "random text", must: "status 0200 or 0207, closed", section: "6.1", steps: with(connected, func(p *peer) {
			m := p.loginRequest()
			m.data = []byte(strings.Repeat("\x9c\x01=\xee\x00~~%n%s\x80", 300))
			send(m)(p)
			if r := p.answer(); r.Status>>8 != 2 {
				p.t.Fatalf("status %04x", uint16(r.Status))
			}
		}, closed)},
		{name: "no NUL behind the last key", must: "the login succeeds", section: "6.1", steps: with(connected, func(p *peer) {
			m := p.loginRequest(p.identity()...)
			m.data = m.data[:len(m.data)-1]
			send(m)(p)
		}, in, alive)},
	}
}

package hostile

import (
	"strings"

	"sluice/target/pdu"
)

// dataOuts are data of writes that are wrong: for nobody, too much, at the wrong place, twice.
func dataOuts() []sequence {
	const wrong = "check condition: incorrect amount of data; nothing is written"
	const noTask = "rejected: invalid PDU field"
	zeros := make([]byte, 16384)
	write := send(writing(8192, nil, write10(64, 16)...))
	bad := func(name string, steps ...step) sequence {
		return sequence{name: name, must: wrong, section: "11.7, 7.4, 11.4.7.2", steps: append(with(asked, write, asks(0, 8192)),
			append(steps, sensed(0x0b, 0x0c, 0x0d), executes)...)}
	}
	rejects := func(name string, m message) sequence {
		return sequence{name: name, must: noTask, section: "11.7, 7.3", steps: with(normal, send(m), rejected(pdu.ReasonInvalidField), executes)}
	}
	free16 := send(unfinished(16384, zeros[:4096], write10(64, 32)...))
	return []sequence{
		rejects("data-out for a task that nobody knows", dataOut(0xbad, pdu.NoTag, 0, zeros[:512])),
		rejects("data-out with a transfer tag that nobody knows", dataOut(0xbad, 0xbad, 0, zeros[:512])),
		rejects("data-out for task tag ffffffff", dataOut(pdu.NoTag, pdu.NoTag, 0, zeros[:512])),
		rejects("data-out for the bystander's tags", dataOut(1, 1, 0, zeros[:512])),
		rejects("data-out without data", dataOut(0xbad, 0xbad, 0, nil)),
		rejects("data-out at offset 2^32-1", dataOut(0xbad, 0xbad, 1<<32-1, zeros[:512])),
		{name: "data-out for a READ", must: noTask, section: "11.7", steps: with(normal, func(p *peer) {
			send(reading(512, read10(0, 1)...), tag(9))(p)
		}, delivers(512, 0, 0), send(dataOut(9, pdu.NoTag, 0, zeros[:512])), rejected(pdu.ReasonInvalidField), executes)},
		{name: "data-out after the end of its write", must: noTask, section: "11.7", writes: extent{64, 16}, steps: with(asked, write, asks(0, 8192), gives(0, zeros[:8192]), good,
			gives(0, zeros[:8192]), rejected(pdu.ReasonInvalidField), executes)},
		{name: "data-out to a command without W", must: noTask, section: "11.7", steps: with(normal, send(plain(0), tag(9)), good, send(dataOut(9, pdu.NoTag, 0, zeros[:512])), rejected(pdu.ReasonInvalidField), executes)},
		bad("more than the R2T asks for", gives(0, zeros)),
		bad("one byte more than the R2T asks for", gives(0, zeros[:8193])),
		bad("less than the R2T asks for, with F", gives(0, zeros[:4096])),
		bad("nothing, with F", gives(0, nil)),
		bad("all, without F", gives(0, zeros[:8192], more)),
		bad("offset of 512", gives(512, zeros[:8192])),
		bad("offset behind the end", gives(8192, zeros[:512])),
		bad("offset of 2^31", gives(1<<31, zeros[:512])),
		bad("offset of 2^32-1", gives(1<<32-1, zeros[:512])),
		bad("DataSN of 1", gives(0, zeros[:8192], number(36, 1))),
		bad("DataSN of 2^32-1", gives(0, zeros[:8192], number(36, 1<<32-1))),
		bad("the same DataSN twice", gives(0, zeros[:4096], more), gives(4096, zeros[:4096])),
		bad("the same offset twice", gives(0, zeros[:4096], more), gives(0, zeros[:4096], number(36, 1))),
		bad("a hole between two", gives(0, zeros[:2048], more), gives(4096, zeros[:4096], number(36, 1))),
		bad("in reverse order", gives(4096, zeros[:4096], more), skip),
		{name: "another transfer tag", must: noTask + "; the write goes on", section: "11.7", writes: extent{64, 16}, steps: with(asked, write, asks(0, 8192),
			func(p *peer) { send(dataOut(p.r2t.ITT, p.r2t.TTT+1, 0, zeros[:8192]))(p) }, rejected(pdu.ReasonInvalidField), gives(0, zeros[:8192]), good, executes)},
		{name: "no transfer tag where R2T was agreed", must: noTask + "; the write goes on", section: "11.7, 13.10", writes: extent{64, 16}, steps: with(asked, write, asks(0, 8192),
			func(p *peer) { send(dataOut(p.r2t.ITT, pdu.NoTag, 0, zeros[:8192]))(p) }, rejected(pdu.ReasonInvalidField), gives(0, zeros[:8192]), good, executes)},
		{name: "the transfer tag of another task", must: noTask + "; both go on", section: "11.7", writes: extent{64, 32}, steps: with(asked, write, asks(0, 8192), func(p *peer) {
			first := p.r2t
			send(writing(8192, nil, write10(80, 16)...))(p)
			asks(0, 8192)(p)
			send(dataOut(p.r2t.ITT, first.TTT, 0, zeros[:8192]))(p)
			rejected(pdu.ReasonInvalidField)(p)
			gives(0, zeros[:8192])(p)
			good(p)
			p.r2t = first
		}, gives(0, zeros[:8192]), good, executes)},
		{name: "the second R2T answered before the first", must: noTask + " or check condition", section: "11.8, 13.19", steps: with(
			session("InitialR2T=Yes", "ImmediateData=No", "MaxBurstLength=4096", "MaxOutstandingR2T=2"), write, asks(0, 4096), asks(4096, 4096),
			gives(4096, zeros[:4096]), func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, alive)},
		{name: "unasked data beyond FirstBurstLength", must: wrong, section: "13.14", steps: with(free, free16,
			func(p *peer) { send(dataOut(p.itt, pdu.NoTag, 4096, zeros[:8192]))(p) }, sensed(0x0b, 0x0c, 0x0d), executes)},
		{name: "unasked data that leaves a hole", must: wrong, section: "11.7", steps: with(free, free16,
			func(p *peer) { send(dataOut(p.itt, pdu.NoTag, 6144, zeros[:2048]))(p) }, sensed(0x0b, 0x0c, 0x0d), executes)},
		{name: "unasked data that overlaps the immediate data", must: wrong, section: "11.7", steps: with(free, free16,
			func(p *peer) { send(dataOut(p.itt, pdu.NoTag, 0, zeros[:4096]))(p) }, sensed(0x0b, 0x0c, 0x0d), executes)},
		{name: "unasked data that never end", must: wrong, section: "13.14", steps: with(free, free16,
			func(p *peer) { send(dataOut(p.itt, pdu.NoTag, 4096, zeros[:4096]), more)(p) }, sensed(0x0b, 0x0c, 0x0d), executes)},
		{name: "unasked data, byte by byte in PDUs of their own", must: "written", section: "11.7", writes: extent{64, 1}, steps: with(free,
			send(unfinished(512, nil, write10(64, 1)...)), func(p *peer) {
				for i := range 512 {
					m := dataOut(p.itt, pdu.NoTag, i, zeros[:1]).with(number(36, uint32(i)))
					if i < 511 {
						m = m.with(more)
					}
					send(m)(p)
				}
			}, good, executes)},
		{name: "unasked data that were announced and do not come", must: "the command waits; others are executed", section: "11.3.1", steps: with(free, free16, many(5, executes), alive)},
		{name: "a hundred writes whose data never come", must: "they wait within the window, pings are answered", section: "4.2.2.1", steps: with(asked,
			many(100, send(writing(8192, nil, write10(64, 16)...)), asks(0, 8192)), many(10, alive))},
		{name: "a write whose data come when it was aborted", must: "swallowed, nothing is written", section: "11.5, 4.2.3.3", steps: with(asked, write, asks(0, 8192), func(p *peer) {
			send(task(pdu.TaskAbort, p.r2t.ITT), number(32, p.cmdSN-1))(p)
		}, taskResult(pdu.TaskComplete), gives(0, zeros[:8192]), executes, alive)},
		{name: "a reset in the middle of the data", must: "swallowed, nothing is written", section: "11.5", steps: with(asked, write, asks(0, 8192), gives(0, zeros[:4096], more),
			send(task(pdu.TaskLUReset, pdu.NoTag)), taskResult(pdu.TaskComplete), gives(4096, zeros[:4096], number(36, 1)), settled, executes)},
		{name: "an initiator that goes in the middle of the data", must: "nothing is written", section: "7.1", steps: with(asked, write, asks(0, 8192), gives(0, zeros[:8192], cutBy(1)), hangsUp)},
		{name: "data-out before its command", must: noTask + ", then the command asks for it again", section: "11.7", writes: extent{64, 16}, steps: with(asked,
			func(p *peer) { send(dataOut(p.itt+1, pdu.NoTag, 0, zeros[:8192]))(p) }, rejected(pdu.ReasonInvalidField), write, asks(0, 8192), gives(0, zeros[:8192]), good, executes)},
	}
}

// skip is nothing.
func skip(*peer) {}

// tasks are wrong task management requests.
func tasks() []sequence {
	unsupported := func(f pdu.TaskFunction) sequence {
		return sequence{
			name: named("function %d", f), must: "task management function not supported", section: "11.6.1",
			steps: with(normal, send(task(f, pdu.NoTag)), taskResult(pdu.TaskUnsupported), executes),
		}
	}
	return []sequence{
		unsupported(0), unsupported(pdu.TaskClearACA), unsupported(pdu.TaskQuery), unsupported(pdu.TaskNexusReset), unsupported(13), unsupported(127),
		{name: "ABORT TASK of a task that does not exist", must: "task does not exist", section: "11.6.1", steps: with(normal, send(task(pdu.TaskAbort, 0xbad), number(32, 5)), taskResult(pdu.TaskNotFound), executes)},
		{name: "ABORT TASK of task tag ffffffff", must: "task does not exist", section: "11.5.5", steps: with(normal, send(task(pdu.TaskAbort, pdu.NoTag), number(32, 5)), taskResult(pdu.TaskNotFound), executes)},
		{name: "ABORT TASK of itself", must: "task does not exist", section: "11.5.5", steps: with(normal, send(task(pdu.TaskAbort, 5), tag(5), number(32, 5)), taskResult(pdu.TaskNotFound), executes)},
		{name: "ABORT TASK with another LUN than the task's", must: "not aborted", section: "11.5.3", writes: extent{64, 16}, steps: with(asked, send(writing(8192, nil, write10(64, 16)...)), asks(0, 8192),
			func(p *peer) { send(task(pdu.TaskAbort, p.r2t.ITT), lun(9<<48), number(32, p.cmdSN-1))(p) }, func(p *peer) { p.expect(pdu.OpTaskResponse) }, gives(0, make([]byte, 8192)), good, executes)},
		{name: "ABORT TASK of the bystander's task tag", must: "task does not exist: tags are of a session", section: "11.5.5", steps: with(normal,
			many(20, func(p *peer) { send(task(pdu.TaskAbort, p.itt), number(32, 5))(p) }, taskResult(pdu.TaskNotFound)), executes)},
		{name: "ABORT TASK twice", must: "the second does not find it", section: "11.6.1", steps: with(asked, send(writing(8192, nil, write10(64, 16)...)), asks(0, 8192),
			func(p *peer) { send(task(pdu.TaskAbort, p.r2t.ITT), number(32, p.cmdSN-1))(p) }, taskResult(pdu.TaskComplete),
			func(p *peer) { send(task(pdu.TaskAbort, p.r2t.ITT), number(32, p.cmdSN-1))(p) }, taskResult(pdu.TaskNotFound), executes)},
		{name: "ABORT TASK of a command that never came", must: "its CmdSN counts as received", section: "11.6.1", steps: with(normal,
			func(p *peer) { p.cmdSN++; send(task(pdu.TaskAbort, 0xbad), number(32, p.cmdSN-1))(p) }, taskResult(pdu.TaskComplete), executes)},
		{name: "ABORT TASK of a CmdSN from the future", must: "task does not exist", section: "11.6.1", steps: with(normal,
			func(p *peer) { send(task(pdu.TaskAbort, 0xbad), number(32, p.cmdSN+10))(p) }, taskResult(pdu.TaskNotFound), executes)},
		{name: "TASK REASSIGN", must: "reassignment not supported", section: "11.6.1", steps: with(normal, send(task(pdu.TaskReassign, 1)), taskResult(pdu.TaskReassignUnsupported), executes)},
		{name: "a thousand ABORT TASK SET", must: "each is answered", section: "11.5", steps: with(normal, many(1000, send(task(pdu.TaskAbortSet, pdu.NoTag)), taskResult(pdu.TaskComplete)), alive)},
		{name: "task management with a task tag in use", must: "answered or rejected; the task is untouched", section: "11.17.1", writes: extent{64, 16}, steps: with(asked,
			send(writing(8192, nil, write10(64, 16)...), tag(7)), asks(0, 8192), send(task(pdu.TaskAbort, 0xbad), tag(7), number(32, 5)), func(p *peer) { _, _, _ = p.receive(); p.expSN++ },
			gives(0, make([]byte, 8192)), good, executes)},
		{name: "reset without the I bit, in its turn", must: "complete", section: "11.5", steps: with(normal, send(build(&pdu.TaskRequest{Function: pdu.TaskLUReset, ReferencedTag: pdu.NoTag}, nil)),
			taskResult(pdu.TaskComplete), settled, executes)},
		{name: "a hundred unit resets", must: "each is answered", section: "11.5", steps: with(normal, many(100, send(task(pdu.TaskLUReset, pdu.NoTag)), taskResult(pdu.TaskComplete)), settled, executes)},
		{name: "warm reset", must: "complete; sessions live", section: "11.5.1", steps: with(normal, send(task(pdu.TaskTargetWarmReset, pdu.NoTag)), taskResult(pdu.TaskComplete), settled, executes)},
	}
}

// texting is wrong use of text requests.
func texting() []sequence {
	const no = "rejected: protocol error"
	cont := func(s string) message { return text(s).with(more, at(1, 0x40)) }
	goes := func(p *peer) {
		p.t.Helper()
		h, _ := p.expect(pdu.OpTextResponse)
		var r pdu.TextResponse
		r.Unmarshal(&h)
		p.r2t.TTT = r.TTT
	}
	next := func(m message) step {
		return func(p *peer) { p.t.Helper(); send(m, number(20, p.r2t.TTT), tag(p.itt))(p) }
	}
	return []sequence{
		{name: "both F and C", must: no, section: "11.10.1", steps: with(normal, send(text("SendTargets="), at(1, 0xc0)), rejected(pdu.ReasonProtocolError), executes)},
		{name: "a transfer tag that was never given", must: no, section: "11.10.4", steps: with(normal, send(text("SendTargets="), number(20, 0xbad)), rejected(pdu.ReasonProtocolError), executes)},
		{name: "task tag ffffffff", must: no, section: "11.10.3", steps: with(normal, send(text("SendTargets="), tag(pdu.NoTag)), rejected(pdu.ReasonProtocolError), executes)},
		{name: "continued with another task tag", must: no, section: "11.10.4", steps: with(normal, send(cont("SendTar")), goes,
			func(p *peer) { send(text("gets="), number(20, p.r2t.TTT))(p) }, rejected(pdu.ReasonProtocolError), executes)},
		{name: "continued with another transfer tag", must: no, section: "11.10.4", steps: with(normal, send(cont("SendTar")), goes,
			func(p *peer) { p.r2t.TTT++ }, next(text("gets=")), rejected(pdu.ReasonProtocolError), executes)},
		{name: "a key split between two requests", must: "answered", section: "6.1, 11.10.1", steps: with(normal, send(cont("SendTar")), goes, next(text("gets=\x00")), texts("TargetName="), executes)},
		{name: "continued without an end", must: no + " at the bound on text", section: "6.1, 7.8", steps: with(normal, send(cont(strings.Repeat("a", 8000))), goes, func(p *peer) {
			for range 200 {
				next(cont(strings.Repeat("a", 8000)))(p)
				h, _, err := p.receive()
				if p.expSN++; err != nil || h.Opcode() == pdu.OpReject {
					return
				}
			}
			p.t.Fatal("1.6 MB of text were taken")
		}, alive)},
		{name: "given up half way, a thousand times", must: "nothing is kept of it", section: "11.10.4", steps: with(normal, many(1000, send(cont("SendTar")), goes), executes)},
		{name: "SendTargets=All in a normal session", must: "Reject", section: "appendix C", steps: with(normal, send(text("SendTargets=All\x00")), texts("SendTargets=Reject"), executes)},
		{name: "SendTargets of another volume in a normal session", must: "no target", section: "appendix C", steps: with(normal,
			func(p *peer) {
				send(text("SendTargets=" + strings.Replace(p.target, "victim", "guarded", 1) + "\x00"))(p)
			}, texts(""), executes)},
		{name: "SendTargets of a volume behind CHAP, in a discovery", must: "it is not shown to those who may not log in", section: "9.2", steps: with(discovery,
			send(text("SendTargets=All\x00")), func(p *peer) {
				if _, data := p.expect(pdu.OpTextResponse); strings.Contains(string(data), "guarded") || !strings.Contains(string(data), "victim") {
					p.t.Fatalf("discovery shows %q", data)
				}
			})},
		{name: "SendTargets of a name that is none", must: "Reject or no target", section: "appendix C", steps: with(discovery, send(text("SendTargets=%n%s\x00")), func(p *peer) {
			if _, data := p.expect(pdu.OpTextResponse); strings.Contains(string(data), "TargetAddress") {
				p.t.Fatalf("%q", data)
			}
		})},
		{name: "a discovery answered in PDUs of 512 bytes", must: "the rest is asked for and comes", section: "11.10.4, 13.12", steps: with(discovery, send(text("SendTargets=All\x00")), texts("TargetName"), alive)},
		{name: "text that is no text", must: "rejected: invalid PDU field", section: "6.1", steps: with(normal, send(text("\x00\xff\x01no equals sign\x00")), rejected(pdu.ReasonInvalidField), executes)},
		{name: "a key of a thousand bytes", must: "rejected", section: "6.1", steps: with(normal, send(text(strings.Repeat("k", 1000)+"=1\x00")), rejected(pdu.ReasonInvalidField), executes)},
		{name: "InitiatorName after the login", must: "rejected, or answered without an effect", section: "13.5", steps: with(normal, send(text("InitiatorName=iqn.2026-11.test:root\x00")), func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, executes)},
		{name: "MaxRecvDataSegmentLength of 0 after the login", must: "not agreed; data still comes in sound pieces", section: "13.12", steps: with(normal, send(text("MaxRecvDataSegmentLength=0\x00")),
			func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, send(reading(512, read10(0, 1)...)), delivers(512, 0, 0), executes)},
		{name: "HeaderDigest after the login", must: "not agreed", section: "13.1", steps: with(normal, send(text("HeaderDigest=CRC32C\x00")), func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, executes)},
		{name: "empty text", must: "an empty answer", section: "11.10", steps: with(normal, send(text("")), texts(""), executes)},
		{name: "text of exactly the bound, unknown keys", must: "answered or rejected", section: "6.1", steps: with(normal, send(text(strings.Repeat("X-a=b\x00", 1365))), func(p *peer) { _, _, _ = p.receive(); p.expSN++ }, hangsUp)},
	}
}

// endings are what comes at the end, or after it.
func endings() []sequence {
	gone := send(logout(pdu.LogoutCloseSession, 1))
	return []sequence{
		{name: "commands after logout", must: "the connection is closed, nothing is executed", section: "11.14", steps: with(free, gone, loggedOut(pdu.LogoutClosed),
			send(writing(512, make([]byte, 512), write10(0, 1)...)), closed)},
		{name: "a write and a logout in one packet, the logout first", must: "nothing is written after the logout", section: "11.14", steps: with(free, func(p *peer) {
			out := logout(pdu.LogoutCloseSession, 1).with(tag(1), number(24, p.cmdSN)).encode(false, false)
			w := writing(512, make([]byte, 512), write10(0, 1)...).with(tag(2), number(24, p.cmdSN+1)).encode(false, false)
			raw(append(out, w...))(p)
		}, loggedOut(pdu.LogoutClosed), closed)},
		{name: "logout twice", must: "the connection is closed after the first", section: "11.14", steps: with(normal, gone, gone, loggedOut(pdu.LogoutClosed), closed)},
		{name: "logout of a connection that is not there", must: "CID not found", section: "11.15.1", steps: with(normal, send(logout(pdu.LogoutCloseConnection, 99)), loggedOut(pdu.LogoutNoCID), executes)},
		{name: "logout for recovery", must: "recovery is not supported", section: "11.15.1", steps: with(normal, send(logout(pdu.LogoutRecover, 1)), loggedOut(pdu.LogoutRecoverUnsupported), executes)},
		{name: "logout for a reserved reason", must: "rejected: invalid PDU field", section: "11.14.1", steps: with(normal, send(logout(3, 1)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "logout for reason 127", must: "rejected: invalid PDU field", section: "11.14.1", steps: with(normal, send(logout(127, 1)), rejected(pdu.ReasonInvalidField), executes)},
		{name: "logout with a write under way", must: "the write ends unwritten", section: "11.14", steps: with(asked, send(writing(8192, nil, write10(64, 16)...)), asks(0, 8192), gone,
			loggedOut(pdu.LogoutClosed), gives(0, make([]byte, 8192)), closed)},
		{name: "login after logout, on the same connection", must: "closed", section: "11.14", steps: with(normal, gone, loggedOut(pdu.LogoutClosed), logs(), closed)},
		{name: "immediate logout in the middle of commands", must: "answered, closed", section: "11.14", steps: with(normal, many(20, send(plain(0))), send(logout(pdu.LogoutCloseSession, 1), immediate), hungUp)},
		{name: "SNACK for data", must: "rejected: SNACK", section: "11.16, 11.17.1", steps: with(normal, send(snack(pdu.SNACKData)), rejected(pdu.ReasonSNACK), executes)},
		{name: "SNACK for status", must: "rejected: SNACK", section: "11.16", steps: with(normal, send(snack(pdu.SNACKStatus)), rejected(pdu.ReasonSNACK), executes)},
		{name: "SNACK acknowledging data", must: "rejected: SNACK", section: "11.16", steps: with(normal, send(snack(pdu.SNACKDataAck)), rejected(pdu.ReasonSNACK), executes)},
		{name: "SNACK for resegmented data", must: "rejected: SNACK", section: "11.16", steps: with(normal, send(snack(pdu.SNACKRData)), rejected(pdu.ReasonSNACK), executes)},
		{name: "SNACK of reserved type 15", must: "rejected: SNACK", section: "11.16", steps: with(normal, send(snack(15)), rejected(pdu.ReasonSNACK), executes)},
		{name: "SNACK for 2^32 runs", must: "rejected: SNACK", section: "11.16", steps: with(normal, send(snack(pdu.SNACKStatus), number(40, 1<<32-1), number(44, 1<<32-1)), rejected(pdu.ReasonSNACK), executes)},
		{name: "answer to a ping that nobody sent", must: "ignored", section: "11.18", steps: with(normal, send(nop(), tag(pdu.NoTag), number(20, 0xbad), immediate), executes)},
		{name: "ping without a tag, not immediate", must: "not answered; rejected, or it takes its number", section: "11.18", steps: with(normal, send(nop(), tag(pdu.NoTag)), executes, alive)},
		{name: "gone with a hundred reads under way", must: "nothing", section: "7.1", steps: with(normal, many(100, send(reading(65536, read10(0, 128)...))), hangsUp)},
		{name: "a hundred sessions, each gone without a logout", must: "nothing is left of them", section: "7.1", steps: with(many(100, normal, hangsUp), normal, executes)},
		{name: "a login while the bystander does I/O", must: "neither is disturbed", section: "4.4", steps: with(normal, executes, send(reading(65536, read10(0, 128)...)), delivers(65536, 0, 0))},
	}
}

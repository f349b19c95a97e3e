// Package target is an iSCSI target engine (RFC 7143, ErrorRecoveryLevel 0, one connection
// a session): portals, sessions, data flow, task management and discovery. Wire formats
// are in package pdu, logins in package login; what a command means is the business of
// logical units (scsi.LogicalUnit), which this package only carries commands to.
//
// # The life of a command
//
// A connection has one goroutine of its own, its reader. Most commands never meet another:
//
//	read(2)   up to 256 KiB: some PDUs                                (conn.need)
//	   |
//	   v      for each: window, digests, a task of it                 (conn.onCommand)
//	   |      immediate data is copied to a buffer of the command
//	   |      the CmdSN's turn has come?                              (conn.arrive)
//	   |      all data-out there? else R2T, and wait for it           (conn.proceed)
//	   v
//	 batch    when there is nothing left to parse, to Submit          (conn.submitBatch)
//	   |      those that the logical unit can answer at once
//	   v      are done before Submit returns
//	 queue    answers, and whatever else is to be sent                (command.Done)
//	   |
//	   v
//	writev(2) headers and data of all answers in one call             (conn.drain)
//
// With one command in flight that is a read and a write for each, and no hand-off between
// goroutines. With many, one read, one batch and one write serve dozens.
//
// A command that has to wait (for the network, for room) is completed by a goroutine of its
// logical unit. Done puts the answer into the queue and then, if nobody is sending, takes
// the writer's role and sends what there is; if somebody is, that one will find it. So
// answers that come while a write is under way are gathered into the next one. While the
// reader works on a batch the queue is corked: it will send it all when it is done. If
// there is much to send (maxInline), the reader starts a goroutine for it and goes on
// reading, so that an initiator that writes before it reads does not lock up.
//
// Data-Out and large immediate data are copied as far as they are in the read buffer, and
// the rest is read straight into the command's buffer.
//
// # Sessions and connections
//
// A session has one connection (MaxConnections=1): a login that would add one is refused
// (0206). Initiators that want more throughput or paths log in several times, with an ISID for
// each, which every initiator can and what multipath is made of; the commands of all sessions
// meet in the logical unit anyway. A login with the name and the ISID of a session takes its
// place, one with its handle and CID takes the place of its connection; what was under way
// ends before the login does (session.go).
//
// # Order
//
// Requests are executed in the order of CmdSN; what comes early waits in conn.held. The
// window counts commands until they end, not until they have come: MaxCmdSN moves on when a
// command ends (conn.finished), so that an initiator can never have more than
// Limits.CommandWindow in the target. StatSN is given out as answers are put on the wire.
//
// # Memory
//
// A command takes up to 64 KiB as it needs it: the window bounds the sum. What needs more
// is counted against Limits.SessionMemory and waits its turn in conn.waiting: a write
// before its R2T, a read before it is submitted. Unsolicited data, which cannot wait, is
// bounded by FirstBurstLength times the window. While much memory is in use the window
// does not move on. What the initiator makes us say without a command (pings, rejects) is
// bounded by not reading on (maxControl).
//
// All sessions share Limits.Memory: one may use no more than is left of it. A single
// session does not notice; n greedy ones get 1/(n+1) of it each, so that there is always
// something left for the next (dynamic thresholds, as in shared buffers of switches).
// Beyond that go small transfers, and one transfer of each session, without which it would
// stand still.
//
// # Strangers and floods
//
// Before the login nothing but a login request is read, and at the first header that is none
// the connection ends. Connections that have not logged in are bounded for each address and
// altogether; the oldest makes room for a new one (newcomers). Connections are accepted, and
// requests that are no ordinary commands are read, at a bounded rate (bucket): what is more
// waits in the kernel's buffers, and TCP holds up its sender. Without that, a few
// connections with always something to read keep the scheduler from looking at the
// sockets of all the others. Those who guess secrets wait (guesses). Of records with the same
// message only the first ones in ten seconds are logged, and the others counted (quiet).
//
// # Who owns which buffer when
//
//	read buffer   the reader. Nothing refers to it once a PDU is handled: headers and data
//	              are copied out of it.
//	data-out      the command. The reader fills it until all has come; from Submit to Done
//	              it is the logical unit's to read (Command.Out); then the writer frees it.
//	data-in       lent to the logical unit by Transport.Buffer, or its own. From Done on it
//	              must not change; the writer frees what was lent when it has been sent.
//	arena         the writer: headers, digests and small data of the write at hand.
//
// A command is recycled, with its buffers, by the writer after its answer was sent, or,
// if it was aborted, by whoever is the last to use it (conn.bury; pins count the users).
//
// # Locks
//
// Server.mu protects the tables of portals, targets, connections and sessions. conn.mu
// protects the tasks of a connection and its queue; command and conn say field by field
// what it covers. Neither is held during I/O or a call to a logical unit, nor taken while
// the other is held. The reader's and the writer's own fields need no lock: there is one
// reader, and the writer's role (conn.writing) passes on under conn.mu.
//
// # Aborting
//
// Task management marks tasks as aborted (conn.abort). One that has not been submitted ends
// at once; Data-Out that still comes for it is swallowed (conn.ghosts). One that has is
// cancelled through its logical unit (Aborter) and ends when that calls Done; its answer is
// dropped. The function is answered when all have ended. A connection ends the same way:
// it aborts everything, cancels the context of its commands, and waits, before its session
// ends and before a session that replaces it begins. So a write of an old session can never
// land on top of one of a new.
//
// # Parting
//
// When the target ends a session, it says so first (farewell.go). Shutdown and RemoveTarget ask
// for a logout (asynchronous event 1) and wait for it a bounded time; a Linux initiator logs
// out, and in again when there is something to log in to, without an error to whoever uses
// the disk. Sessions that are left, and those that an administrator drops, are dismissed:
// their commands are aborted, and the last thing sent is event 3, with the times to come back
// at. Only a peer that is gone, or has logged in again, is disconnected without a word.
//
// # Time
//
// A login has Limits.LoginTime. Later on, one timer a connection looks every few seconds
// whether anything was received, or a write has got stuck (conn.watch); the hot path only
// sets flags for it.
//
// # Panics
//
// A panic of the reader, of the writer or of a logical unit in Submit ends the session, is
// logged with the header of the PDU or of the commands that were in hand, never with data,
// and touches nobody else.
package target

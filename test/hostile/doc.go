// Package hostile attacks the real daemon over the network and looks at three things: that
// it lives, that nobody else notices, and that not a byte changes which the attacker had no
// right to change.
//
// # The battery
//
// Every *_table_test.go holds sequences: what is sent, what RFC 7143 (or SAM-5, SPC-4)
// says must come of it, and where it says so. They are written in the small language of
// steps_test.go:
//
//	{"Data-Out for a task that nobody knows", "rejected: invalid PDU field", "11.7, 7.8",
//	    with(normal, send(dataOut(0xbad, pdu.NoTag, 0, 512)), rejected(pdu.ReasonInvalidField), alive)},
//
// A sequence connects from a loopback address of its own, so that the target's limits for
// one address never mix sequences up. After each of them the runner (battery_test.go) asks a
// bystander, who has been logged in since the beginning: the session must still be the same,
// a ping and READ CAPACITY must be answered, and the whole volume must read as it was
// written, but for the blocks that the sequence says it writes to.
//
// # Load
//
// assaults_test.go attacks by numbers: half-open connections, slow logins, logins by the
// thousand, floods of NOPs, text, immediate commands and unsolicited data. load_test.go bounds the
// daemon's memory and descriptors from outside (/proc). How much slower a bystander gets
// depends on the machine and is no test: "make hostile" runs the attacks in their long form
// and writes the table of docs/HOSTILITY.md.
//
// # Secrets
//
// secrets_test.go runs whole dialogues with secrets and searches everything that the
// daemon wrote for them.
package hostile

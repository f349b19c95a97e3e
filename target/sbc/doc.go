// Package sbc is the disk device server (SBC-3): it makes a disk that initiators understand
// of anything that reads and writes byte ranges (Disk).
//
// The disk has sectors of 512 bytes on physical blocks of 4096, is thinly provisioned, and
// has a volatile write cache: a write is answered as soon as it survives the death of the
// daemon, and survives a loss of power after SYNCHRONIZE CACHE, with FUA, or always if the
// initiator turns the cache off (MODE SELECT, WCE).
//
// Reads and writes that need not wait are carried out in the goroutine that received them:
// the plain writes of a batch as one, reads one by one. Where the Disk says that it would
// have to wait (EAGAIN), and for everything else that touches the medium, a goroutine per command
// waits.
//
// When an initiator expects to transfer less than its CDB says, what it expects is transferred, to
// the byte, and the transport reports the rest as residual overflow. The rest of a sector
// that was sent in part keeps its content.
//
// # Who sees what of a write
//
// Device.exclusive is held shared by all that changes the medium, and exclusively by what reads
// and writes as one step: COMPARE AND WRITE, ORWRITE, WRITE ATOMIC, and a write of a part of a
// sector. Reads take no lock, since one may wait for the network for long. Those steps count
// in Device.wholes before and after they write instead; a read that finds the count odd or changed
// is made again, so that it sees all of such a write or nothing.
//
// WRITE ATOMIC is there if the disk says that a crash never leaves a part of a write
// (AtomicWriter), up to the length that it says, in whole physical blocks.
//
// # Third-party copies
//
// Hypervisors clone disks by EXTENDED COPY, Windows copies files by tokens; neither wants to carry
// the data itself. Inside one disk whole blocks are copied by the disk (Copier), for which that may
// be a change of a map; what is not whole blocks, overlaps, or goes to another disk of the gateway
// (Peers) is read and written in pieces, in the order that memmove would take.
//
//	EXTENDED COPY ── parseCopyList ── a segment ──┐
//	WRITE USING TOKEN ── Tokens.use ── a range ───┴─ copyBetween ── transfer ─┬ Copier.Copy
//	                                                 joins the other disk's   └ read, write
//	                                                 unit (scsi.Unit.Join)
//
// While it runs, and after it has ended, RECEIVE COPY RESULTS and RECEIVE ROD TOKEN INFORMATION tell
// about it by its list identifier (jobs), until the session ends, the unit is reset, or 64 newer ones
// have come. A copy that is to be in the background (IMMED) ends before it is answered, too.
//
// A segment that fails ends the command with COPY ABORTED: INFORMATION is how many sectors of it
// are missing, COMMAND-SPECIFIC INFORMATION which one it is.
//
// A token of POPULATE TOKEN holds no data: it stands for ranges of a disk as they are (ROD type
// "point in time copy, change vulnerable"). It must never yield anything newer, so:
//
//   - it is made while no write is under way (exclusive);
//   - whatever is about to change a sector of its ranges ends it first (Device.changed);
//   - whoever uses it looks whether it is still alive after each step has read, and fails if not.
//
// It also ends when it was not used for as long as its maker said (30 s, at most 5 minutes), and with
// its disk. It is known to those who were given it: it has 32 random bytes.
//
// # What there is not, and why
//
// SANITIZE promises that no copy of any old data can be read again. Below us are segments that are
// never overwritten, objects in a bucket with a retention of its own, and snapshots that are meant to
// outlive what the disk does. UNMAP and deleting the volume give the space back; nothing here can
// promise more, so that the command is not supported.
//
// Protection information, atomic boundaries, EXTENDED COPY with 32-bit list identifiers, held and
// inline data, and stream devices are not supported, and nothing says that they are.
package sbc

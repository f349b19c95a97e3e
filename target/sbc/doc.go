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
package sbc

// Package pdu is the wire format of iSCSI protocol data units (RFC 7143 section 11). It
// does no I/O, keeps no state and allocates nothing.
//
// # What a PDU looks like
//
//	byte  0        4        8                         48
//	      +--------+--------+---- ... ----+----- ... ----+
//	      | basic header segment, always 48 bytes        |
//	      +----------------------------------------------+
//	      | additional header segments (AHS), 0 to 1020  |
//	      +----------------------------------------------+
//	      | header digest, 4 bytes, if negotiated        |
//	      +----------------------------------------------+
//	      | data segment, 0 to 2^24-1, padded to 4       |
//	      +----------------------------------------------+
//	      | data digest, 4 bytes, if data and negotiated |
//	      +----------------------------------------------+
//
// All numbers in it are big endian; only the two digests are sent least significant byte
// first. The basic header always begins alike:
//
//	 byte 0          1          2          3
//	+-+-+----------+----------+----------+----------+
//	|.|I| opcode   |F| flags  | specific to opcode  |   0
//	+--------------+----------+----------+----------+
//	| AHS words    | data segment length, bytes     |   4
//	+--------------+--------------------------------+
//	| logical unit number, or specific to opcode    |   8
//	|                                               |  12
//	+-----------------------------------------------+
//	| initiator task tag                            |  16
//	+-----------------------------------------------+
//	| specific to opcode                            |  20 to 47
//
// # How to read one
//
// Read 48 bytes into a [Header] and ask it for its [Header.Opcode] and [Header.Sizes];
// read the rest of the PDU; then unmarshal the header into the struct of that opcode:
//
//	switch h.Opcode() {
//	case pdu.OpSCSICommand:
//		var cmd pdu.SCSICommand
//		cmd.Unmarshal(&h)
//
// Every 48 bytes are some message: Unmarshal cannot fail, it ignores the opcode and
// whatever is reserved. Whether a value is acceptable (a length within the negotiated
// limits, a tag that is known) only the session can say, so it is the session that must
// check. Only additional header segments have a grammar of their own, which
// [ParseAHS] enforces.
//
// # How to write one
//
// Fill a struct and Marshal it over a Header. Marshal sets all 48 bytes, reserved ones
// to zero, and includes the data segment length that the struct was given; it neither
// sees nor pads the data.
//
// # Digests
//
// A digest is a CRC32C (RFC 7143 13.1): the header's covers the 48 bytes and the AHS,
// the data's covers the data segment with its padding. See [HeaderDigest] and
// [DataDigest].
package pdu

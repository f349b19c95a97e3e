package pdu

import (
	"encoding/binary"
	"hash/crc32"
)

// DigestLen is the length of a header or data digest on the wire, in bytes.
const DigestLen = 4

// UpdateDigest adds p to a CRC32C (RFC 7143 13.1); the digest of nothing is 0.
func UpdateDigest(crc uint32, p []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), p) // MakeTable returns one shared table
}

// HeaderDigest returns the digest of a basic header and the AHS that follow it.
func HeaderDigest(h *Header, ahs []byte) uint32 {
	return UpdateDigest(UpdateDigest(0, h[:]), ahs)
}

// DataDigest returns the digest of a data segment that is sent with padding of zeros.
// Received padding need not be zeros: there, use UpdateDigest over what was received.
func DataDigest(data []byte) uint32 {
	tab := crc32.MakeTable(crc32.Castagnoli)
	crc := ^crc32.Update(0, tab, data)
	for range Padding(len(data)) { // by hand, since a slice of zeros would be allocated
		crc = tab[byte(crc)] ^ crc>>8
	}
	return ^crc
}

// PutDigest writes a digest as it goes on the wire, least significant byte first.
func PutDigest(b []byte, crc uint32) { binary.LittleEndian.PutUint32(b, crc) }

// GetDigest reads a digest from the first four bytes of b.
func GetDigest(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

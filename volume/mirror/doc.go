// Package mirror keeps copies of what a gateway has not uploaded yet on the disk of another one, its peer, so that to lose the first,
// its disk included, loses nothing that was flushed.
//
// # What is sent
//
// A local segment file (package segment) only grows until it is sealed: records from the front of its metadata region on, blocks in the slots
// behind. A flush sends what each file has gained since the one before, as ranges of the file, and is acknowledged when the peer has
// synced them. Where a segment is in the bucket the copy is not needed any more: with each request the sender says up to which
// segment that is so.
//
//	POST /v1/mirror/<volume>/<epoch>?published=<segment ID>[&whole]
//	body: ranges, each   segment ID (8) | offset (8) | length (4) | CRC32C of the bytes (4) | bytes      big endian
//
// An answer other than 200 means that nothing was promised; the request may be repeated.
//
// # What is kept
//
//	mirror/<volume>/<epoch>/<segment ID>.seg     copies, of one attachment of the volume
//	mirror/<volume>/<epoch>/whole                it has all that is not in the bucket: earlier epochs are gone
//	mirror/<volume>/fence                        the epoch of the last takeover: that one and those before are refused
//
// An attachment begins by sending all that is not in the bucket, and only then, with "whole", does its directory take
// the place of the one before: at no moment is there less on the peer than was promised.
//
// # Who may do what
//
// Both sides show a certificate (TLS 1.3); the peer lets in whoever has one of the authority that it was given. Before this gateway takes over a
// volume that its peer mirrored here, it fences off the owner: from then on that one's flushes fail. Then what is here goes into the bucket, under the names
// that it has, and the volume is recovered from the bucket like any other.
package mirror

// Package nbd is a client of the Network Block Device protocol, as far as it takes to read and write a disk image through
// qemu-nbd: the fixed newstyle handshake, structured replies where the server has them, and block status, which tells what of
// an image is data.
//
// The protocol is described in doc/proto.md of the NetworkBlockDevice project. All numbers are big endian.
//
// # Handshake
//
//	server: "NBDMAGIC" "IHAVEOPT" flags:16
//	client: flags:32
//	client: "IHAVEOPT" option:32 length:32 data        STRUCTURED_REPLY, SET_META_CONTEXT, GO
//	server: magic:64 option:32 type:32 length:32 data  until ACK, or an error
//
// # Transmission
//
//	request     magic:32 flags:16 type:16 handle:64 offset:64 length:32 [data, of a write]
//	simple      magic:32 error:32 handle:64 [data, of a read]
//	structured  magic:32 flags:16 type:16 handle:64 length:32 payload; the last chunk of a reply is flagged DONE
//
// Many requests may be under way on one connection. A goroutine reads the replies and hands each to whoever waits for
// its handle; the data of a read goes into the caller's buffer at once. Whatever the server sends that makes no
// sense ends the connection: every request that is under way then fails, and so does every later one.
package nbd

package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	magicServer     = 0x4e42444d41474943 // NBDMAGIC
	magicOption     = 0x49484156454f5054 // IHAVEOPT
	magicReply      = 0x0003e889045565a9
	magicRequest    = 0x25609513
	magicSimple     = 0x67446698
	magicStructured = 0x668e33ef

	flagFixedNewstyle = 1 << 0 // of the handshake, both ways
	flagNoZeroes      = 1 << 1

	optGo              = 7
	optStructuredReply = 8
	optSetMetaContext  = 10

	repAck         = 1
	repInfo        = 3
	repMetaContext = 4
	repError       = 1 << 31

	infoExport = 0

	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdWriteZeroes = 6
	cmdBlockStatus = 7

	chunkDone        = 1 << 0 // flag of a structured reply
	chunkNone        = 0
	chunkData        = 1
	chunkHole        = 2
	chunkBlockStatus = 5
	chunkError       = 1 << 15

	stateZero = 1 << 1 // of base:allocation: the range reads as zeros

	flagReadOnly       = 1 << 1 // of an export
	flagSendFlush      = 1 << 2
	flagSendWriteZeros = 1 << 6

	// maxOption bounds what the server says in the handshake, and maxStatus a list of extents, in bytes.
	maxOption = 64 << 10
	maxStatus = 1 << 20
	maxText   = 4096 // of an error
)

// ErrProtocol says that the server did not keep to the protocol.
var ErrProtocol = errors.New("the NBD server does not keep to the protocol")

// ServerError is an error that the server answered with.
type ServerError struct {
	Code uint32 // of the protocol: 5 is an I/O error, 28 no space
	Text string // may be empty
}

// Error says what the server said.
func (e *ServerError) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("the NBD server answered with error %d", e.Code)
	}
	return fmt.Sprintf("the NBD server answered with error %d: %s", e.Code, e.Text)
}

// appendOption encodes an option of the handshake.
func appendOption(dst []byte, option uint32, data []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, magicOption)
	dst = binary.BigEndian.AppendUint32(dst, option)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	return append(dst, data...)
}

// appendText encodes a string with its length.
func appendText(dst []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(text))), text...)
}

// optionReply is one answer to an option.
type optionReply struct {
	kind uint32
	data []byte
}

// readOptionReply reads one answer to an option.
func readOptionReply(r io.Reader, option uint32) (optionReply, error) {
	var head [20]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return optionReply{}, fmt.Errorf("reading the answer to option %d: %w", option, err)
	}
	n := binary.BigEndian.Uint32(head[16:])
	if binary.BigEndian.Uint64(head[:]) != magicReply || binary.BigEndian.Uint32(head[8:]) != option || n > maxOption {
		return optionReply{}, fmt.Errorf("%w: it answered option %d with % x", ErrProtocol, option, head)
	}
	reply := optionReply{kind: binary.BigEndian.Uint32(head[12:]), data: make([]byte, n)}
	if _, err := io.ReadFull(r, reply.data); err != nil {
		return optionReply{}, fmt.Errorf("reading the answer to option %d: %w", option, err)
	}
	return reply, nil
}

// appendRequest encodes a request without its data.
func appendRequest(dst []byte, command uint16, handle uint64, off int64, n uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, magicRequest)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, command)
	dst = binary.BigEndian.AppendUint64(dst, handle)
	dst = binary.BigEndian.AppendUint64(dst, uint64(off))
	return binary.BigEndian.AppendUint32(dst, n)
}

// replyHead is the head of a reply of either kind.
type replyHead struct {
	structured bool
	flags      uint16
	kind       uint16
	handle     uint64
	length     uint32 // of the payload of a structured reply
	code       uint32 // of a simple reply: 0 is success
}

func readReplyHead(r io.Reader) (h replyHead, err error) {
	var b [20]byte
	if _, err := io.ReadFull(r, b[:16]); err != nil {
		return h, err
	}
	switch binary.BigEndian.Uint32(b[:]) {
	case magicSimple:
		return replyHead{flags: chunkDone, code: binary.BigEndian.Uint32(b[4:]), handle: binary.BigEndian.Uint64(b[8:])}, nil
	case magicStructured:
		if _, err := io.ReadFull(r, b[16:]); err != nil {
			return h, err
		}
		return replyHead{
			structured: true, flags: binary.BigEndian.Uint16(b[4:]), kind: binary.BigEndian.Uint16(b[6:]),
			handle: binary.BigEndian.Uint64(b[8:]), length: binary.BigEndian.Uint32(b[16:]),
		}, nil
	}
	return h, fmt.Errorf("%w: a reply begins with % x", ErrProtocol, b[:4])
}

// decodeError reads the payload of an error chunk.
func decodeError(p []byte) (*ServerError, error) {
	if len(p) < 6 {
		return nil, fmt.Errorf("%w: an error of %d bytes", ErrProtocol, len(p))
	}
	text := p[6:]
	text = text[:min(int(binary.BigEndian.Uint16(p[4:])), len(text))]
	return &ServerError{Code: binary.BigEndian.Uint32(p), Text: string(text)}, nil
}

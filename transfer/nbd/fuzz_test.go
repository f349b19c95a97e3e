package nbd

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// FuzzHandshake: whatever a server says, Connect ends, and with success only if there is an export.
func FuzzHandshake(f *testing.F) {
	hello := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, magicServer), magicOption)
	hello = append(hello, 0, flagFixedNewstyle)
	f.Add(hello)
	refused := binary.BigEndian.AppendUint64(bytes.Clone(hello), magicReply)
	f.Add(append(refused, 0, 0, 0, optStructuredReply, 0x80, 0, 0, 1, 0, 0, 0, 0))
	acked := binary.BigEndian.AppendUint64(bytes.Clone(hello), magicReply)
	f.Add(append(acked, 0, 0, 0, optStructuredReply, 0, 0, 0, repAck, 0xff, 0xff, 0xff, 0xff))
	f.Fuzz(func(t *testing.T, said []byte) {
		c, err := Connect(t.Context(), speak(said), "")
		if err != nil {
			return
		}
		if c.Size() < 0 {
			t.Errorf("an export of %d bytes", c.Size())
		}
		_ = c.Close()
	})
}

// speak returns a connection to a server that says only this, whatever it is told.
func speak(said []byte) net.Conn {
	ours, theirs := net.Pipe()
	go func() {
		_, _ = theirs.Write(said)
		theirs.Close()
	}()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	return ours
}

// FuzzReplies: whatever a server replies, no request hangs, and a read that succeeds has been filled.
func FuzzReplies(f *testing.F) {
	chunk := func(kind, flags byte, payload []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, magicStructured)
		b = append(b, 0, flags, 0, kind)
		b = binary.BigEndian.AppendUint64(b, 1)
		return append(binary.BigEndian.AppendUint32(b, uint32(len(payload))), payload...)
	}
	data := append(binary.BigEndian.AppendUint64(nil, 4096), bytes.Repeat([]byte{7}, 512)...)
	f.Add(byte(cmdRead), chunk(chunkData, chunkDone, data))
	f.Add(byte(cmdRead), append(chunk(chunkHole, 0, append(binary.BigEndian.AppendUint64(nil, 4096), 0, 0, 2, 0)), chunk(chunkNone, chunkDone, nil)...))
	f.Add(byte(cmdBlockStatus), chunk(chunkBlockStatus, chunkDone, []byte{0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 3}))
	f.Add(byte(cmdFlush), append(binary.BigEndian.AppendUint32(nil, magicSimple), 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1))
	f.Fuzz(func(t *testing.T, command byte, said []byte) {
		c := &Client{conn: speak(nil), pending: map[uint64]*request{}, size: 1 << 20, allocation: 1, hasStatus: true}
		p := bytes.Repeat([]byte{0xee}, 512)
		r := &request{command: uint16(command), off: 4096, done: make(chan error, 1)}
		if r.command == cmdRead {
			r.p = p
		}
		c.pending[1] = r
		c.receive(bytes.NewReader(said))
		if err := <-r.done; err == nil && r.command == cmdRead && r.filled != int64(len(p)) {
			t.Errorf("%d bytes of %d", r.filled, len(p))
		}
	})
}

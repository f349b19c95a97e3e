package target

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

// witness is a RAM disk that remembers which of its bytes a command was entitled to write.
type witness struct {
	*ramDisk
	t       *testing.T
	before  []byte
	mu      sync.Mutex // protects the rest
	allowed []bool     // by block
}

func newWitness(t *testing.T, size int) *witness {
	w := &witness{ramDisk: newRAMDisk(size), t: t, allowed: make([]bool, size/sector)}
	for i := range w.data {
		w.data[i] = byte(i*7 + i/sector)
	}
	w.before = bytes.Clone(w.data)
	return w
}

// Submit implements scsi.LogicalUnit.
func (w *witness) Submit(ctx context.Context, batch []*scsi.Command) {
	for _, cmd := range batch {
		if op, off, n := decode(cmd.CDB); op == 0x2a || op == 0x8a {
			if got := int64(len(cmd.Out)); got > n || got > cmd.OutMax {
				w.t.Errorf("a write of %d bytes, %d of them expected, was given %d", n, cmd.OutMax, got)
			}
			w.mu.Lock()
			for i := off / sector; i < (off+n)/sector && i < int64(len(w.allowed)); i++ {
				w.allowed[i] = true
			}
			w.mu.Unlock()
		}
	}
	w.ramDisk.Submit(ctx, batch)
}

// intact checks that nothing else has changed.
func (w *witness) intact() {
	for i, allowed := range w.allowed {
		if at := i * sector; !allowed && !bytes.Equal(w.data[at:at+sector], w.before[at:at+sector]) {
			w.t.Errorf("block %d was changed, which no command names", i)
		}
	}
}

// converse feeds bytes to a connection, after a login or in its place, and expects it to
// end without a panic, with nothing left over, and without a change that no command asked for.
func converse(t *testing.T, loggedIn bool, bytes []byte) {
	panics := new(panicLog)
	s := New(Options{Authorizer: everybody{}, Logger: slog.New(panics), Limits: Limits{ControlRate: 1 << 30, AcceptRate: 1 << 20}})
	disk := newWitness(t, 1<<16)
	if err := s.AddTarget(Target{Name: targetIQN, LUs: map[uint64]scsi.LogicalUnit{0: disk}}); err != nil {
		t.Fatal(err)
	}
	p := newPipes()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(t.Context(), p) }()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	go func() { _, _ = io.Copy(io.Discard, ours) }()
	if loggedIn {
		text := login.AppendText(nil, login.Pair{Key: "InitiatorName", Value: initiatorIQN}, login.Pair{Key: "TargetName", Value: targetIQN},
			login.Pair{Key: "InitialR2T", Value: "No"})
		req := header(&pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3, DataLength: uint32(len(text)), CmdSN: 1})
		_, _ = ours.Write(append(append(req[:], text...), make([]byte, pdu.Padding(len(text)))...))
	}
	_, _ = ours.Write(bytes)
	_ = ours.Close()
	d := Driver{s}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	<-ended
	for _, p := range panics.take() {
		t.Error(p)
	}
	if n := len(s.sessions) + len(s.conns) + len(s.newcomers); n != 0 {
		t.Errorf("%d sessions and connections are left", n)
	}
	if n := s.memory.Load(); n != 0 {
		t.Errorf("%d bytes are still counted as in use", n)
	}
	disk.intact()
}

// phrase is one PDU of a conversation, in eight bytes:
//
//	byte 0       1        2           3          4             5                  6            7
//	    +--------+--------+-----------+----------+-------------+------------------+------------+-----------+
//	    | opcode | flags  | task tag  | CmdSN is | transfer    | length of data,  | offset, or | LBA, or   |
//	    |        |        | 0 to 7    | as far   | tag, 0 is   | units of 128 or  | blocks of  | function, |
//	    |        |        |           | ahead    | ffffffff    | one less         | the CDB    | or reason |
//	    +--------+--------+-----------+----------+-------------+------------------+------------+-----------+
//
// Mutated bytes of a stream are mostly noise. These are PDUs that fit each other nearly.
const phrase = 8

// speak makes a stream of phrases.
func speak(script []byte) []byte {
	var out []byte
	sn := uint32(1)
	for ; len(script) >= phrase && len(out) < 1<<20; script = script[phrase:] {
		b := script[:phrase]
		var h pdu.Header
		h[0], h[1] = b[0]&0x7f, b[1]
		op := h.Opcode()
		binary.BigEndian.PutUint32(h[16:], uint32(b[2]&7))
		if !h.Immediate() && op != pdu.OpDataOut && op != pdu.OpSNACK {
			binary.BigEndian.PutUint32(h[24:], sn+uint32(int8(b[3])))
			if b[3] == 0 {
				sn++
			}
		} else {
			binary.BigEndian.PutUint32(h[24:], sn)
		}
		n := int(b[5]>>1)*128 - int(b[5]&1)
		n = max(n, 0)
		h[5], h[6], h[7] = byte(n>>16), byte(n>>8), byte(n)
		ttt := uint32(b[4])
		if ttt == 0 {
			ttt = pdu.NoTag
		}
		switch op {
		case pdu.OpSCSICommand:
			binary.BigEndian.PutUint32(h[20:], uint32(b[6])*sector+uint32(b[4])) // expected length
			h[32] = []byte{0x2a, 0x28, 0x12, 0x00, 0x35, 0x8a, 0x25, 0xff}[b[7]>>5]
			binary.BigEndian.PutUint32(h[34:], uint32(b[7]&31)*4)
			binary.BigEndian.PutUint16(h[39:], uint16(b[6]>>1))
		case pdu.OpDataOut:
			binary.BigEndian.PutUint32(h[20:], ttt)
			binary.BigEndian.PutUint32(h[36:], uint32(b[3]))
			binary.BigEndian.PutUint32(h[40:], uint32(b[6])*128)
		case pdu.OpTaskRequest:
			h[1] = 0x80 | b[7]&15
			binary.BigEndian.PutUint32(h[20:], uint32(b[6]&7))
			binary.BigEndian.PutUint32(h[32:], sn-uint32(b[6]>>3))
		default:
			binary.BigEndian.PutUint32(h[20:], ttt)
		}
		out = append(out, h[:]...)
		for i := range n {
			out = append(out, b[7]+byte(i))
		}
		out = append(out, make([]byte, pdu.Padding(n))...)
	}
	return out
}

// FuzzConversation lets PDUs that nearly fit each other meet the whole engine.
func FuzzConversation(f *testing.F) {
	const (
		cmd, data, nop, tmf, text, out = 0x01, 0x05, 0x40, 0x42, 0x04, 0x06
		w, r, fin                      = 0x20, 0x40, 0x80
	)
	f.Add([]byte{cmd, fin | w, 1, 0, 0, 8, 2, 0, data, fin, 1, 0, 1, 8, 4, 9})                   // a write and its data
	f.Add([]byte{cmd, w, 1, 0, 0, 8, 4, 0, data, fin, 1, 0, 0, 8, 4, 9})                         // unsolicited data
	f.Add([]byte{cmd, fin | r, 1, 0, 0, 0, 4, 32, cmd, fin | r, 2, 1, 0, 0, 4, 32, nop, fin, 3}) // out of order
	f.Add([]byte{cmd, w, 1, 0, 0, 8, 40, 0, tmf, 0, 2, 0, 0, 0, 1, 1, data, fin, 1, 0, 0, 8, 4, 9})
	f.Add([]byte{cmd, fin | w, 1, 0, 0, 0, 40, 0, tmf, 0, 2, 0, 0, 0, 1, 5, data, 0, 1, 0, 1, 8, 0, 9})
	f.Add([]byte{text, fin, 1, 0, 0, 2, 0, 65, out, fin, 2, 0, 0, 0, 0, 0, cmd, fin | w, 1, 0, 0, 8, 2, 0})
	f.Fuzz(func(t *testing.T, script []byte) { converse(t, true, speak(script)) })
}

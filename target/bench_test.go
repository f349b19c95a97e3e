package target

import (
	"io"
	"net"
	"testing"

	"sluice/target/login"
	"sluice/target/pdu"
	"sluice/target/scsi"
)

// benchmarkData runs 4 KiB commands over loopback, depth of them at a time, sent and
// received each with one system call. It counts the allocations of both ends, and this
// one makes none.
func benchmarkData(b *testing.B, op byte, depth int) {
	s := New(Options{Authorizer: everybody{}})
	if err := s.AddTarget(Target{Name: targetIQN, LUs: map[uint64]scsi.LogicalUnit{0: newRAMDisk(1 << 20)}}); err != nil {
		b.Fatal(err)
	}
	address, err := s.Listen(b.Context(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = Driver{s}.Close() }()
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	text := login.AppendText(nil, login.Pair{Key: "InitiatorName", Value: initiatorIQN}, login.Pair{Key: "TargetName", Value: targetIQN})
	req := header(&pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3, DataLength: uint32(len(text)), CmdSN: 1})
	if _, err := conn.Write(append(append(req[:], text...), make([]byte, pdu.Padding(len(text)))...)); err != nil {
		b.Fatal(err)
	}
	var h pdu.Header
	if _, err := io.ReadFull(conn, h[:]); err != nil || h.Opcode() != pdu.OpLoginResponse || h[36] != 0 {
		b.Fatalf("login: %v, %x", err, h)
	}
	_, n, pad := h.Sizes()
	if _, err := io.CopyN(io.Discard, conn, int64(n+pad)); err != nil {
		b.Fatal(err)
	}
	const size = 4096
	write := op == 0x2a
	one, answer := pdu.HeaderLen, pdu.HeaderLen+size
	if write {
		one, answer = pdu.HeaderLen+size, pdu.HeaderLen
	}
	out, in := make([]byte, depth*one), make([]byte, depth*answer)
	sn := pdu.SN(1)
	b.SetBytes(size * int64(depth))
	b.ReportAllocs()
	for b.Loop() {
		for k := range depth {
			c := pdu.SCSICommand{Final: true, Read: !write, Write: write, ITT: uint32(k), CmdSN: sn, ExpectedLength: size, CDB: rw(op, 8*k, 8)}
			if write {
				c.DataLength = size
			}
			c.Marshal((*pdu.Header)(out[k*one:]))
			sn++
		}
		if _, err := conn.Write(out); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*depth), "ns/command")
}

func BenchmarkRead4K1(b *testing.B)   { benchmarkData(b, 0x28, 1) }
func BenchmarkRead4K32(b *testing.B)  { benchmarkData(b, 0x28, 32) }
func BenchmarkWrite4K1(b *testing.B)  { benchmarkData(b, 0x2a, 1) }
func BenchmarkWrite4K32(b *testing.B) { benchmarkData(b, 0x2a, 32) }

package sbc

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestModel compares the disk with an array of bytes over random commands of every kind that
// touches data, some of which find that they have to wait.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t)
		if rapid.Bool().Draw(rt, "waits") {
			r.ram.hook = again
		}
		const area = 64 // sectors, few, so that ranges overlap
		model := make([]byte, area*sector)
		extent := func() (lba, n int) {
			lba = rapid.IntRange(0, area-1).Draw(rt, "lba")
			return lba, rapid.IntRange(1, area-lba).Draw(rt, "n")
		}
		data := func(n int) []byte {
			p := make([]byte, n*sector)
			for i := range n { // few patterns, so that comparisons hit
				p[i*sector+rapid.IntRange(0, 1).Draw(rt, "where")] = byte(rapid.IntRange(0, 2).Draw(rt, "what"))
			}
			return p
		}
		put := func(lba int, p []byte) { copy(model[lba*sector:], p) }
		at := func(lba, n int) []byte { return model[lba*sector : (lba+n)*sector] }
		expect := func(x *exchange, want string) {
			if got := x.verdict(); got != want {
				rt.Fatalf("CDB %x: %s, want %s", x.CDB, got, want)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(*rapid.T) {
				lba, n := extent()
				p := data(n)
				cdb := rapid.SampledFrom([][]byte{
					{0x0a, 0, 0, byte(lba), byte(n), 0},
					cdb10(0x2a, 0, uint32(lba), uint16(n)), cdb12(0xaa, 0x08, uint32(lba), uint32(n)),
					cdb16(0x8a, 0, uint64(lba), uint32(n)), cdb16(0x8e, 0x02, uint64(lba), uint32(n)),
				}).Draw(rt, "cdb")
				sent := rapid.IntRange(0, n).Draw(rt, "sent")
				expect(r.do(cdb, p[:sent*sector], 0), "good")
				put(lba, p[:sent*sector])
			},
			"same": func(*rapid.T) {
				lba, n := extent()
				p := data(1)
				flags := rapid.SampledFrom([]byte{0, 8}).Draw(rt, "flags")
				expect(r.do(cdb16(0x93, flags, uint64(lba), uint32(n)), p, 0), "good")
				put(lba, bytes.Repeat(p, n))
			},
			"unmap": func(*rapid.T) {
				lba, n := extent()
				lba2, n2 := extent()
				expect(r.do(cdb10(0x42, 0, 0, 40), unmapList(uint64(lba), uint64(n), uint64(lba2), uint64(n2)), 0), "good")
				clear(at(lba, n))
				clear(at(lba2, n2))
			},
			"or": func(*rapid.T) {
				lba, n := extent()
				p := data(n)
				expect(r.do(cdb16(0x8b, 0, uint64(lba), uint32(n)), p, 0), "good")
				for i, b := range p {
					model[lba*sector+i] |= b
				}
			},
			"compare": func(*rapid.T) {
				lba, n := extent()
				n = min(n, 3)
				want, p := data(n), data(n)
				if rapid.Bool().Draw(rt, "right") {
					want = bytes.Clone(at(lba, n))
				}
				x := r.do(compareCDB(uint64(lba), byte(n)), append(bytes.Clone(want), p...), 0)
				if bytes.Equal(want, at(lba, n)) {
					expect(x, "good")
					put(lba, p)
				} else {
					expect(x, "e/1d00")
				}
			},
			"verify": func(*rapid.T) {
				lba, n := extent()
				p, verdict := data(n), "e/1d00"
				if bytes.Equal(p, at(lba, n)) {
					verdict = "good"
				}
				expect(r.do(cdb10(0x2f, 0x02, uint32(lba), uint16(n)), p, 0), verdict)
				expect(r.do(cdb10(0x2f, 0x02, uint32(lba), uint16(n)), bytes.Clone(at(lba, n)), 0), "good")
			},
			"read": func(*rapid.T) {
				lba, n := extent()
				room := rapid.IntRange(0, n*sector+10).Draw(rt, "room")
				x := r.do(cdb10(0x28, 0, uint32(lba), uint16(n)), nil, room)
				expect(x, "good")
				got := min(room, n*sector)
				if len(x.In) < got || !bytes.Equal(x.In[:got], at(lba, n)[:got]) {
					rt.Fatalf("read %d+%d: wrong data", lba, n)
				}
				if x.Transfer != int64(n*sector) {
					rt.Fatalf("read %d+%d: transfer length %d", lba, n, x.Transfer)
				}
			},
			"": func(*rapid.T) {
				if !bytes.Equal(r.ram.data[:len(model)], model) {
					rt.Fatal("the disk differs from the model")
				}
			},
		})
	})
}

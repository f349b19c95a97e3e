package segment

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkAppend appends random blocks one at a time, and as 32 combined writes.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 32} {
		b.Run(fmt.Sprintf("blocks=%d", n), func(b *testing.B) {
			_, w := createTemp(b)
			p := pattern(1, n)
			var data [][]byte
			var runs []Run
			for i := range n {
				data = append(data, p[i*BlockSize:][:BlockSize])
				runs = append(runs, Run{uint64(i) * 100, 1})
			}
			crcs := checksums(p)
			b.SetBytes(int64(n) * BlockSize)
			b.ReportAllocs()
			for b.Loop() {
				if !w.Fits(n, n) { // use the same file from the beginning
					w.slot, w.number, w.off = 0, 0, headerPage
				}
				if _, err := w.Append(data, runs, crcs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadBlocks(b *testing.B) {
	f, w := createTemp(b)
	write(b, w, 1, Run{0, 64})
	p := make([]byte, BlockSize)
	b.ReportAllocs()
	b.SetBytes(BlockSize)
	slot := uint32(0)
	for b.Loop() {
		if err := ReadBlocks(f, slot, p); err != nil {
			b.Fatal(err)
		}
		slot = (slot + 7) % 64
	}
}

// fullSegment is a segment of random single-block writes, a tenth of them overwritten.
func fullSegment(b *testing.B, noise bool) (*memFile, int) {
	f := &memFile{}
	w := newTestWriter(b, f)
	rnd := rand.New(rand.NewPCG(3, 4))
	chacha := rand.NewChaCha8([32]byte{1})
	for w.Fits(32, 32) {
		var runs []Run
		for range 32 {
			runs = append(runs, Run{rnd.Uint64N(10000) * 1e5, 1})
		}
		p := pattern(rnd.Uint64(), 32)
		if noise {
			_, _ = chacha.Read(p)
		}
		if _, err := w.Append([][]byte{p}, runs, checksums(p)); err != nil {
			b.Fatal(err)
		}
	}
	return f, w.Records()
}

func BenchmarkEncodeFile(b *testing.B) {
	for _, codec := range codecs {
		for _, noise := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/noise=%v", codec, noise), func(b *testing.B) {
				f, records := fullSegment(b, noise)
				builder := NewBuilder(BuilderOptions{Codec: codec})
				var buf []byte
				b.SetBytes(Slots * BlockSize)
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if buf, err = builder.EncodeFile(buf[:0], f, testHeader.ID, records, sealedAt); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(buf))/(Slots*BlockSize), "stored/byte")
			})
		}
	}
}

func BenchmarkDecodeFrame(b *testing.B) {
	for _, codec := range codecs {
		b.Run(codec.String(), func(b *testing.B) {
			f, records := fullSegment(b, false)
			object, err := NewBuilder(BuilderOptions{Codec: codec}).EncodeFile(nil, f, testHeader.ID, records, sealedAt)
			if err != nil {
				b.Fatal(err)
			}
			h, err := ParseHeader(object)
			if err != nil {
				b.Fatal(err)
			}
			stored := object[h.Frame(0).Offset:][:h.Frame(0).Length]
			var buf []byte
			b.SetBytes(maxFrame)
			b.ReportAllocs()
			for b.Loop() {
				if buf, err = h.DecodeFrame(0, stored, buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRecover(b *testing.B) {
	f, _ := fullSegment(b, true)
	b.SetBytes(Slots * BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Recover(f, testHeader.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	f, records := fullSegment(b, true)
	object, err := NewBuilder(BuilderOptions{}).EncodeFile(nil, f, testHeader.ID, records, sealedAt)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHeader(object); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCollapse(b *testing.B) {
	f, _ := fullSegment(b, true)
	r, err := RecoverSynced(f, testHeader.ID)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		Collapse(r.Records)
	}
}

package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var codecs = []Codec{CodecRaw, CodecS2, CodecZstd}

// encode makes the object of all records of a file.
func encode(tb rapid.TB, f *memFile, codec Codec, records int) []byte {
	b, err := NewBuilder(BuilderOptions{Codec: codec}).EncodeFile(nil, f, testHeader.ID, records, sealedAt)
	if err != nil {
		tb.Fatalf("EncodeFile: %v", err)
	}
	return b
}

func parse(tb rapid.TB, object []byte) *ObjectHeader {
	h, err := ParseHeader(object)
	if err != nil {
		tb.Fatalf("ParseHeader: %v", err)
	}
	return h
}

// Whatever was appended, the object says and holds what the local file does.
func TestObjectHoldsTheFinalState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := &memFile{}
		w := newTestWriter(t, f)
		for range rapid.IntRange(0, 12).Draw(rt, "records") {
			drawAppend(rt, t, w)
		}
		object := encode(rt, f, rapid.SampledFrom(codecs).Draw(rt, "codec"), w.Records())
		h := parse(rt, object)
		if h.Header != testHeader || h.Size != int64(len(object)) {
			rt.Fatalf("header %+v of an object of %d bytes", h, len(object))
		}
		want := replay(mustRecover(rt, f).Records)
		if diff := cmp.Diff(want, expand(rt, slices.Collect(h.Runs()))); diff != "" {
			rt.Fatal(diff)
		}
		live := map[uint32]bool{}
		for _, s := range want {
			live[s.Slot] = live[s.Slot] || s.Op == OpWrite
		}
		checkFrames(rt, h, object, f, live)
	})
}

// checkFrames checks that all live slots, and no others, can be read from the object.
func checkFrames(t rapid.TB, h *ObjectHeader, object []byte, f *memFile, live map[uint32]bool) {
	frameOf := map[uint32]int{}
	for i := range h.Frames() {
		fr := h.Frame(i)
		blocks, err := h.DecodeFrame(i, object[fr.Offset:][:fr.Length], []byte("kept"))
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if string(blocks[:4]) != "kept" {
			t.Fatalf("frame %d: DecodeFrame does not append", i)
		}
		blocks = blocks[4:]
		for slot := range h.FrameSlots(i) {
			if !bytes.Equal(blocks[:BlockSize], f.data[SlotOffset(slot):][:BlockSize]) {
				t.Fatalf("slot %d differs", slot)
			}
			blocks = blocks[BlockSize:]
			frameOf[slot] = i
		}
		if len(blocks) > 0 {
			t.Fatalf("frame %d has %d bytes more than slots", i, len(blocks))
		}
	}
	for slot := range uint32(Slots) {
		frame, there := frameOf[slot]
		if there != live[slot] {
			t.Fatalf("slot %d: in the object %v, live %v", slot, there, live[slot])
		}
		for n := uint32(1); n < 40; n += 7 {
			first, last, err := h.FrameRange(slot, n)
			end, all := frame, true
			for s := slot; s < slot+n; s++ {
				f, ok := frameOf[s]
				end, all = f, all && ok
			}
			if (err == nil) != all || err == nil && (first != frame || last != end) {
				t.Fatalf("FrameRange(%d, %d) = %d, %d, %v; want %d, %d, all there %v", slot, n, first, last, err, frame, end, all)
			}
		}
	}
}

// The costliest ordinary header: a full segment of single blocks in random places of a
// volume of 32 TiB.
func TestHeaderIsSmall(t *testing.T) {
	f := &memFile{}
	w := newTestWriter(t, f)
	rnd := rand.New(rand.NewPCG(1, 2))
	for w.Fits(32, 32) {
		var runs []Run
		for range 32 {
			runs = append(runs, Run{rnd.Uint64N(1 << 33), 1})
		}
		write(t, w, rnd.Uint64(), runs...)
	}
	object := encode(t, f, CodecRaw, w.Records())
	h := parse(t, object)
	size := int(h.Frame(0).Offset)
	if h.Blocks() != Slots || size > Slots*BlockSize*7/1000 || size > HeaderProbe {
		t.Errorf("the header of %d blocks has %d bytes", h.Blocks(), size)
	}
	t.Logf("%d bytes, %.2f %% of the data", size, 100*float64(size)/(Slots*BlockSize))
}

func TestLargestHeader(t *testing.T) {
	// As many holes as a metadata region can describe, none next to another.
	r := Record{Op: OpUnmap, Segment: testHeader.ID}
	for i := range uint64(maxRecordLen/runSize - 3) {
		r.Runs = append(r.Runs, Run{i * (maxBlock >> 14), 1 << 30})
	}
	f := &memFile{data: AppendRecord(appendHeaderPage(nil, testHeader), &r)}
	object := encode(t, f, CodecS2, 1)
	if len(object) <= HeaderProbe {
		t.Fatalf("the object has only %d bytes", len(object))
	}
	src := source{testHeader.ID.Key(): object}
	h, err := FetchHeader(t.Context(), src, testHeader.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(slices.Collect(h.Runs())); got != len(r.Runs) {
		t.Errorf("%d holes became %d", len(r.Runs), got)
	}
	src[testHeader.ID.Key()] = object[:len(object)-1]
	if _, err := FetchHeader(t.Context(), src, testHeader.ID); !errors.Is(err, ErrObject) {
		t.Errorf("header cut by the end of the object: %v", err)
	}
}

// source is a bucket.
type source map[string][]byte

var errMissing = errors.New("no such object")

func (s source) GetRange(_ context.Context, key string, off, n int64) ([]byte, string, error) {
	b, ok := s[key]
	if !ok {
		return nil, "", errMissing
	}
	b = b[min(off, int64(len(b))):]
	return b[:min(n, int64(len(b)))], "etag", nil
}

func TestFetchHeader(t *testing.T) {
	f, all := smallFile(t)
	object := encode(t, f, CodecS2, len(all))
	other := testHeader.ID.Next()
	src := source{testHeader.ID.Key(): object, other.Key(): object, ID(1).Key(): nil}
	if h, err := FetchHeader(t.Context(), src, testHeader.ID); err != nil || h.ID != testHeader.ID {
		t.Errorf("FetchHeader: %v", err)
	}
	for id, want := range map[ID]error{other: ErrObject, 1: ErrObject, 2: errMissing} {
		if _, err := FetchHeader(t.Context(), src, id); !errors.Is(err, want) {
			t.Errorf("segment %s: %v, want %v", id, err, want)
		}
	}
}

func TestParseHeaderDetectsEveryFlipAndCut(t *testing.T) {
	f, all := smallFile(t)
	object := encode(t, f, CodecS2, len(all))
	size := int(parse(t, object).Frame(0).Offset)
	for at := range size {
		object[at] ^= 4
		var short *ErrShortHeader
		if _, err := ParseHeader(object[:size]); !errors.Is(err, ErrObject) && !errors.As(err, &short) {
			t.Errorf("byte %d flipped: %v", at, err)
		}
		object[at] ^= 4
		_, err := ParseHeader(object[:at])
		if !errors.As(err, &short) || short.Need > size || at >= objectFixed && short.Need != size {
			t.Errorf("cut to %d of %d bytes: %v", at, size, err)
		}
	}
}

func TestDecodeFrameDetectsEveryFlip(t *testing.T) {
	f, all := smallFile(t)
	for _, codec := range codecs {
		object := encode(t, f, codec, len(all))
		h := parse(t, object)
		fr := h.Frame(0)
		if fr.Codec != codec || h.Frames() != 1 {
			t.Errorf("%d frames, %s instead of %s", h.Frames(), fr.Codec, codec)
		}
		stored := object[fr.Offset:][:fr.Length]
		want, err := h.DecodeFrame(0, stored, nil)
		if err != nil {
			t.Fatal(err)
		}
		for at := range stored {
			stored[at] ^= 0x21
			// A compressed form may have bits without meaning.
			got, err := h.DecodeFrame(0, stored, nil)
			if err == nil && !bytes.Equal(got, want) || err != nil && !errors.Is(err, ErrObject) {
				t.Fatalf("%s: byte %d flipped: %v", codec, at, err)
			}
			if err != nil && len(got) != 0 {
				t.Fatalf("%s: byte %d flipped: %d bytes with an error", codec, at, len(got))
			}
			stored[at] ^= 0x21
		}
		if _, err := h.DecodeFrame(0, stored[1:], nil); !errors.Is(err, ErrObject) {
			t.Errorf("%s: frame cut: %v", codec, err)
		}
		for _, i := range []int{-1, 1} {
			if _, err := h.DecodeFrame(i, nil, nil); !errors.Is(err, ErrObject) {
				t.Errorf("%s: frame %d: %v", codec, i, err)
			}
		}
	}
}

// Random data is stored raw, by any codec, and zeros are not.
func TestFramesAreRawWhereNothingHelps(t *testing.T) {
	noise := make([]byte, 16*BlockSize)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(noise)
	f := &memFile{}
	w := newTestWriter(t, f)
	for i, p := range [][]byte{noise, make([]byte, 16*BlockSize)} {
		if _, err := w.Append([][]byte{p}, []Run{{uint64(i) * 16, 16}}, checksums(p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, codec := range codecs {
		h := parse(t, encode(t, f, codec, 2))
		if got := []Codec{h.Frame(0).Codec, h.Frame(1).Codec}; got[0] != CodecRaw || got[1] != codec || h.Codec != codec {
			t.Errorf("%s: frames are %v", codec, got)
		}
	}
}

func TestEncodeRefusesABadLocalFile(t *testing.T) {
	whole, all := smallFile(t)
	bad := func(change func(b []byte)) *memFile {
		f := &memFile{data: bytes.Clone(whole.data)}
		change(f.data)
		return f
	}
	for name, c := range map[string]struct {
		f    *memFile
		want error
	}{
		"live block":  {bad(func(b []byte) { b[SlotOffset(1)+5] ^= 1 }), errBadBlock},
		"last record": {bad(func(b []byte) { b[headerPage+64+64+5] ^= 1 }), ErrRecord},
		"header":      {bad(func(b []byte) { b[20] ^= 1 }), ErrHeader},
	} {
		dst := []byte("before")
		got, err := NewBuilder(BuilderOptions{}).EncodeFile(dst, c.f, testHeader.ID, len(all), sealedAt)
		if !errors.Is(err, c.want) || string(got) != "before" {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	// A dead block is not read: nobody will miss it.
	dead := bad(func(b []byte) { b[SlotOffset(0)] ^= 1 }) // block 1 was written again
	if !bytes.Equal(encode(t, dead, CodecS2, len(all)), encode(t, whole, CodecS2, len(all))) {
		t.Error("a dead block makes a difference")
	}
	if _, err := NewBuilder(BuilderOptions{Codec: 9}).EncodeFile(nil, whole, testHeader.ID, 0, sealedAt); err == nil {
		t.Error("unknown codec: no error")
	}
}

// What is behind the known records, as after a loss of power, does not go to the bucket.
func TestEncodeFileTakesTheKnownRecords(t *testing.T) {
	f, all := smallFile(t)
	h := parse(t, encode(t, f, CodecS2, 2))
	if diff := cmp.Diff(replay(all[:2]), expand(t, slices.Collect(h.Runs()))); diff != "" {
		t.Error(diff)
	}
}

// A Builder makes the same object of the same file, whatever it made before.
func TestBuilderHasNoMemory(t *testing.T) {
	f, all := smallFile(t)
	g := &memFile{}
	w := newTestWriter(t, g)
	for i := range uint64(100) {
		write(t, w, i, Run{i, 3})
	}
	for _, codec := range codecs {
		b := NewBuilder(BuilderOptions{Codec: codec})
		var buf []byte
		for range 3 {
			var err error
			if buf, err = b.EncodeFile(buf[:0], g, testHeader.ID, w.Records(), sealedAt); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf, encode(t, g, codec, w.Records())) {
				t.Errorf("%s: a used builder makes another object", codec)
			}
			if buf, err = b.EncodeFile(buf[:0], f, testHeader.ID, len(all), sealedAt); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf, encode(t, f, codec, len(all))) {
				t.Errorf("%s: a used builder makes another object", codec)
			}
		}
	}
}

func TestParseCodec(t *testing.T) {
	for _, c := range codecs {
		if got, err := ParseCodec(c.String()); got != c || err != nil {
			t.Errorf("ParseCodec(%q) = %v, %v", c, got, err)
		}
	}
	if _, err := ParseCodec("lzma"); err == nil {
		t.Error("unknown codec: no error")
	}
}

// resum makes the sum of a header right again.
func resum(b []byte) {
	if len(b) < objectFixed {
		return
	}
	n := binary.LittleEndian.Uint32(b[12:])
	if n >= objectFixed+4 && int64(n) <= int64(len(b)) {
		binary.LittleEndian.PutUint32(b[n-4:], crc32.Checksum(b[:n-4], castagnoli))
	}
}

func objectSeeds(tb testing.TB) [][]byte {
	f := &memFile{}
	w := newTestWriter(tb, f)
	write(tb, w, 1, Run{1000, 17})
	write(tb, w, 2, Run{1 << 40, 1}, Run{5, 1}, Run{1005, 2})
	if err := w.AppendZero(OpZero, []Run{{1001, 2}, {0, 3}}); err != nil {
		tb.Fatal(err)
	}
	if err := w.AppendZero(OpUnmap, []Run{{3, 1 << 31}}); err != nil {
		tb.Fatal(err)
	}
	var seeds [][]byte
	for _, c := range codecs {
		seeds = append(seeds, encode(tb, f, c, w.Records()))
	}
	return append(seeds, encode(tb, f, CodecS2, 0))
}

func FuzzParseHeader(f *testing.F) {
	for _, b := range objectSeeds(f) {
		h := parse(f, b)
		if h.Frames() > 0 {
			b = b[:h.Frame(0).Offset]
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		resum(b)
		h, err := ParseHeader(b)
		if err != nil {
			var short *ErrShortHeader
			if errors.As(err, &short) && (short.Need <= len(b) || short.Need > maxObjectHeader) {
				t.Fatalf("of %d bytes: %v", len(b), err)
			}
			return
		}
		slots := 0
		for i := range h.Frames() {
			for slot := range h.FrameSlots(i) {
				if first, last, err := h.FrameRange(slot, 1); first != i || last != i || err != nil {
					t.Fatalf("slot %d of frame %d is in %d-%d, %v", slot, i, first, last, err)
				}
				slots++
			}
		}
		blocks := 0
		for e := range h.Runs() {
			if !e.valid() {
				t.Fatalf("run %+v", e)
			}
			blocks += len(e.CRCs)
		}
		if slots != h.Blocks() || blocks != slots {
			t.Fatalf("%d slots, %d blocks, %d sums", slots, h.Blocks(), blocks)
		}
	})
}

func FuzzDecodeFrame(f *testing.F) {
	for _, codec := range codecs {
		comp, err := newCompressor(codec)
		if err != nil {
			f.Fatal(err)
		}
		for blocks := range 2 {
			stored, codec := comp.append(nil, bytes.Repeat([]byte("0123456789abcdef"), (blocks+1)*BlockSize/16))
			f.Add(byte(codec), byte(blocks), stored)
		}
	}
	f.Fuzz(func(t *testing.T, codec, blocks byte, stored []byte) {
		n := uint32(blocks)%FrameBlocks + 1
		if len(stored) > maxFrame {
			return
		}
		h := &ObjectHeader{
			live:   []liveRun{{count: n}},
			crcs:   make([]uint32, n),
			frames: []Frame{{Length: uint32(len(stored)), Codec: Codec(codec)}},
		}
		// Learn the sums first, so that what decompresses passes.
		if raw, err := decompress(Codec(codec), nil, stored, int(n)*BlockSize); err == nil {
			h.crcs = checksums(raw)
		}
		out, err := h.DecodeFrame(0, stored, nil)
		if err == nil && len(out) != int(n)*BlockSize || err != nil && !errors.Is(err, ErrObject) {
			t.Fatalf("%d blocks became %d bytes, %v", n, len(out), err)
		}
		if cap(out) > 4*maxFrame {
			t.Fatalf("%d bytes were allocated", cap(out))
		}
	})
}

func ExampleObjectHeader_FrameRange() {
	f := &memFile{}
	w, _ := newWriter(f, testHeader)
	p := pattern(1, 40)
	_, _ = w.Append([][]byte{p}, []Run{{100, 40}}, checksums(p))
	object, _ := NewBuilder(BuilderOptions{}).EncodeFile(nil, f, testHeader.ID, w.Records(), sealedAt)

	h, _ := ParseHeader(object)
	first, last, _ := h.FrameRange(10, 8) // the blocks 110 to 117 of the volume
	fmt.Println("frames", first, "to", last)
	for i := first; i <= last; i++ {
		frame := h.Frame(i)
		blocks, err := h.DecodeFrame(i, object[frame.Offset:][:frame.Length], nil)
		fmt.Println(len(blocks)/BlockSize, "blocks", err)
	}
	// Output:
	// frames 0 to 1
	// 16 blocks <nil>
	// 16 blocks <nil>
}

// What a sum cannot find: headers whose parts do not agree.
func TestParseHeaderRefusesNonsense(t *testing.T) {
	object := objectSeeds(t)[0] // 20 live blocks in 2 frames
	le := binary.LittleEndian
	good := parse(t, object)
	table := objectFixed + 4*good.Blocks()
	runs := table + 4*good.Frames()
	for name, change := range map[string]func(b []byte){
		"later version":         func(b []byte) { le.PutUint16(b[8:], ObjectVersion+1) },
		"frame size":            func(b []byte) { b[10] = 32 },
		"codec 0":               func(b []byte) { b[11] = 0 },
		"flag":                  func(b []byte) { b[60] = 1 },
		"too many blocks":       func(b []byte) { le.PutUint32(b[48:], Slots+1) },
		"more sums":             func(b []byte) { le.PutUint32(b[48:], uint32(good.Blocks()+1)) },
		"no runs":               func(b []byte) { le.PutUint32(b[52:], 0) },
		"more runs than blocks": func(b []byte) { le.PutUint32(b[52:], uint32(good.Blocks()+1)) },
		"too many holes":        func(b []byte) { le.PutUint32(b[56:], 1<<31) },
		"fewer holes":           func(b []byte) { b[56]-- },
		"empty frame":           func(b []byte) { le.PutUint32(b[table:], uint32(CodecS2)<<codecShift) },
		"frame that grew":       func(b []byte) { le.PutUint32(b[table:], uint32(CodecS2)<<codecShift|(maxFrame+1)) },
		"raw frame cut":         func(b []byte) { le.PutUint32(b[table:], uint32(CodecRaw)<<codecShift|(maxFrame-1)) },
		"frame codec":           func(b []byte) { le.PutUint32(b[table:], 4<<codecShift|1) },
		"varint without end":    func(b []byte) { copy(b[runs:], bytes.Repeat([]byte{0xff}, 11)) },
		"slot behind the end":   func(b []byte) { copy(b[runs:], []byte{0xff, 0x7f}) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(object)
			change(b)
			resum(b)
			if _, err := ParseHeader(b); !errors.Is(err, ErrObject) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Compressing must save a sixteenth.
func TestLittleGainIsStoredRaw(t *testing.T) {
	p := make([]byte, maxFrame)
	chacha := rand.NewChaCha8([32]byte{2})
	for _, c := range []struct {
		zeros int
		want  Codec
	}{{maxFrame / 32, CodecRaw}, {maxFrame / 8, CodecS2}} {
		_, _ = chacha.Read(p)
		clear(p[:c.zeros])
		comp, err := newCompressor(CodecS2)
		if err != nil {
			t.Fatal(err)
		}
		if stored, codec := comp.append(nil, p); codec != c.want {
			t.Errorf("%d of %d bytes are zero: %d bytes of %s", c.zeros, maxFrame, len(stored), codec)
		}
	}
}

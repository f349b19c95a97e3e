package segment

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Codec is how a frame is stored. The numbers are part of the format.
type Codec uint8

const (
	// CodecRaw stores the blocks as they are.
	CodecRaw Codec = 1
	// CodecS2 is fast (about 450 MB/s a core); the default.
	CodecS2 Codec = 2
	// CodecZstd is half as fast and stores about a fifth less.
	CodecZstd Codec = 3
)

// ParseCodec returns the codec of a name: raw, s2 or zstd.
func ParseCodec(name string) (Codec, error) {
	for c := CodecRaw; c <= CodecZstd; c++ {
		if c.String() == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("unknown codec %q: it is one of raw, s2 and zstd", name)
}

// String returns the codec's name.
func (c Codec) String() string {
	switch c {
	case CodecRaw:
		return "raw"
	case CodecS2:
		return "s2"
	case CodecZstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// maxFrame is the size in bytes of the blocks of a full frame.
const maxFrame = FrameBlocks * BlockSize

// compressor stores frames with one codec.
type compressor struct {
	codec Codec
	zstd  *zstd.Encoder
}

func newCompressor(codec Codec) (*compressor, error) {
	c := &compressor{codec: codec}
	switch codec {
	case CodecRaw, CodecS2:
	case CodecZstd:
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(maxFrame), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, fmt.Errorf("making zstd encoder: %w", err)
		}
		c.zstd = enc
	default:
		return nil, fmt.Errorf("unknown %s", codec)
	}
	return c, nil
}

// maxStored is how many bytes append may need behind dst for n bytes of blocks, meanwhile.
func (c *compressor) maxStored(n int) int {
	switch c.codec {
	case CodecS2:
		return s2.MaxEncodedLen(n)
	case CodecZstd:
		return c.zstd.MaxEncodedSize(n)
	default:
		return n
	}
}

// append appends the stored form of raw to dst and says how it is stored: raw where
// compressing saves less than a sixteenth, since readers would pay for nothing.
func (c *compressor) append(dst, raw []byte) ([]byte, Codec) {
	start := len(dst)
	dst = slices.Grow(dst, c.maxStored(len(raw)))
	switch c.codec {
	case CodecS2:
		dst = dst[:start+len(s2.Encode(dst[start:cap(dst)], raw))]
	case CodecZstd:
		dst = c.zstd.EncodeAll(raw, dst)
	default: // raw
	}
	if n := len(dst) - start; n > 0 && n < len(raw)-len(raw)/16 {
		return dst, c.codec
	}
	return append(dst[:start], raw...), CodecRaw
}

var errDecompress = errors.New("frame does not decompress to its blocks")

// decompress appends the n bytes that were stored to dst; whatever stored holds, it never
// makes more of it.
func decompress(codec Codec, dst, stored []byte, n int) ([]byte, error) {
	dst = slices.Grow(dst, n)
	out := dst[len(dst) : len(dst) : len(dst)+n]
	var err error
	switch codec {
	case CodecRaw:
		if len(stored) == n {
			out = append(out, stored...)
		}
	case CodecS2:
		var size int
		if size, err = s2.DecodedLen(stored); err == nil && size == n {
			out, err = s2.Decode(out[:n], stored)
		}
	case CodecZstd:
		out, err = decompressZstd(out, stored)
	default:
		err = fmt.Errorf("unknown %s", codec)
	}
	if err != nil {
		return dst, fmt.Errorf("%w: %w", errDecompress, err)
	}
	if len(out) != n {
		return dst, fmt.Errorf("%w: %d bytes of %s are not %d", errDecompress, len(stored), codec, n)
	}
	return dst[:len(dst)+n], nil
}

// zstdDecoders are kept because making one costs more than using it.
var zstdDecoders sync.Pool

// decompressZstd fills the capacity of out and never more.
func decompressZstd(out, stored []byte) ([]byte, error) {
	dec, _ := zstdDecoders.Get().(*zstd.Decoder)
	if dec == nil {
		var err error
		dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, fmt.Errorf("making zstd decoder: %w", err)
		}
	}
	defer zstdDecoders.Put(dec)
	return dec.DecodeAll(stored, out)
}

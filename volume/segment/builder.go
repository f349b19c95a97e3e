package segment

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// BuilderOptions configure a Builder.
type BuilderOptions struct {
	Codec Codec // zero means CodecS2
}

// Builder makes objects of local segment files. It keeps its buffers; it is not safe for
// concurrent use: each uploader has one.
type Builder struct {
	opts   BuilderOptions
	comp   *compressor
	raw    []byte   // the blocks of one frame
	frames []uint32 // the frame table
}

// NewBuilder returns a Builder. An unknown codec is an error of each Encode.
func NewBuilder(opts BuilderOptions) *Builder {
	if opts.Codec == 0 {
		opts.Codec = CodecS2
	}
	return &Builder{opts: opts}
}

// EncodeFile appends the object of a sealed local segment file to dst. It is an error if the
// file has fewer good records than the caller knows of (Writer.Records, or
// len(Recovered.Records)): a damaged segment is not made a shorter one. Records behind those
// are left out. The same file, sealed at the same time, gives the same bytes, as long as the compression library does.
func (b *Builder) EncodeFile(dst []byte, f io.ReaderAt, id ID, records int, sealed time.Time) ([]byte, error) {
	r, err := RecoverSynced(f, id) // Encode checks the data
	if err != nil {
		return dst, err
	}
	if len(r.Records) < records {
		return dst, fmt.Errorf("encoding segment %s: %d of its %d records are left: %w", id, len(r.Records), records, r.Stopped)
	}
	l := Collapse(r.Records[:records])
	l.Sealed = sealed
	return b.Encode(dst, r.Header, &l, f)
}

// Encode appends the object of a segment to dst, reading the live blocks from f, a local
// segment file, and checking the sum of each. On error it returns dst as it was.
func (b *Builder) Encode(dst []byte, hdr Header, l *Layout, f io.ReaderAt) ([]byte, error) {
	if b.comp == nil {
		comp, err := newCompressor(b.opts.Codec)
		if err != nil {
			return dst, fmt.Errorf("encoding segment %s: %w", hdr.ID, err)
		}
		b.comp, b.raw = comp, make([]byte, 0, maxFrame)
	}
	blocks := l.Blocks()
	if blocks > Slots {
		return dst, fmt.Errorf("encoding segment %s: it has %d blocks", hdr.ID, blocks)
	}
	start := len(dst)
	out := appendObjectHeader(dst, hdr, b.opts.Codec, l)
	size := len(out) - start
	if size > maxObjectHeader {
		return dst, fmt.Errorf("encoding segment %s: its header has %d bytes", hdr.ID, size)
	}
	// All at once: growing step by step would copy megabytes.
	out = slices.Grow(out, blocks*BlockSize+b.comp.maxStored(maxFrame))
	out, err := b.appendFrames(out, l, f)
	if err != nil {
		return dst, fmt.Errorf("encoding segment %s: %w", hdr.ID, err)
	}
	finishObjectHeader(out[start:start+size], blocks, b.frames)
	if _, err := ParseHeader(out[start : start+size]); err != nil { // better now than from the bucket
		return dst, fmt.Errorf("encoding segment %s: %w", hdr.ID, err)
	}
	return out, nil
}

// appendFrames appends the frames of all live blocks and notes their table.
func (b *Builder) appendFrames(out []byte, l *Layout, f io.ReaderAt) ([]byte, error) {
	b.frames, b.raw = b.frames[:0], b.raw[:0]
	flush := func() {
		if len(b.raw) == 0 {
			return
		}
		var codec Codec
		start := len(out)
		out, codec = b.comp.append(out, b.raw)
		b.frames = append(b.frames, uint32(len(out)-start)|uint32(codec)<<codecShift)
		b.raw = b.raw[:0]
	}
	for _, e := range l.Live {
		for e.Count > 0 {
			n := min(e.Count, uint32(maxFrame-len(b.raw))/BlockSize)
			piece := e.piece(e.Start, e.Start+uint64(n))
			if err := b.read(f, piece); err != nil {
				return out, err
			}
			if len(b.raw) == maxFrame {
				flush()
			}
			e = e.piece(e.Start+uint64(n), e.End())
		}
	}
	flush()
	return out, nil
}

// read appends the blocks of an extent to b.raw.
func (b *Builder) read(f io.ReaderAt, e Extent) error {
	if len(e.CRCs) != int(e.Count) {
		return errors.New("an extent without a sum for each block")
	}
	start := len(b.raw)
	b.raw = b.raw[:start+int(e.Count)*BlockSize]
	if err := ReadBlocks(f, e.Slot, b.raw[start:]); err != nil {
		return err
	}
	for i, want := range e.CRCs {
		if got := Checksum(b.raw[start+i*BlockSize:][:BlockSize]); got != want {
			return fmt.Errorf("%w: slot %d, block %d of the volume: its CRC32C is %08x instead of %08x",
				errBadBlock, e.Slot+uint32(i), e.Start+uint64(i), got, want)
		}
	}
	return nil
}

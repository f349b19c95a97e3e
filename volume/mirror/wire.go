package mirror

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"sluice/volume"
	"sluice/volume/segment"
)

const (
	rangeHeader = 24
	// maxRange bounds one range: a whole segment file is more than is ever sent at once.
	maxRange = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errMalformed is about a request that no sender makes.
var errMalformed = errors.New("malformed request")

// appendRange encodes a range.
func appendRange(dst []byte, r volume.MirrorRange) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Segment))
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Data)))
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(r.Data, castagnoli))
	return append(dst, r.Data...)
}

// readRange decodes the next range; io.EOF says that there is none. The data is valid until the next call with the same buf.
func readRange(r io.Reader, buf []byte) (volume.MirrorRange, []byte, error) {
	var head [rangeHeader]byte
	var got volume.MirrorRange
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends within a range", errMalformed)
		}
		return got, buf, err
	}
	got.Segment = segment.ID(binary.BigEndian.Uint64(head[:]))
	got.Offset = int64(binary.BigEndian.Uint64(head[8:]))
	length := binary.BigEndian.Uint32(head[16:])
	switch {
	case length == 0 || length > maxRange:
		return got, buf, fmt.Errorf("%w: a range of %d bytes", errMalformed, length)
	case got.Offset < 0 || got.Offset > segment.FileSize-int64(length):
		return got, buf, fmt.Errorf("%w: a range at %d, of %d bytes", errMalformed, got.Offset, length)
	case got.Segment.Writer() == 0 || got.Segment.Writer() > segment.MaxWriter || got.Segment.Sequence() == 0:
		return got, buf, fmt.Errorf("%w: there is no segment %s", errMalformed, got.Segment)
	}
	if cap(buf) < int(length) {
		buf = make([]byte, length)
	}
	got.Data = buf[:length]
	if _, err := io.ReadFull(r, got.Data); err != nil {
		return got, buf, fmt.Errorf("%w: it ends within the bytes of a range: %w", errMalformed, err)
	}
	if crc32.Checksum(got.Data, castagnoli) != binary.BigEndian.Uint32(head[20:]) {
		return got, buf, fmt.Errorf("%w: the checksum of a range is wrong", errMalformed)
	}
	return got, buf, nil
}

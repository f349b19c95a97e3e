package mirror

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"sluice/volume"
	"sluice/volume/segment"
)

// FuzzReadRange reads ranges from any bytes: what is read is inside of a segment file, and encodes to what it was read from.
func FuzzReadRange(f *testing.F) {
	one := appendRange(nil, volume.MirrorRange{Segment: segment.NewID(1, 1), Offset: 4096, Data: []byte("block")})
	f.Add([]byte{})
	f.Add(one)
	f.Add(append(one, one...))
	f.Add(one[:len(one)-1])
	f.Fuzz(func(t *testing.T, body []byte) {
		r, buf := bytes.NewReader(body), []byte(nil)
		for {
			before := len(body) - r.Len()
			got, room, err := readRange(r, buf)
			if errors.Is(err, io.EOF) && before == len(body) {
				return
			}
			if err != nil {
				if !errors.Is(err, errMalformed) {
					t.Fatalf("%d bytes: %v", len(body), err)
				}
				return
			}
			buf = room
			if got.Offset < 0 || got.Offset+int64(len(got.Data)) > segment.FileSize {
				t.Fatalf("a range of %d bytes at %d", len(got.Data), got.Offset)
			}
			if again := appendRange(nil, got); !bytes.Equal(again, body[before:len(body)-r.Len()]) {
				t.Fatal("it encodes to something else")
			}
		}
	})
}

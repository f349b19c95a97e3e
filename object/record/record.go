package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// The checksum is of all that is before it, the comma of it not included, as eight digits.
const (
	sumBegins = ",\n  \"crc32c\": \""
	sumEnds   = "\"\n}\n"
	sumLength = len(sumBegins) + 8 + len(sumEnds)
)

// ErrSum means that a record is not the one that was written.
var ErrSum = errors.New("its checksum is wrong")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the record of v, a struct with at least one member.
func Encode(v any) ([]byte, error) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	rest, ok := bytes.CutSuffix(body, []byte("\n}"))
	if !ok {
		return nil, fmt.Errorf("encoding a record: a %T has no members", v)
	}
	return fmt.Appendf(rest, "%s%08x%s", sumBegins, crc32.Checksum(rest, castagnoli), sumEnds), nil
}

// Decode reads a record into v, as json.Unmarshal does. If it is another than was written the error is ErrSum.
func Decode(body []byte, v any) error {
	if at := len(body) - sumLength; at >= 0 && bytes.HasPrefix(body[at:], []byte(sumBegins)) {
		if want := fmt.Appendf(nil, "%s%08x%s", sumBegins, crc32.Checksum(body[:at], castagnoli), sumEnds); !bytes.Equal(body[at:], want) {
			return ErrSum
		}
	}
	return json.Unmarshal(body, v)
}

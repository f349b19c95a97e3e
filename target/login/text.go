package login

import (
	"bytes"
	"fmt"

	"sluice/target/pdu"
)

// Bounds of what an initiator may send.
const (
	// MaxRequestData is the longest data segment of a Login Request in bytes: no other
	// MaxRecvDataSegmentLength is in force before the full feature phase.
	MaxRequestData = 8192
	// MaxText is the longest text, over all PDUs that it is spread over, in bytes; and the
	// most that a whole login may take.
	MaxText = 64 << 10

	maxKeys     = 256  // in one text, and in one login
	maxKeyName  = 63   // bytes (RFC 7143 6.1)
	maxKeyValue = 8192 // bytes; RFC 7143 6.1 allows 255 unless a key says otherwise
	maxSteps    = 128  // requests in one login
)

// Pair is one key with its value.
type Pair struct{ Key, Value string }

// ParseText splits the text of a login or text request, "key=value\0" again and again,
// into its pairs (RFC 7143 6.1). Text longer than MaxText, too many keys, and names or
// values that are too long or malformed are an error. The last NUL may be missing, and
// there may be more than one.
func ParseText(text []byte) ([]Pair, error) {
	if len(text) > MaxText {
		return nil, Refuse(pdu.LoginInitiatorError, "text of %d bytes is longer than %d", len(text), MaxText)
	}
	var pairs []Pair
	for item := range bytes.SplitSeq(text, []byte{0}) {
		if len(item) == 0 {
			continue
		}
		key, value, ok := bytes.Cut(item, []byte{'='})
		switch {
		case !ok || !validKey(key):
			return nil, Refuse(pdu.LoginInitiatorError, "malformed key in text: %s", shorten(item))
		case len(value) > maxKeyValue:
			return nil, Refuse(pdu.LoginInitiatorError, "value of %s has %d bytes, more than %d", key, len(value), maxKeyValue)
		case len(pairs) == maxKeys:
			return nil, Refuse(pdu.LoginInitiatorError, "more than %d keys in one text", maxKeys)
		}
		pairs = append(pairs, Pair{string(key), string(value)})
	}
	return pairs, nil
}

// validKey accepts printable ASCII: more than the RFC's grammar, since an unknown key is
// answered anyway, and nothing that could garble a log.
func validKey(key []byte) bool {
	for _, c := range key {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(key) > 0 && len(key) <= maxKeyName
}

// shorten quotes as much of b as tells what it is, and never a value.
func shorten(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{'='})
	return fmt.Sprintf("%q", b[:min(len(b), maxKeyName)])
}

// AppendText appends pairs in the form that ParseText reads. Neither keys nor values may
// contain a NUL.
func AppendText(dst []byte, pairs ...Pair) []byte {
	for _, p := range pairs {
		dst = append(dst, p.Key...)
		dst = append(dst, '=')
		dst = append(dst, p.Value...)
		dst = append(dst, 0)
	}
	return dst
}

package login

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Values with a meaning of their own (RFC 7143 6.2).
const (
	valueNone          = "None"
	valueYes           = "Yes"
	valueNo            = "No"
	valueReject        = "Reject"
	valueIrrelevant    = "Irrelevant"
	valueNotUnderstood = "NotUnderstood"
)

// isAnswer tells whether a value can only be the answer to an offer. This target makes no
// offers, so it takes no notice of such a key (an initiator may send TargetAlias=NotUnderstood).
func isAnswer(value string) bool {
	return value == valueReject || value == valueIrrelevant || value == valueNotUnderstood
}

// parseNumber reads a decimal or, after 0x, hexadecimal number of up to 64 bits
// (RFC 7143 6.1).
func parseNumber(s string) (uint64, bool) {
	base := 10
	if hexed, ok := cutPrefix(s, "0x"); ok {
		s, base = hexed, 16
	}
	if s == "" || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}

func parseBool(s string) (value, ok bool) { return s == valueYes, s == valueYes || s == valueNo }

func formatBool(b bool) string {
	if b {
		return valueYes
	}
	return valueNo
}

// parseBinary reads a binary value: hexadecimal after 0x, base64 after 0b (RFC 7143 6.1).
func parseBinary(s string) ([]byte, bool) {
	if digits, ok := cutPrefix(s, "0x"); ok {
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		b, err := hex.DecodeString(digits)
		return b, err == nil && len(b) > 0
	}
	if digits, ok := cutPrefix(s, "0b"); ok {
		b, err := base64.StdEncoding.DecodeString(digits)
		return b, err == nil && len(b) > 0
	}
	return nil, false
}

func formatBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }

// cutPrefix is strings.CutPrefix for a prefix of lower case letters, in either case.
func cutPrefix(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

const maxName = 223 // bytes of an iSCSI name (RFC 7143 4.2.7.1)

// NormalizeName returns an iSCSI name as it is to be compared: in lower case (RFC 7143
// 4.2.7.2, RFC 3722). An empty or too long name, or one that holds other characters than
// letters, digits, '-', '.', ':' and letters beyond ASCII, is an error. Underscore is
// tolerated, and the naming authority is not checked, because initiators are found that
// keep to neither and the name is looked up anyway.
func NormalizeName(name string) (string, error) {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return "", errors.New("iSCSI name is not 1 to 223 bytes of UTF-8")
	}
	for _, r := range name {
		if !strings.ContainsRune("-.:_", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return "", errors.New("iSCSI name holds a character that is not allowed")
		}
	}
	lower := strings.ToLower(name)
	if len(lower) > maxName {
		return "", errors.New("iSCSI name is longer than 223 bytes in lower case")
	}
	return lower, nil
}

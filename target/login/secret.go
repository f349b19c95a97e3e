package login

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a CHAP secret, which can be used but not shown: printed, logged, or marshalled
// to JSON or text it is "[redacted]". The zero Secret is unset. The bytes are behind a
// pointer, so that fmt does not reach them through an unexported field either.
type Secret struct{ p *[]byte }

// NewSecret returns a secret of these bytes, unset if there are none.
func NewSecret(secret string) Secret {
	if secret == "" {
		return Secret{}
	}
	b := []byte(secret)
	return Secret{&b}
}

// IsSet tells whether there is a secret.
func (s Secret) IsSet() bool { return s.p != nil }

// Len returns the length of the secret in bytes.
func (s Secret) Len() int { return len(s.bytes()) }

// Equal compares two secrets in a time that depends on their lengths only.
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s.bytes(), t.bytes()) == 1 }

func (s Secret) bytes() []byte {
	if s.p == nil {
		return nil
	}
	return *s.p
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

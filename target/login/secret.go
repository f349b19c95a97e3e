package login

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a CHAP secret, which can be used but not shown: printed, logged, or marshalled
// to JSON or text it is "[redacted]". The zero Secret is unset. The bytes are held by a
// function, since fmt follows even pointers in unexported fields, where it calls no
// methods.
type Secret struct{ reveal func() []byte }

// NewSecret returns a secret of these bytes, unset if there are none.
func NewSecret(secret string) Secret {
	if secret == "" {
		return Secret{}
	}
	return Secret{func() []byte { return []byte(secret) }}
}

// IsSet tells whether there is a secret.
func (s Secret) IsSet() bool { return s.reveal != nil }

// Len returns the length of the secret in bytes.
func (s Secret) Len() int { return len(s.bytes()) }

// Equal compares two secrets in a time that depends on their lengths only.
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s.bytes(), t.bytes()) == 1 }

func (s Secret) bytes() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
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

package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

const redacted = "[redacted]"

// Secret is a secret on its way to the daemon. It goes into JSON as it is, but never into
// a log or a message.
type Secret string

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// The bounds of a CHAP secret in bytes. RFC 7143 9.2.1 asks for 96 bits at least.
// Windows takes no more than 16.
const (
	MinSecretLength = 12
	MaxSecretLength = 255
)

const maxSecretFile = 4 << 10

// ReadSecretFile reads a secret from a file that nobody but its owner may read. One line
// feed at the end is not part of the secret. No error repeats any of it.
func ReadSecretFile(path string) (Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("secret file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("secret file %s has mode %04o, so others can read it: run chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	if len(text) > maxSecretFile {
		return "", fmt.Errorf("secret file %s is longer than %d bytes", path, maxSecretFile)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("secret file %s is empty", path)
	}
	return Secret(secret), nil
}

// Check tells what is wrong with the credentials, if anything, without repeating a secret.
func (c *CHAPRequest) Check() error {
	switch {
	case c.User == "":
		return errors.New("the CHAP user is missing")
	case !chapLength(c.Secret):
		return fmt.Errorf("the CHAP secret has %d bytes: it must have %d to %d (Windows initiators want 12 to 16)",
			len(c.Secret), MinSecretLength, MaxSecretLength)
	case (c.MutualUser == "") != (c.MutualSecret == ""):
		return errors.New("mutual CHAP needs both a user and a secret")
	case c.MutualSecret != "" && !chapLength(c.MutualSecret):
		return fmt.Errorf("the mutual CHAP secret has %d bytes: it must have %d to %d (Windows initiators want 12 to 16)",
			len(c.MutualSecret), MinSecretLength, MaxSecretLength)
	case c.MutualSecret == c.Secret:
		return errors.New("the CHAP secret and the mutual CHAP secret are the same: they must differ (RFC 7143 9.2.1)")
	case len(c.User) > MaxSecretLength || len(c.MutualUser) > MaxSecretLength:
		return fmt.Errorf("a CHAP user has at most %d bytes", MaxSecretLength)
	case strings.ContainsFunc(c.User+c.MutualUser, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("a CHAP user holds a control character")
	case strings.ContainsRune(string(c.Secret+c.MutualSecret), 0):
		return errors.New("a CHAP secret holds a NUL byte")
	}
	return nil
}

func chapLength(s Secret) bool { return len(s) >= MinSecretLength && len(s) <= MaxSecretLength }

package object

import (
	"fmt"
	"strings"
)

// Limits that every backend keeps, chosen so that a key fits a file system and,
// with a prefix before it, an S3 bucket (1,024 bytes).
const (
	MaxKey       = 512     // bytes in a key
	MaxComponent = 200     // bytes between two slashes
	MaxBody      = 1 << 30 // bytes in an object
)

// CheckKey reports what is wrong with a key. A key is one or more components
// joined by single slashes. A component is made of ASCII letters and digits and
// "._-=+@,", and does not begin with a dot: such names are the backends' own.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("an object key must not be empty")
	}
	if len(key) > MaxKey {
		return fmt.Errorf("the object key of %d bytes is longer than %d", len(key), MaxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if err := checkComponent(part); err != nil {
			return fmt.Errorf("object key %q: %w", key, err)
		}
	}
	return nil
}

// CheckPrefix reports what is wrong with a List prefix: the beginning of a valid
// key, which may stop anywhere, or nothing at all.
func CheckPrefix(prefix string) error {
	dir, last := "", prefix
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		dir, last = prefix[:i], prefix[i+1:]
		if err := CheckKey(dir); err != nil {
			return fmt.Errorf("list prefix: %w", err)
		}
	}
	if last == "" {
		return nil
	}
	if err := checkComponent(last); err != nil {
		return fmt.Errorf("list prefix %q: %w", prefix, err)
	}
	return nil
}

func checkComponent(part string) error {
	switch {
	case part == "":
		return fmt.Errorf("a component is empty")
	case part[0] == '.':
		return fmt.Errorf("component %q begins with a dot", part)
	case len(part) > MaxComponent:
		return fmt.Errorf("a component of %d bytes is longer than %d", len(part), MaxComponent)
	}
	for _, c := range []byte(part) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("._-=+@,", c) >= 0:
		default:
			return fmt.Errorf("byte %q is not allowed", c)
		}
	}
	return nil
}

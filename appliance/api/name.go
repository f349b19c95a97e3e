package api

import (
	"fmt"
	"strings"
)

// IQNPrefix and the name of a volume make the iSCSI name of its target.
const IQNPrefix = "iqn.2026-11.io.sluice:"

// IQN returns the iSCSI name of a volume's target.
func IQN(volume string) string { return IQNPrefix + volume }

// The bounds of a volume's size.
const (
	MinVolumeSize = 1 * MiB
	MaxVolumeSize = 32 * TiB
)

const maxNameLength = 63

// CheckName tells what is wrong with the name of a volume, if anything.
func CheckName(name string) error {
	alphanumeric := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	ok := len(name) >= 1 && len(name) <= maxNameLength && alphanumeric(name[0]) && alphanumeric(name[len(name)-1])
	for i := range len(name) {
		ok = ok && (alphanumeric(name[i]) || name[i] == '.' || name[i] == '-')
	}
	if !ok {
		return fmt.Errorf("volume name %q: it must have 1 to %d characters out of a-z, 0-9, '.' and '-', and begin and end with a letter or digit",
			name, maxNameLength)
	}
	return nil
}

// CheckVolumeSize tells what is wrong with the size of a volume, if anything.
func CheckVolumeSize(size Size) error {
	if size < MinVolumeSize || size > MaxVolumeSize || size%MiB != 0 {
		return fmt.Errorf("volume size %s: it must be between %s and %s, in whole MiB", size, MinVolumeSize, MaxVolumeSize)
	}
	return nil
}

const maxIQNLength = 223 // RFC 7143 4.2.7.2

// CheckInitiator tells what is wrong with the iSCSI name of an initiator, if anything.
// Names are compared in lower case; this does not change it.
func CheckInitiator(name string) error {
	prefixed := false
	for _, prefix := range []string{"iqn.", "eui.", "naa."} {
		prefixed = prefixed || strings.HasPrefix(strings.ToLower(name), prefix)
	}
	valid := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-.:_", c)
	}
	if !prefixed || len(name) > maxIQNLength || strings.ContainsFunc(name, func(c rune) bool { return !valid(c) }) {
		return fmt.Errorf("initiator name %q: it must be an iSCSI name such as iqn.1993-08.org.debian:01:abcdef "+
			"(on Linux, cat /etc/iscsi/initiatorname.iscsi)", name)
	}
	return nil
}

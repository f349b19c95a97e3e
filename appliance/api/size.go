package api

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes that people read and write with a binary unit: 512MiB,
// 10GiB, 1TiB. Printing is exact: it takes the largest unit that divides the number.
type Size int64

// The units that a Size may be written in.
const (
	Byte Size = 1
	KiB       = Byte << 10
	MiB       = KiB << 10
	GiB       = MiB << 10
	TiB       = GiB << 10
)

var units = []struct {
	name string
	size Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", Byte}}

// ParseSize reads a whole number with one of the units B, KiB, MiB, GiB, TiB.
func ParseSize(text string) (Size, error) {
	for _, unit := range units {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if errors.Is(err, strconv.ErrRange) || err == nil && Size(n) > math.MaxInt64/unit.size {
			return 0, fmt.Errorf("size %q is too large", text)
		}
		if err != nil {
			break
		}
		return Size(n) * unit.size, nil
	}
	return 0, fmt.Errorf("size %q is not a whole number with a unit of KiB, MiB, GiB or TiB: write for example 10GiB", text)
}

// String prints the size so that ParseSize returns it again.
func (s Size) String() string {
	for _, unit := range units {
		if s >= unit.size && s%unit.size == 0 {
			return strconv.FormatInt(int64(s/unit.size), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Set is ParseSize into s; with String and Type it makes Size a command line flag.
func (s *Size) Set(text string) error {
	parsed, err := ParseSize(text)
	if err == nil {
		*s = parsed
	}
	return err
}

// Type names the value in a command line's help.
func (*Size) Type() string { return "SIZE" }

// MarshalText prints the size for YAML and JSON.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is Set.
func (s *Size) UnmarshalText(text []byte) error { return s.Set(string(text)) }

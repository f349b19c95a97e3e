package api

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0B": 0, "512B": 512, "4KiB": 4096, "512MiB": 512 * MiB, "10GiB": 10 * GiB, "1TiB": TiB, "1024MiB": GiB,
		"8388607TiB": 8388607 * TiB,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "10", "GiB", "10GB", "10G", "10gib", "1.5GiB", "-1GiB", "+1GiB", " 1GiB", "1 GiB", "1GiB ", "0x1GiB", "1_0GiB",
		"8388608TiB", "18446744073709551616B", "1e3MiB",
	} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was taken for %d", text, got)
		} else if !strings.Contains(err.Error(), "10GiB") && !strings.Contains(err.Error(), "too large") {
			t.Errorf("%q: the message does not show how: %v", text, err)
		}
	}
}

func TestSizePrintsExactly(t *testing.T) {
	for want, size := range map[string]Size{"0B": 0, "1B": 1, "1536MiB": 1536 * MiB, "32TiB": 32 * TiB, "1025B": 1025} {
		if got := size.String(); got != want {
			t.Errorf("%d is printed as %s, not %s", int64(size), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Min(0).Draw(t, "size") >> rapid.IntRange(0, 62).Draw(t, "shift") << rapid.IntRange(0, 40).Draw(t, "unit"))
		if size < 0 {
			t.Skip("overflow")
		}
		text, err := json.Marshal(size)
		if err != nil {
			t.Fatal(err)
		}
		var back Size
		if err := json.Unmarshal(text, &back); err != nil || back != size {
			t.Fatalf("%d -> %s -> %d, %v", int64(size), text, int64(back), err)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"10GiB", "0B", "9223372036854775807B", "8388608TiB", "1\x00KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := ParseSize(text)
		if err != nil {
			return
		}
		if size < 0 {
			t.Fatalf("%q is negative", text)
		}
		if back, err := ParseSize(size.String()); err != nil || back != size {
			t.Fatalf("%q -> %d -> %s -> %d, %v", text, size, size, back, err)
		}
	})
}

package stored

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"
)

var update = flag.Bool("update", false, "write the golden files")

var goldenVolume = uuid.MustParse("6f1d2a3b-4c5d-4e6f-8a9b-0c1d2e3f4a5b")

// TestGoldenBits reads a file of bits of version 1, and writes it again.
func TestGoldenBits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bits")
	want := []int64{0, 1, 63, 64, 130, 199}
	b, err := openBits(path, goldenVolume, 200, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range want {
		if err := b.add(n, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/v1.bits"
	if *update {
		if err := os.WriteFile(golden, written, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, written) {
		t.Error("written again, the file has other bytes: the format has changed, its version must, too")
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err = openBits(path, goldenVolume, 200, true); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(b.all()); !slices.Equal(got, want) {
		t.Errorf("read %v", got)
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openBits(path, uuid.New(), 200, true); err == nil {
		t.Error("bits of another volume were taken")
	}
}

// TestNewerState shows that what a newer program wrote is refused.
func TestNewerState(t *testing.T) {
	dir := t.TempDir()
	st := &state{Format: stateFormat + 1, Volume: goldenVolume}
	if err := st.save(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := loadState(dir, goldenVolume); err == nil {
		t.Error("a newer format was read")
	}
}

// FuzzOpenBits opens anything as a file of bits: it is refused, or it is a set within its bounds.
func FuzzOpenBits(f *testing.F) {
	head := bitsHead(goldenVolume)
	f.Add([]byte{})
	f.Add(head)
	f.Add(append(append(slices.Clone(head), make([]byte, bitsHeader-len(head))...), 0xff, 1, 2))
	f.Fuzz(func(t *testing.T, body []byte) {
		path := filepath.Join(t.TempDir(), "bits")
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := openBits(path, goldenVolume, 100, true)
		if err != nil {
			return
		}
		for n := range b.all() {
			if n < 0 || n >= 128 {
				t.Errorf("%d is in the set", n)
			}
		}
		if err := b.close(); err != nil {
			t.Fatal(err)
		}
	})
}

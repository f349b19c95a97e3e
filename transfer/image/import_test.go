package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// memoryVolume is a volume that loses what was not marked when it is cut off.
type memoryVolume struct {
	mu      sync.Mutex
	data    []byte
	durable []byte // data at the last mark
	mark    Mark
	marks   int
	left    int // operations until all fail; negative: none does
	zeros   int // writes that were nothing but zeros
}

var errCutOff = errors.New("the cord was pulled")

func newMemoryVolume(size int64, old byte) *memoryVolume {
	data := bytes.Repeat([]byte{old}, int(size))
	return &memoryVolume{data: data, durable: slices.Clone(data), left: -1}
}

func (v *memoryVolume) operation() error {
	if v.left == 0 {
		return errCutOff
	}
	v.left--
	return nil
}

func (v *memoryVolume) Write(_ context.Context, p []byte, off int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(p)%unit != 0 || off%unit != 0 || off+int64(len(p)) > int64(len(v.data)) {
		return fmt.Errorf("a write of %d bytes at %d", len(p), off)
	}
	if allZero(p) {
		v.zeros++
	}
	if err := v.operation(); err != nil {
		return err
	}
	copy(v.data[off:], p)
	return nil
}

func (v *memoryVolume) Zero(_ context.Context, off, n int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n%unit != 0 || off%unit != 0 || n <= 0 || off+n > int64(len(v.data)) {
		return fmt.Errorf("zeros of %d bytes at %d", n, off)
	}
	if err := v.operation(); err != nil {
		return err
	}
	clear(v.data[off : off+n])
	return nil
}

func (v *memoryVolume) Mark(_ context.Context, m Mark) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.operation(); err != nil {
		return err
	}
	v.mark, v.durable, v.marks = m, slices.Clone(v.data), v.marks+1
	return nil
}

// crash keeps only what was durable.
func (v *memoryVolume) crash() {
	v.data, v.left = slices.Clone(v.durable), -1
}

// memorySource is an image in memory whose holes lie anywhere.
type memorySource struct {
	data   []byte
	bounds []int64 // of extents: data from the first to the second, a hole to the third
}

func (s *memorySource) Size() int64      { return int64(len(s.data)) }
func (s *memorySource) Identity() string { return "memory" }
func (s *memorySource) Unchanged() error { return nil }
func (s *memorySource) Close() error     { return nil }

func (s *memorySource) Extent(_ context.Context, off int64) (bool, int64, error) {
	for i, b := range s.bounds {
		if b > off {
			return i%2 == 1, b - off, nil
		}
	}
	return len(s.bounds)%2 == 1, s.Size() - off, nil
}

func (s *memorySource) ReadAt(_ context.Context, p []byte, off int64) error {
	if off+int64(len(p)) > s.Size() {
		return io.ErrUnexpectedEOF
	}
	copy(p, s.data[off:])
	return nil
}

var smallPace = pace{data: 16 << 10, hole: 64 << 10, mark: 32 << 10}

// drawImage makes an image of any size, with runs of data, zeros that are stored, and holes.
func drawImage(t *rapid.T) *memorySource {
	s := &memorySource{data: make([]byte, rapid.IntRange(0, 300<<10).Draw(t, "size"))}
	at := 0
	for i := 0; at < len(s.data); i++ {
		n := min(rapid.SampledFrom([]int{1, 511, 4096, 5000, 16384, 40000, 100000}).Draw(t, "run"), len(s.data)-at)
		if i%2 == 1 {
			fill := byte(rapid.IntRange(0, 2).Draw(t, "fill"))
			copy(s.data[at:], bytes.Repeat([]byte{fill}, n))
		}
		at += n
		s.bounds = append(s.bounds, int64(at))
	}
	return s
}

// TestImport: whatever the image is, and wherever the import was cut off and resumed, the volume has the image at last, and zeros
// behind it; and the checksum is that of the image.
func TestImport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawImage(t)
		size := (int64(len(s.data))+unit-1)/unit*unit + int64(rapid.IntRange(0, 3).Draw(t, "room"))*unit
		v := newMemoryVolume(size, 0xee)
		img := &Image{Source: s, Size: s.Size()}
		ctx := context.Background()
		for range rapid.IntRange(0, 3).Draw(t, "interruptions") {
			v.left = rapid.IntRange(0, 30).Draw(t, "operations")
			if _, err := smallPace.run(ctx, img, v, size, v.mark, &Progress{}); err != nil && !errors.Is(err, errCutOff) {
				t.Fatal(err)
			}
			v.crash()
		}
		var p Progress
		sum, err := smallPace.run(ctx, img, v, size, v.mark, &p)
		if err != nil {
			t.Fatal(err)
		}
		want := append(slices.Clone(s.data), make([]byte, size-s.Size())...)
		if !bytes.Equal(v.data, want) {
			t.Fatal("the volume is not the image")
		}
		if got := sha256.Sum256(s.data); hex.EncodeToString(got[:]) != sum {
			t.Fatalf("checksum %s", sum)
		}
		if v.zeros > 0 {
			t.Fatalf("%d writes of zeros", v.zeros)
		}
		if p.Done.Load() != max(s.Size(), v.mark.Done) {
			t.Fatalf("%d of %d bytes are done", p.Done.Load(), s.Size())
		}
	})
}

// TestImportStream: a stream is as good as a file, however it comes.
func TestImportStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawImage(t)
		const size = 304 << 10
		v := newMemoryVolume(size, 0xee)
		r := io.Reader(bytes.NewReader(s.data))
		if rapid.Bool().Draw(t, "slowly") {
			r = iotest.HalfReader(r)
		}
		sum, err := smallPace.run(context.Background(), &Image{Stream: r, Size: -1}, v, size, Mark{}, &Progress{})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(v.data, append(slices.Clone(s.data), make([]byte, size-s.Size())...)) {
			t.Fatal("the volume is not the image")
		}
		if got := sha256.Sum256(s.data); hex.EncodeToString(got[:]) != sum {
			t.Fatalf("checksum %s", sum)
		}
	})
}

// TestImportFails: what goes wrong is said, and is not a success.
func TestImportFails(t *testing.T) {
	ctx := t.Context()
	data := bytes.Repeat([]byte{1}, 200<<10)
	for _, test := range []struct {
		name string
		img  *Image
		from Mark
		want string
	}{
		{"too large", &Image{Source: &memorySource{data: data}, Size: 1 << 40}, Mark{}, "make the volume larger"},
		{"too long a stream", &Image{Stream: bytes.NewReader(data), Size: -1}, Mark{}, "make the volume larger"},
		{"short file", &Image{Source: &memorySource{data: data[:50<<10], bounds: []int64{0}}, Size: 100 << 10}, Mark{}, "the image ends at byte"},
		{"short stream", &Image{Stream: bytes.NewReader(data[:1000]), Size: 100 << 10}, Mark{}, "ends after 1000 bytes"},
		{"broken stream", &Image{Stream: iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(data))), Size: -1}, Mark{}, "timeout"},
		{"no state", &Image{Source: &memorySource{data: data}, Size: 4096}, Mark{Done: 4096, State: []byte("x")}, "cannot be resumed"},
		{"crooked mark", &Image{Source: &memorySource{data: data}, Size: 4096}, Mark{Done: 100}, "cannot be resumed"},
	} {
		_, err := smallPace.run(ctx, test.img, newMemoryVolume(100<<10, 0), 100<<10, test.from, &Progress{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := smallPace.run(ended, &Image{Source: &memorySource{data: data}, Size: 4096}, newMemoryVolume(4096, 0), 4096, Mark{}, &Progress{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

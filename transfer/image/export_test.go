package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// memoryMoment is a volume in memory.
type memoryMoment struct {
	data    []byte
	extents []Extent
	fail    int64 // reads that reach this offset fail; 0: none
}

func (m *memoryMoment) Size() int64 { return int64(len(m.data)) }

func (m *memoryMoment) Extents(_ context.Context, off, n int64) ([]Extent, error) {
	var list []Extent
	for _, x := range m.extents {
		from, to := max(x.Offset, off), min(x.Offset+x.Length, off+n)
		if from < to {
			list = append(list, Extent{from, to - from})
		}
	}
	return list, nil
}

var errDamaged = errors.New("an object is damaged")

func (m *memoryMoment) Read(_ context.Context, p []byte, off int64) error {
	if m.fail > 0 && off+int64(len(p)) > m.fail {
		return errDamaged
	}
	copy(p, m.data[off:])
	return nil
}

// pattern has data in some blocks and zeros in others.
var pattern = bytes.Repeat(append(bytes.Repeat([]byte{7}, 5*unit), make([]byte, 3*unit)...), 32)

// drawMoment makes a volume of 1 MiB.
func drawMoment(t *rapid.T) *memoryMoment {
	m := &memoryMoment{data: make([]byte, 1<<20)}
	for at := int64(rapid.IntRange(0, 50).Draw(t, "first")) * unit; at < m.Size(); {
		n := min(int64(rapid.SampledFrom([]int{1, 7, 8, 60, 200}).Draw(t, "length"))*unit, m.Size()-at)
		m.extents = append(m.extents, Extent{at, n})
		copy(m.data[at:at+n], pattern)
		at += n + int64(rapid.IntRange(1, 80).Draw(t, "gap"))*unit
	}
	return m
}

// TestExport: a stream and a raw file are the volume, and the file is sparse.
func TestExport(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m := drawMoment(rt)
		var out bytes.Buffer
		if err := exporter(64<<10).stream(context.Background(), m, &out, &Progress{}); err != nil {
			rt.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), m.data) {
			rt.Fatal("the stream is not the volume")
		}
		path := filepath.Join(dir, "image")
		var p Progress
		if err := exporter(64<<10).file(context.Background(), m, Raw, path, &p); err != nil {
			rt.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, m.data) {
			rt.Fatalf("the file is not the volume: %v", err)
		}
		total := int64(0)
		for _, x := range m.extents {
			total += x.Length
		}
		if p.Moved.Load() != total || p.Done.Load() != m.Size() {
			rt.Fatalf("%d bytes moved of %d, %d done", p.Moved.Load(), total, p.Done.Load())
		}
	})
}

// TestExportFails: a file that was there stays as it was, and nothing else is left.
func TestExportFails(t *testing.T) {
	m := &memoryMoment{data: make([]byte, 16<<20), extents: []Extent{{0, 16 << 20}}, fail: 9 << 20}
	copy(m.data, "data")
	formats := []Format{Raw}
	if _, err := exec.LookPath("qemu-nbd"); err == nil {
		formats = append(formats, QCOW2)
	}
	for _, format := range formats {
		dir := t.TempDir()
		path := filepath.Join(dir, "image")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ExportFile(t.Context(), m, format, path, &Progress{}); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", format, err)
		}
		files, err := os.ReadDir(dir)
		got, rerr := os.ReadFile(path)
		if len(files) != 1 || string(got) != "old" {
			t.Errorf("%s: left %v (%v), %q (%v)", format, files, err, got, rerr)
		}
	}
	if err := ExportStream(t.Context(), m, io.Discard, &Progress{}); !errors.Is(err, errDamaged) {
		t.Errorf("%v", err)
	}
	if err := ExportStream(t.Context(), &memoryMoment{data: make([]byte, 8192)}, brokenPipe{}, &Progress{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
	for _, path := range []string{t.TempDir(), "/nowhere/image", "/dev/null"} {
		if err := ExportFile(t.Context(), m, Raw, path, &Progress{}); err == nil {
			t.Errorf("written to %s", path)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawFile is a file or block device that is the disk, byte by byte.
type rawFile struct {
	f    *os.File
	path string // absolute
	info fs.FileInfo
	size int64
}

func openRawFile(name string) (*rawFile, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("opening image %s: %w", name, err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would block
	if err != nil {
		return nil, fmt.Errorf("opening image %s: %w", name, describe(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) != fs.ModeDevice {
		err = errors.New("it is neither a file nor a block device")
	}
	size := int64(0)
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd) // of a block device, too
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening image %s: %w", name, err), f.Close())
	}
	return &rawFile{f: f, path: path, info: info, size: size}, nil
}

func (r *rawFile) detect() (Format, error) {
	head, tail := make([]byte, min(r.size, headLength)), make([]byte, min(r.size, headLength))
	_, err := r.f.ReadAt(head, 0)
	if err == nil || errors.Is(err, io.EOF) {
		_, err = r.f.ReadAt(tail, r.size-int64(len(tail)))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading image %s: %w", r.path, describe(err))
	}
	return Detect(head, tail), nil
}

// verify reads the whole file and compares its checksum.
func (r *rawFile) verify(ctx context.Context, want string) error {
	sum := sha256.New()
	p := make([]byte, chunkSize)
	for off := int64(0); off < r.size; {
		n := min(r.size-off, chunkSize)
		if err := errors.Join(ctx.Err(), r.ReadAt(ctx, p[:n], off)); err != nil {
			return err
		}
		_, _ = sum.Write(p[:n]) // a hash takes all
		off += n
	}
	return CompareSum(want, hex.EncodeToString(sum.Sum(nil)))
}

// Size implements Source.
func (r *rawFile) Size() int64 { return r.size }

// Extent implements Source.
func (r *rawFile) Extent(_ context.Context, off int64) (bool, int64, error) {
	data, err := unix.Seek(int(r.f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // nothing but a hole up to the end
		return false, r.size - off, nil
	case errors.Is(err, unix.EINVAL): // it knows no holes
		return true, r.size - off, nil
	case err != nil:
		return false, 0, fmt.Errorf("looking for data in image %s: %w", r.path, err)
	case data > off:
		return false, min(data, r.size) - off, nil
	}
	hole, err := unix.Seek(int(r.f.Fd()), off, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, fmt.Errorf("looking for holes in image %s: %w", r.path, err)
	}
	return true, min(hole, r.size) - off, nil
}

// ReadAt implements Source.
func (r *rawFile) ReadAt(_ context.Context, p []byte, off int64) error {
	if _, err := io.ReadFull(io.NewSectionReader(r.f, off, int64(len(p))), p); err != nil {
		return fmt.Errorf("reading image %s at byte %d: %w", r.path, off, describe(err))
	}
	return nil
}

// Identity implements Source: the path, the size and when it was changed last.
func (r *rawFile) Identity() string {
	return fmt.Sprintf("file %s size %d changed %d", r.path, r.size, r.info.ModTime().UnixNano())
}

// Unchanged implements Source.
func (r *rawFile) Unchanged() error {
	if !r.info.Mode().IsRegular() {
		return nil // a block device does not tell
	}
	now, err := os.Stat(r.path)
	if err == nil && (!os.SameFile(now, r.info) || now.Size() != r.size || !now.ModTime().Equal(r.info.ModTime())) {
		err = errors.New("it has changed while it was read")
	}
	if err != nil {
		return fmt.Errorf("image %s: %w", r.path, describe(err))
	}
	return nil
}

// Close implements Source.
func (r *rawFile) Close() error { return r.f.Close() }

// ErrChecksum says that an image is not the one that was meant.
var ErrChecksum = errors.New("the checksum of the image is wrong")

// CompareSum returns ErrChecksum if want, in hexadecimal, is neither empty nor got.
func CompareSum(want, got string) error {
	if want != "" && !strings.EqualFold(want, got) {
		return fmt.Errorf("%w: its SHA-256 is %s and should be %s", ErrChecksum, got, strings.ToLower(want))
	}
	return nil
}

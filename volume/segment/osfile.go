package segment

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vectorFile is what a Writer needs.
type vectorFile interface {
	File
	// WritevAt writes bufs one behind the other from off on. Like io.WriterAt it returns an
	// error if it writes less than all. It is not called concurrently with itself.
	WritevAt(bufs [][]byte, off int64) (n int, err error)
}

// maxIovecs is the kernel's limit of buffers in one call (IOV_MAX).
const maxIovecs = 1024

// osFile is a vectorFile in a file system.
type osFile struct {
	*os.File
	iov     []unix.Iovec // reused
	pwritev func(fd uintptr, iov []unix.Iovec, off int64) (int, error)
}

func newOSFile(f *os.File) *osFile { return &osFile{File: f, pwritev: pwritev} }

// Sync makes the file's data durable. The file never grows, so fdatasync is enough. It may
// be called concurrently with writes.
func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func (f *osFile) WritevAt(bufs [][]byte, off int64) (n int, err error) {
	for len(bufs) > 0 {
		k := min(len(bufs), maxIovecs)
		m, err := f.writeSome(bufs[:k], off+int64(n))
		n += m
		if err != nil {
			return n, os.NewSyscallError("pwritev", err)
		}
		bufs = bufs[k:]
	}
	return n, nil
}

// writeSome writes all of at most maxIovecs buffers.
func (f *osFile) writeSome(bufs [][]byte, off int64) (n int, err error) {
	f.iov = f.iov[:0]
	for _, p := range bufs {
		if len(p) > 0 {
			v := unix.Iovec{Base: &p[0]}
			v.SetLen(len(p))
			f.iov = append(f.iov, v)
		}
	}
	defer clear(f.iov) // keeps no buffer alive
	for left := f.iov; len(left) > 0; {
		m, err := f.pwritev(f.Fd(), left, off+int64(n))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return n, err
		case m == 0:
			return n, io.ErrShortWrite
		}
		n += m
		left = advance(left, m)
	}
	return n, nil
}

// advance drops the first n bytes of the buffers, in place.
func advance(iov []unix.Iovec, n int) []unix.Iovec {
	for n > 0 && n >= int(iov[0].Len) {
		n -= int(iov[0].Len)
		iov = iov[1:]
	}
	if n > 0 {
		iov[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(iov[0].Base), n))
		iov[0].SetLen(int(iov[0].Len) - n)
	}
	return iov
}

// pwritev is the system call. unix.Pwritev would allocate the vector at each call.
func pwritev(fd uintptr, iov []unix.Iovec, off int64) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_PWRITEV, fd, uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)),
		uintptr(off), uintptr(off>>32), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// allocate gives every byte of the file its place on disk, so that no write to it can meet a
// full disk later. What the file holds already stays.
func allocate(f *os.File) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, FileSize)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS):
			return fill(f)
		case err != nil:
			return fmt.Errorf("allocating %d bytes: %w", FileSize, os.NewSyscallError("fallocate", err))
		}
		return nil
	}
}

// fill allocates by writing all of the file anew, for file systems without fallocate.
func fill(f File) error {
	page := make([]byte, 64<<10)
	for off := int64(0); off < FileSize; off += int64(len(page)) {
		page := page[:min(int64(len(page)), FileSize-off)]
		clear(page)
		if _, err := f.ReadAt(page, off); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("allocating %d bytes: %w", FileSize, err)
		}
		if _, err := f.WriteAt(page, off); err != nil {
			return fmt.Errorf("allocating %d bytes: %w", FileSize, err)
		}
	}
	return nil
}

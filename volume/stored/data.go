package stored

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrUnfit says that a file or device cannot have the data of a new volume. Nothing in it was changed.
var ErrUnfit = errors.New("a file or device cannot be used for the volume")

var errNotEmpty = errors.New("it is not empty: to begin with what is there, say --preserve; to begin with nothing, empty it first")

// dataFile is where a volume's content is.
type dataFile struct {
	*os.File
	device bool
}

// openData opens a file or a block device. With anew it makes an empty file where there is none.
func openData(path string, anew bool) (*dataFile, error) {
	f, err := os.OpenFile(path, openFlags(anew), 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the data of a stored volume: %w", err)
	}
	d := &dataFile{File: f}
	info, err := f.Stat()
	if err == nil {
		switch mode := info.Mode(); {
		case mode.IsRegular():
		case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
			d.device = true
		default:
			err = fmt.Errorf("%s is neither a file nor a block device", path)
		}
	}
	if err == nil { // another process, or another volume, must not write to it
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			err = fmt.Errorf("%s is in use by another process or volume: %w", path, err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// openFlags are those for a file of a volume: only one that begins makes its files.
func openFlags(anew bool) int {
	if anew {
		return os.O_RDWR | os.O_CREATE
	}
	return os.O_RDWR
}

// length returns the size of the file or device in bytes.
func (d *dataFile) length() (int64, error) {
	n, err := d.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("measuring %s: %w", d.Name(), err)
	}
	return n, nil
}

// prepare makes it fit for a new volume of size bytes.
func (d *dataFile) prepare(size int64, preserve bool) error {
	n, err := d.length()
	if err != nil {
		return err
	}
	switch {
	case d.device && n < size:
		return fmt.Errorf("%s has %d bytes, the volume %d", d.Name(), n, size)
	case !d.device && n > size && preserve:
		return fmt.Errorf("%s has %d bytes, the volume only %d: what is behind that would be lost", d.Name(), n, size)
	case preserve:
	case d.device:
		// What a device returns where nothing was written is anything.
		if err := d.checkBlank(min(n, size)); err != nil {
			return err
		}
		if err := d.punch(0, size); err != nil {
			return fmt.Errorf("emptying %s: %w", d.Name(), err)
		}
	case n > 0:
		if err := d.checkEmpty(n); err != nil {
			return err
		}
	}
	if !d.device && n != size {
		if err := d.Truncate(size); err != nil {
			return fmt.Errorf("sizing %s: %w", d.Name(), err)
		}
	}
	return d.Sync()
}

// checkEmpty looks for data in a file of n bytes. Zeros are none: not every file system knows what is a hole, and the process may have died after
// the file had got its size.
func (d *dataFile) checkEmpty(n int64) error {
	p := make([]byte, 1<<20)
	for at := int64(0); at < n; {
		data, length, err := d.mapped(at, n)
		if err != nil {
			return err
		}
		if !data {
			at += length
			continue
		}
		p = p[:min(int64(cap(p)), length)]
		if _, err := d.ReadAt(p, at); err != nil {
			return fmt.Errorf("reading %s: %w", d.Name(), err)
		}
		if !isZero(p) {
			return fmt.Errorf("%s: %w (there is data at %d)", d.Name(), errNotEmpty, at)
		}
		at += int64(len(p))
	}
	return nil
}

// blankBytes is how much is looked at, at both ends of a device, for a file system or a partition table.
const blankBytes = 1 << 20

func (d *dataFile) checkBlank(size int64) error {
	p := make([]byte, min(blankBytes, size))
	for _, off := range []int64{0, size - int64(len(p))} {
		if _, err := d.ReadAt(p, off); err != nil {
			return fmt.Errorf("reading %s: %w", d.Name(), err)
		}
		if !isZero(p) {
			return fmt.Errorf("%s: %w", d.Name(), errNotEmpty)
		}
	}
	return nil
}

// punch makes a range read as zeros, and gives its room back where that can be.
func (d *dataFile) punch(off, n int64) error {
	err := unix.Fallocate(int(d.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENODEV) {
		return err
	}
	zeros := make([]byte, min(n, 1<<20))
	for ; n > 0; off, n = off+int64(len(zeros)), n-int64(len(zeros)) {
		zeros = zeros[:min(n, int64(len(zeros)))]
		if _, err := d.WriteAt(zeros, off); err != nil {
			return err
		}
	}
	return nil
}

// mapped tells whether there is data at off, and for how many bytes up to end the same holds.
func (d *dataFile) mapped(off, end int64) (data bool, n int64, err error) {
	if d.device {
		return true, end - off, nil
	}
	next, err := unix.Seek(int(d.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // nothing up to the end
		return false, end - off, nil
	case errors.Is(err, unix.EINVAL): // this file system does not know
		return true, end - off, nil
	case err != nil:
		return false, 0, fmt.Errorf("looking for data in %s: %w", d.Name(), err)
	case next > off:
		return false, min(next, end) - off, nil
	}
	hole, err := unix.Seek(int(d.Fd()), off, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, fmt.Errorf("looking for holes in %s: %w", d.Name(), err)
	}
	return true, min(hole, end) - off, nil
}

// isZero tells whether all bytes are zero.
func isZero(p []byte) bool {
	for len(p) >= len(zeroBlock) {
		if string(p[:len(zeroBlock)]) != zeroBlock {
			return false
		}
		p = p[len(zeroBlock):]
	}
	return string(p) == zeroBlock[:len(p)]
}

const zeroBlock = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Source is a disk image that is read. Its methods may be called concurrently, except Extent and Close.
type Source interface {
	// Size returns the size of the disk in bytes.
	Size() int64
	// Extent tells whether there is data at off, or zeros, and for how many bytes that holds.
	Extent(ctx context.Context, off int64) (data bool, n int64, err error)
	// ReadAt fills p from offset off, all of which is inside of the disk.
	ReadAt(ctx context.Context, p []byte, off int64) error
	// Identity names this content: equal names, equal bytes. It is empty if nothing tells.
	Identity() string
	// Unchanged returns an error if the image has changed since it was opened.
	Unchanged() error
	Close() error
}

// Image is an image that is open for reading: either a Source or a stream.
type Image struct {
	Format Format
	Source Source    // nil for a stream
	Stream io.Reader // nil for a Source
	Size   int64     // of the disk in bytes; -1: not known before its end
	// Exact says that the bytes of the disk are those of the image file.
	Exact bool
}

// Options say how to open an image.
type Options struct {
	Format Format    // empty: by its content
	Stdin  io.Reader // what "-" is
	// SHA256, in hexadecimal, is that of the image file. If the format is not raw, the file is read for it when the image is opened;
	// else the caller of Import compares.
	SHA256 string

	pause time.Duration // before a server is asked again, doubled each time; 0 means a second
}

// Open opens an image: a file or block device, an http or https URL, or "-" for the standard input.
func Open(ctx context.Context, name string, o Options) (*Image, error) {
	switch {
	case name == "-":
		return openStream(o)
	case strings.HasPrefix(name, "http://"), strings.HasPrefix(name, "https://"):
		return openURL(ctx, name, o)
	}
	return openFile(ctx, name, o)
}

// Close closes the image; see Source.
func (i *Image) Close() error {
	if i.Source == nil {
		return nil
	}
	return i.Source.Close()
}

// Identity names the content of the image, in the format that it is read in; it is empty if nothing tells.
func (i *Image) Identity() string {
	if i.Source == nil || i.Source.Identity() == "" {
		return ""
	}
	return string(i.Format) + " " + i.Source.Identity()
}

func openStream(o Options) (*Image, error) {
	if o.Format != "" && o.Format != Raw {
		return nil, fmt.Errorf("an image from the standard input must be raw: a %s image is not read from its beginning to its end", o.Format)
	}
	head := make([]byte, headLength)
	n, err := io.ReadFull(o.Stdin, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("reading the image: %w", err)
	}
	if f := Detect(head[:n], nil); f != Raw && o.Format == "" {
		return nil, fmt.Errorf("the image from the standard input is %s: save it to a file first, or say --format raw to import it as it is", f)
	}
	return &Image{Format: Raw, Stream: io.MultiReader(strings.NewReader(string(head[:n])), o.Stdin), Size: -1, Exact: true}, nil
}

func openFile(ctx context.Context, name string, o Options) (*Image, error) {
	file, err := openRawFile(name)
	if err != nil {
		return nil, err
	}
	format := o.Format
	if format == "" {
		if format, err = file.detect(); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	if format == Raw {
		return &Image{Format: Raw, Source: file, Size: file.Size(), Exact: true}, nil
	}
	if o.SHA256 != "" {
		if err := file.verify(ctx, o.SHA256); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	disk, err := openQEMU(ctx, format, name)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Image{Format: format, Source: &qemuFile{qemuSource: disk, file: file}, Size: disk.Size()}, nil
}

// qemuFile is a file that QEMU reads, and that we watch.
type qemuFile struct {
	*qemuSource
	file *rawFile
}

// Identity implements Source.
func (q *qemuFile) Identity() string { return q.file.Identity() }

// Unchanged implements Source.
func (q *qemuFile) Unchanged() error { return q.file.Unchanged() }

// Close implements Source.
func (q *qemuFile) Close() error { return errors.Join(q.qemuSource.Close(), q.file.Close()) }

// describe returns an error about a path without repeating the path.
func describe(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

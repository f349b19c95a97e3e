package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
)

// Moment is what is exported: a volume as it was at one moment. Its methods may be called concurrently.
type Moment interface {
	// Size returns its size in bytes.
	Size() int64
	// Extents lists what occupies space from off to off+n, in order, in multiples of 4096 bytes.
	Extents(ctx context.Context, off, n int64) ([]Extent, error)
	// Read fills p from offset off.
	Read(ctx context.Context, p []byte, off int64) error
}

// Extent is a range of bytes.
type Extent struct{ Offset, Length int64 }

// extentWindow is how much of a volume is asked for at once.
const extentWindow = 64 << 30

// exporter exports in pieces of at most so many bytes.
type exporter int64

// pieces calls do for each piece of what occupies space, in order.
func (e exporter) pieces(ctx context.Context, m Moment, do func(off, n int64) error) error {
	for at := int64(0); at < m.Size(); at += extentWindow {
		list, err := m.Extents(ctx, at, min(extentWindow, m.Size()-at))
		if err != nil {
			return fmt.Errorf("asking what the volume holds: %w", err)
		}
		for _, x := range list {
			for off := x.Offset; off < x.Offset+x.Length; {
				n := min(int64(e), x.Offset+x.Length-off)
				if err := do(off, n); err != nil {
					return err
				}
				off += n
			}
		}
	}
	return nil
}

// ExportStream writes a moment to a stream, raw: holes are zeros in it.
func ExportStream(ctx context.Context, m Moment, w io.Writer, p *Progress) error {
	return exporter(chunkSize).stream(ctx, m, w, p)
}

func (e exporter) stream(ctx context.Context, m Moment, w io.Writer, p *Progress) error {
	group, ctx := errgroup.WithContext(ctx)
	type piece struct {
		off int64
		buf []byte
		ok  chan struct{} // closed when buf is filled
	}
	queue := make(chan *piece, parallel)
	free := make(chan []byte, parallel)
	for range parallel {
		free <- make([]byte, e)
	}
	group.Go(func() error {
		defer close(queue)
		return e.pieces(ctx, m, func(off, n int64) error {
			x := &piece{off: off, ok: make(chan struct{})}
			select {
			case buf := <-free:
				x.buf = buf[:n]
			case <-ctx.Done():
				return ctx.Err()
			}
			queue <- x // never blocks: as many as there are buffers
			group.Go(func() error {
				if err := m.Read(ctx, x.buf, off); err != nil {
					return fmt.Errorf("reading the volume: %w", err)
				}
				close(x.ok)
				return nil
			})
			return nil
		})
	})
	group.Go(func() error {
		out := &streamWriter{w: w, p: p}
		for x := range queue {
			select {
			case <-x.ok:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := out.write(ctx, x.buf, x.off); err != nil {
				return err
			}
			free <- x.buf[:e]
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return out.zerosUpTo(ctx, m.Size())
	})
	return group.Wait()
}

// streamWriter writes ranges in order, and zeros between them.
type streamWriter struct {
	w  io.Writer
	p  *Progress
	at int64
}

func (s *streamWriter) zerosUpTo(ctx context.Context, off int64) error {
	for s.at < off {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.put(zeroPart[:min(int64(len(zeroPart)), off-s.at)]); err != nil {
			return err
		}
	}
	return nil
}

func (s *streamWriter) write(ctx context.Context, p []byte, off int64) error {
	if err := s.zerosUpTo(ctx, off); err != nil {
		return err
	}
	s.p.Moved.Add(int64(len(p)))
	return s.put(p)
}

func (s *streamWriter) put(p []byte) error {
	if _, err := s.w.Write(p); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	s.at += int64(len(p))
	s.p.Done.Store(s.at)
	return nil
}

// sink is an image file that is being written.
type sink interface {
	WriteAt(ctx context.Context, p []byte, off int64) error
	// close ends it in order; abandon does if that is of no use any more.
	close(ctx context.Context) error
	abandon()
}

// ExportFile writes a moment to a file, sparse, and puts the file into its place when it is complete and durable. One that is there
// is replaced.
func ExportFile(ctx context.Context, m Moment, format Format, path string, p *Progress) error {
	return exporter(chunkSize).file(ctx, m, format, path, p)
}

func (e exporter) file(ctx context.Context, m Moment, format Format, path string, p *Progress) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("writing image %s: it is there and not a file", path)
	}
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("writing image %s: %w", path, describe(err))
	}
	defer func() {
		if cerr := file.Cleanup(); err == nil && cerr != nil {
			err = fmt.Errorf("writing image %s: %w", path, cerr)
		}
	}()
	out, err := openSink(ctx, format, file.File, m.Size())
	if err != nil {
		return fmt.Errorf("writing image %s: %w", path, err)
	}
	if err := e.fill(ctx, m, out, p); err != nil {
		out.abandon()
		return err
	}
	if err := out.close(ctx); err != nil {
		return fmt.Errorf("writing image %s: %w", path, err)
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing image %s: %w", path, err)
	}
	p.Done.Store(m.Size())
	return nil
}

// fill copies what occupies space.
func (e exporter) fill(ctx context.Context, m Moment, out sink, p *Progress) error {
	group, ctx := errgroup.WithContext(ctx)
	free := make(chan []byte, parallel)
	for range parallel {
		free <- make([]byte, e)
	}
	err := e.pieces(ctx, m, func(off, n int64) error {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.Done.Store(off)
		group.Go(func() error {
			defer func() { free <- buf }()
			if err := m.Read(ctx, buf[:n], off); err != nil {
				return fmt.Errorf("reading the volume: %w", err)
			}
			p.Moved.Add(n)
			if allZero(buf[:n]) {
				return nil
			}
			if err := out.WriteAt(ctx, buf[:n], off); err != nil {
				return fmt.Errorf("writing the image: %w", err)
			}
			return nil
		})
		return nil
	})
	if failed := group.Wait(); failed != nil { // the cause, if there are both
		return failed
	}
	return err
}

func openSink(ctx context.Context, format Format, file *os.File, size int64) (sink, error) {
	if format == Raw {
		if err := file.Truncate(size); err != nil {
			return nil, fmt.Errorf("making it %d bytes long: %w", size, describe(err))
		}
		return rawSink{file}, nil
	}
	if _, err := tool(ctx, "qemu-img", "create", "-q", "-f", string(format), file.Name(), strconv.FormatInt(size, 10)); err != nil {
		return nil, err
	}
	s, err := serve(ctx, format, file.Name(), "--cache=writeback", "--discard=unmap")
	if err != nil {
		return nil, err
	}
	if s.Size() < size {
		return nil, errors.Join(fmt.Errorf("a %s image of %d bytes cannot be made: it has %d", format, size, s.Size()), s.stop())
	}
	return qemuSink{s}, nil
}

// rawSink is the file itself. It is synced when it is put into its place.
type rawSink struct{ f *os.File }

func (r rawSink) WriteAt(_ context.Context, p []byte, off int64) error {
	_, err := r.f.WriteAt(p, off)
	return err
}

func (rawSink) close(context.Context) error { return nil }
func (rawSink) abandon()                    {}

// qemuSink is written by qemu-nbd.
type qemuSink struct{ s *server }

func (q qemuSink) WriteAt(ctx context.Context, p []byte, off int64) error {
	return q.s.WriteAt(ctx, p, off)
}

func (q qemuSink) close(ctx context.Context) error {
	return errors.Join(q.s.Flush(ctx), q.s.stop())
}

func (q qemuSink) abandon() { _ = q.s.stop() } // what it leaves is thrown away

package image

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	chunkSize = 4 << 20 // of data, in bytes
	parallel  = 8       // reads under way, and writes
	unit      = 4096    // volumes are written in whole blocks of it
)

// pace is how an image is cut into chunks, in bytes.
type pace struct {
	data, hole int64 // longest chunks; holes are cut so that marks come in large ones, too
	mark       int64 // a mark is left where a multiple of it is passed
}

var usualPace = pace{data: chunkSize, hole: 64 << 30, mark: 64 << 20}

// Volume is what an image is imported into. Its methods may be called concurrently. Offsets and lengths are multiples of 4096 bytes.
type Volume interface {
	Write(ctx context.Context, p []byte, off int64) error
	Zero(ctx context.Context, off, n int64) error
	// Mark makes everything durable that was written before, and keeps what a later import resumes with.
	Mark(ctx context.Context, m Mark) error
}

// Mark is how far an import is.
type Mark struct {
	Done  int64  // bytes of the image, from its beginning
	State []byte // of the checksum at that point
}

// Progress counts what is done. It may be read at any time.
type Progress struct {
	Done  atomic.Int64 // bytes of the image or volume, holes included
	Moved atomic.Int64 // bytes of data
}

// Import copies an image into a volume of size bytes, from a mark on; the zero mark is the beginning. What is behind
// the image in the volume is zeros then. It returns the SHA-256 of the disk in hexadecimal.
func Import(ctx context.Context, i *Image, to Volume, size int64, from Mark, p *Progress) (string, error) {
	return usualPace.run(ctx, i, to, size, from, p)
}

func (pc pace) run(ctx context.Context, i *Image, to Volume, size int64, from Mark, p *Progress) (string, error) {
	if i.Size > size {
		return "", fmt.Errorf("the image has %d bytes and the volume %d: make the volume larger", i.Size, size)
	}
	sum, err := restoreSum(from)
	if err != nil {
		return "", err
	}
	group, gctx := errgroup.WithContext(ctx)
	m := &importer{
		pace: pc, image: i, to: to, size: size, progress: p, sum: sum, at: from.Done, group: group,
		free: make(chan []byte, 2*parallel), planned: make(chan *chunk, 2*parallel), written: make(chan *chunk, 2*parallel),
	}
	for range cap(m.free) {
		m.free <- make([]byte, pc.data)
	}
	p.Done.Store(from.Done)
	group.Go(func() error { return m.plan(gctx) })
	group.Go(func() error { return m.order(gctx) })
	group.Go(func() error { return m.finish(gctx) })
	if err := group.Wait(); err != nil {
		return "", err
	}
	end := (m.at + unit - 1) / unit * unit
	if end < size {
		if err := to.Zero(ctx, end, size-end); err != nil {
			return "", fmt.Errorf("clearing what is behind the image: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func restoreSum(from Mark) (hash.Hash, error) {
	sum := sha256.New()
	if from.Done == 0 {
		return sum, nil
	}
	if from.Done < 0 || from.Done%unit != 0 {
		return nil, fmt.Errorf("the import cannot be resumed at byte %d", from.Done)
	}
	restorer, ok := sum.(encoding.BinaryUnmarshaler)
	if !ok {
		return nil, errors.New("the checksum cannot be resumed")
	}
	if err := restorer.UnmarshalBinary(from.State); err != nil {
		return nil, fmt.Errorf("the checksum cannot be resumed: %w", err)
	}
	return sum, nil
}

// chunk is a part of the image on its way.
type chunk struct {
	off, n int64
	buf    []byte     // whose first n bytes are the data; nil for a hole
	read   chan error // answered when buf is filled
	wrote  chan error // answered when it is in the volume
	mark   []byte     // state of the checksum behind it, if there is to be a mark
}

type importer struct {
	pace     pace
	image    *Image
	to       Volume
	size     int64 // of the volume
	progress *Progress
	sum      hash.Hash
	group    *errgroup.Group

	free    chan []byte
	planned chan *chunk // being read, in order
	written chan *chunk // being written, in order

	at int64 // how far the image was planned; its size at last
}

// plan walks the image and has it read.
func (m *importer) plan(ctx context.Context) error {
	defer close(m.planned)
	if m.image.Source == nil {
		return m.planStream(ctx)
	}
	for m.at < m.image.Size {
		data, n, err := m.image.Source.Extent(ctx, m.at)
		if err != nil {
			return err
		}
		if n <= 0 {
			return fmt.Errorf("the image ends at byte %d of %d", m.at, m.image.Size)
		}
		for n = min(n, m.image.Size-m.at); n > 0; {
			took, err := m.planPart(ctx, data, n)
			if err != nil {
				return err
			}
			n -= took
		}
	}
	return nil
}

// planPart plans the next chunk of a range of n bytes, and returns its length. Chunks begin at whole blocks: one that a range of data
// or zeros begins or ends in is read as data.
func (m *importer) planPart(ctx context.Context, data bool, n int64) (int64, error) {
	left := m.image.Size - m.at
	if whole := n / unit * unit; !data && (whole > 0 || n == left) {
		c := &chunk{off: m.at, n: min(whole, m.pace.hole)}
		if n == left && n <= m.pace.hole {
			c.n = n
		}
		m.at += c.n
		return c.n, m.send(ctx, c)
	}
	// Up to the next whole block, whatever that has.
	length := min((n+unit-1)/unit*unit, m.pace.data, left)
	c := &chunk{off: m.at, n: length, read: make(chan error, 1)}
	select {
	case c.buf = <-m.free:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	m.at += length
	m.group.Go(func() error {
		err := m.image.Source.ReadAt(ctx, c.buf[:length], c.off)
		c.read <- err
		return err
	})
	return length, m.send(ctx, c)
}

func (m *importer) send(ctx context.Context, c *chunk) error {
	select {
	case m.planned <- c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// planStream reads the stream to its end.
func (m *importer) planStream(ctx context.Context) error {
	for {
		c := &chunk{off: m.at, read: make(chan error, 1)}
		select {
		case c.buf = <-m.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		n, err := io.ReadFull(m.image.Stream, c.buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("reading the image at byte %d: %w", m.at+int64(n), err)
		}
		if m.at+int64(n) > m.size {
			return fmt.Errorf("the image has more than the %d bytes of the volume: make the volume larger", m.size)
		}
		if n > 0 {
			c.n, m.at = int64(n), m.at+int64(n)
			c.read <- nil
			if err := m.send(ctx, c); err != nil {
				return err
			}
		}
		if last {
			if m.image.Size >= 0 && m.at != m.image.Size {
				return fmt.Errorf("the image ends after %d bytes of %d: %w", m.at, m.image.Size, io.ErrUnexpectedEOF)
			}
			return nil
		}
	}
}

// order takes the chunks in their order: sums them up, and has them written.
func (m *importer) order(ctx context.Context) error {
	defer close(m.written)
	var zeros [64 << 10]byte
	slots := make(chan struct{}, parallel)
	for c := range m.planned {
		if c.read != nil {
			if err := <-c.read; err != nil {
				return err
			}
			_, _ = m.sum.Write(c.buf[:c.n]) // a hash takes all
		}
		for left := c.n; c.read == nil && left > 0; left -= min(left, int64(len(zeros))) {
			_, _ = m.sum.Write(zeros[:min(left, int64(len(zeros)))])
			if left%(1<<30) == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if end := c.off + c.n; end%unit == 0 && end/m.pace.mark > c.off/m.pace.mark {
			state, err := m.state()
			if err != nil {
				return err
			}
			c.mark = state
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.wrote = make(chan error, 1)
		m.group.Go(func() error {
			err := m.write(ctx, c)
			<-slots
			c.wrote <- err
			return err
		})
		select {
		case m.written <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

func (m *importer) state() ([]byte, error) {
	saver, ok := m.sum.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errors.New("the checksum cannot be saved")
	}
	state, err := saver.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("saving the checksum: %w", err)
	}
	return state, nil
}

// write writes a chunk, filled up to a whole block with zeros.
func (m *importer) write(ctx context.Context, c *chunk) error {
	whole := (c.n + unit - 1) / unit * unit
	if c.buf == nil || allZero(c.buf[:c.n]) {
		if err := m.to.Zero(ctx, c.off, whole); err != nil {
			return fmt.Errorf("unmapping %d bytes at %d: %w", whole, c.off, err)
		}
		return nil
	}
	clear(c.buf[c.n:whole])
	if err := m.to.Write(ctx, c.buf[:whole], c.off); err != nil {
		return fmt.Errorf("writing %d bytes at %d: %w", whole, c.off, err)
	}
	m.progress.Moved.Add(c.n)
	return nil
}

// finish takes the chunks in their order when they are written, and leaves marks.
func (m *importer) finish(ctx context.Context) error {
	for c := range m.written {
		if err := <-c.wrote; err != nil {
			return err
		}
		if c.buf != nil {
			m.free <- c.buf // never blocks: it came from there
		}
		done := c.off + c.n
		m.progress.Done.Store(done)
		if c.mark != nil {
			if err := m.to.Mark(ctx, Mark{Done: done, State: c.mark}); err != nil {
				return fmt.Errorf("noting how far the import is: %w", err)
			}
		}
	}
	return nil
}

// allZero tells whether p has no other byte than 0.
func allZero(p []byte) bool {
	for len(p) > 0 {
		n := min(len(p), len(zeroPart))
		if string(p[:n]) != string(zeroPart[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}

var zeroPart [4096]byte

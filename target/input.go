package target

import (
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/target/pdu"
)

const (
	loginInput = 16 << 10  // size of the read buffer during login, in bytes
	fullInput  = 256 << 10 // and afterwards: room for sixty 4 KiB writes
	// directRead is the least missing part of a data segment, in bytes, that is read
	// straight to where it belongs.
	directRead = 32 << 10
	// bulkRead is how much is read to find the next header after that. The rest of the data
	// that follows it can then be read directly too.
	bulkRead = 4 << 10
)

// input is the read side of a connection: bytes buf[lo:hi] were read and not yet used.
type input struct {
	buf    []byte
	lo, hi int
	bulk   bool // data was read directly just now; more of that may well follow

	control bucket        // requests that are no ordinary commands
	rest    time.Duration // to wait before more is read, since there were too many of them
}

func (in *input) buffered() int { return in.hi - in.lo }

// next returns the next n bytes, which must be buffered; they are valid until the next read.
func (in *input) next(n int) []byte {
	in.lo += n
	return in.buf[in.lo-n : in.lo]
}

// grow replaces the buffer by a larger one.
func (in *input) grow(size int) {
	b := make([]byte, size)
	in.hi = copy(b, in.buf[in.lo:in.hi])
	in.buf, in.lo = b, 0
}

// need makes at least n bytes buffered, n being at most half of the buffer. It finishes
// what is pending before it blocks.
func (c *conn) need(n int) error {
	in := &c.in
	for in.buffered() < n {
		switch {
		case in.lo == in.hi:
			in.lo, in.hi = 0, 0
		case len(in.buf)-in.lo < len(in.buf)/2:
			in.hi = copy(in.buf, in.buf[in.lo:in.hi])
			in.lo = 0
		}
		end := len(in.buf)
		if in.bulk {
			end = min(end, in.hi+bulkRead)
			in.bulk = false
		}
		got, err := c.read(in.buf[in.hi:end])
		in.hi += got
		if err != nil {
			if errors.Is(err, io.EOF) && in.buffered() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// read is one read from the socket, for which all that is pending is finished first.
func (c *conn) read(p []byte) (int, error) {
	if err := c.settle(); err != nil {
		return 0, err
	}
	if c.ses == nil {
		c.in.rest = c.in.control.add(time.Now(), 1, loginReads, loginReadBurst)
	}
	if c.in.rest > 0 {
		c.takeRest()
	}
	n, err := c.net.Read(p)
	c.cork()
	if n > 0 {
		if !c.active.Load() {
			c.active.Store(true)
		}
		return n, nil // an error will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// readFull fills p from the stream: from the buffer, and where much is missing straight
// from the socket.
func (c *conn) readFull(p []byte) error {
	n := min(len(p), c.in.buffered())
	copy(p, c.in.next(n))
	for p = p[n:]; len(p) > 0; p = p[n:] {
		var err error
		if len(p) >= directRead {
			n, err = c.read(p)
			c.in.bulk = true
		} else {
			err = c.need(1)
			n = min(len(p), c.in.buffered())
			copy(p, c.in.next(n))
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// segment is a data segment that is being read: first some of it into buffers, then the
// rest to nowhere, then the padding and the digest.
type segment struct {
	left   int // bytes of data
	pad    int
	digest bool
	crc    uint32
}

func (c *conn) segment(h *pdu.Header) segment {
	_, n, pad := h.Sizes()
	return segment{left: n, pad: pad, digest: n > 0 && c.params.Load().DataDigest}
}

// take reads the next part of the data, at most len(p) bytes, and returns how many.
func (c *conn) take(s *segment, p []byte) (int, error) {
	p = p[:min(len(p), s.left)]
	if err := c.readFull(p); err != nil {
		return 0, err
	}
	s.left -= len(p)
	if s.digest {
		s.crc = pdu.UpdateDigest(s.crc, p)
	}
	return len(p), nil
}

// finish reads and forgets what is left of the segment, and tells whether its digest was
// right.
func (c *conn) finish(s *segment) (bool, error) {
	for s.left += s.pad; s.left > 0; {
		if err := c.need(1); err != nil {
			return false, err
		}
		p := c.in.next(min(s.left, c.in.buffered()))
		s.left -= len(p)
		if s.digest {
			s.crc = pdu.UpdateDigest(s.crc, p)
		}
	}
	if !s.digest {
		return true, nil
	}
	if err := c.need(pdu.DigestLen); err != nil {
		return false, err
	}
	return pdu.GetDigest(c.in.next(pdu.DigestLen)) == s.crc, nil
}

// readBasicHeader reads a basic header, which is valid until the next call.
func (c *conn) readBasicHeader() (*pdu.Header, error) {
	if err := c.need(pdu.HeaderLen); err != nil {
		return nil, err
	}
	copy(c.header[:], c.in.next(pdu.HeaderLen))
	return &c.header, nil
}

// readHeader reads the next basic header and the additional ones, which are valid until
// the next call, and checks their digest.
func (c *conn) readHeader() (h *pdu.Header, ahs []byte, err error) {
	if h, err = c.readBasicHeader(); err != nil {
		return nil, nil, err
	}
	n, _, _ := h.Sizes()
	digest := c.params.Load().HeaderDigest
	if n == 0 && !digest {
		return h, nil, nil
	}
	want := n
	if digest {
		want += pdu.DigestLen
	}
	if err := c.need(want); err != nil {
		return nil, nil, err
	}
	ahs = c.ahs[:n]
	copy(ahs, c.in.next(n))
	if digest && pdu.GetDigest(c.in.next(pdu.DigestLen)) != pdu.HeaderDigest(h, ahs) {
		// What follows cannot be told apart any more (RFC 7143 7.7).
		return nil, nil, fmt.Errorf("header digest of opcode %#02x is wrong", byte(h.Opcode()))
	}
	return h, ahs, nil
}

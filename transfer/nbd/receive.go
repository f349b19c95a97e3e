package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
)

// receive reads replies until the connection ends, and then fails what is still under way.
func (c *Client) receive(r io.Reader) {
	for {
		if err := c.receiveOne(r); err != nil {
			c.fail(fmt.Errorf("receiving from the NBD server: %w", err))
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for handle, r := range c.pending {
		delete(c.pending, handle)
		r.done <- c.err
	}
}

// receiveOne reads one reply, or one chunk of one. Its error ends the connection; what the server answers to a request does not.
func (c *Client) receiveOne(r io.Reader) error {
	h, err := readReplyHead(r)
	if err != nil {
		return err
	}
	c.mu.Lock()
	req := c.pending[h.handle]
	c.mu.Unlock()
	if req == nil {
		return fmt.Errorf("%w: a reply to request %d, which there is not", ErrProtocol, h.handle)
	}
	if h.structured {
		err = req.chunk(r, h, c.allocation)
	} else {
		err = req.simple(r, h)
	}
	if err != nil {
		return err
	}
	if h.flags&chunkDone == 0 {
		return nil
	}
	if req.err == nil && req.command == cmdRead && req.filled != int64(len(req.p)) {
		return fmt.Errorf("%w: a read of %d bytes was answered with %d", ErrProtocol, len(req.p), req.filled)
	}
	c.mu.Lock()
	delete(c.pending, h.handle)
	c.mu.Unlock()
	req.done <- req.err
	return nil
}

// simple takes a simple reply.
func (q *request) simple(r io.Reader, h replyHead) error {
	if h.code != 0 {
		q.err = &ServerError{Code: h.code}
		return nil
	}
	if q.command == cmdBlockStatus {
		return fmt.Errorf("%w: a simple reply to a request for block status", ErrProtocol)
	}
	n, err := io.ReadFull(r, q.p)
	q.filled = int64(n)
	return err
}

// chunk takes one chunk of a structured reply.
func (q *request) chunk(r io.Reader, h replyHead, allocation uint32) error {
	switch {
	case h.kind == chunkNone && h.length == 0:
		return nil
	case h.kind == chunkData && q.command == cmdRead && h.length >= 8:
		var at [8]byte
		if _, err := io.ReadFull(r, at[:]); err != nil {
			return err
		}
		p, err := q.part(binary.BigEndian.Uint64(at[:]), int64(h.length)-8)
		if err != nil {
			return err
		}
		_, err = io.ReadFull(r, p)
		return err
	case h.kind == chunkHole && q.command == cmdRead && h.length == 12:
		var b [12]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		p, err := q.part(binary.BigEndian.Uint64(b[:]), int64(binary.BigEndian.Uint32(b[8:])))
		clear(p)
		return err
	case h.kind == chunkBlockStatus && q.command == cmdBlockStatus && h.length >= 12 && h.length%8 == 4 && h.length <= maxStatus:
		return q.status(r, h.length, allocation)
	case h.kind&chunkError != 0 && h.length <= maxText:
		p := make([]byte, h.length)
		if _, err := io.ReadFull(r, p); err != nil {
			return err
		}
		said, err := decodeError(p)
		if err == nil {
			q.err = said
		}
		return err
	}
	return fmt.Errorf("%w: a chunk of type %d with %d bytes in the reply to command %d", ErrProtocol, h.kind, h.length, q.command)
}

// part returns the part of a read's buffer that n bytes at off of the export belong to.
func (q *request) part(off uint64, n int64) ([]byte, error) {
	at := int64(off) - q.off
	if int64(off) < q.off || at > int64(len(q.p)) || n > int64(len(q.p))-at {
		return nil, fmt.Errorf("%w: %d bytes at %d for a read of %d at %d", ErrProtocol, n, off, len(q.p), q.off)
	}
	q.filled += n
	return q.p[at : at+n], nil
}

func (q *request) status(r io.Reader, n uint32, allocation uint32) error {
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(p) != allocation {
		return fmt.Errorf("%w: block status of a context that was not asked for", ErrProtocol)
	}
	q.extents = q.extents[:0]
	for p = p[4:]; len(p) > 0; p = p[8:] {
		q.extents = append(q.extents, Extent{
			Length: int64(binary.BigEndian.Uint32(p)),
			Zero:   binary.BigEndian.Uint32(p[4:])&stateZero != 0,
		})
	}
	return nil
}

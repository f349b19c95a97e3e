package nbd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Client is a connection to one export. Its methods may be called concurrently. When a context ends while its
// request is under way, the whole connection ends: a reply that nobody waits for has no place to go.
type Client struct {
	conn       net.Conn
	size       int64
	flags      uint16
	structured bool
	allocation uint32 // the ID of base:allocation
	hasStatus  bool   // it has block status

	sending sync.Mutex // held while a request is sent

	mu      sync.Mutex // protects what follows
	next    uint64
	pending map[uint64]*request
	err     error // why the connection has ended

	reading sync.WaitGroup
}

// request is one that is under way.
type request struct {
	command uint16
	p       []byte // of a read
	off     int64
	filled  int64 // bytes of p
	extents []Extent
	err     error // that the server answered
	done    chan error
}

// Extent is a range of an export.
type Extent struct {
	Length int64 // bytes
	Zero   bool  // it reads as zeros
}

// Connect makes the handshake on a connection for the export of that name. It closes the connection if that fails. ctx bounds
// the handshake only.
func Connect(ctx context.Context, conn net.Conn, export string) (*Client, error) {
	c := &Client{conn: conn, pending: map[uint64]*request{}}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := c.handshake(export)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("NBD handshake: %w", err), conn.Close())
	}
	c.reading.Go(func() { c.receive(bufio.NewReaderSize(conn, 64<<10)) })
	return c, nil
}

// Size returns the size of the export in bytes.
func (c *Client) Size() int64 { return c.size }

// ReadOnly tells whether the export may not be written to.
func (c *Client) ReadOnly() bool { return c.flags&flagReadOnly != 0 }

// Close ends the connection in order. What was written may be lost if it was not flushed before.
func (c *Client) Close() error {
	c.sending.Lock()
	_, sent := c.conn.Write(appendRequest(nil, cmdDisconnect, 0, 0, 0))
	c.sending.Unlock()
	if errors.Is(sent, net.ErrClosed) {
		sent = nil // it has ended before
	}
	c.fail(net.ErrClosed)
	c.reading.Wait()
	if sent != nil {
		return fmt.Errorf("ending an NBD connection: %w", sent)
	}
	return nil
}

// handshake goes from the server's greeting to the end of option GO. It reads exactly what belongs to it.
func (c *Client) handshake(export string) error {
	var hello [18]byte
	if _, err := io.ReadFull(c.conn, hello[:]); err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	flags := binary.BigEndian.Uint16(hello[16:])
	if binary.BigEndian.Uint64(hello[:]) != magicServer || binary.BigEndian.Uint64(hello[8:]) != magicOption || flags&flagFixedNewstyle == 0 {
		return fmt.Errorf("%w: it greets with % x", ErrProtocol, hello)
	}
	if _, err := c.conn.Write(binary.BigEndian.AppendUint32(nil, uint32(flags&(flagFixedNewstyle|flagNoZeroes)))); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	err := c.option(optStructuredReply, nil, func(optionReply) error { return nil })
	c.structured = err == nil
	if err := unsupported(err); err != nil {
		return err
	}
	if c.structured {
		query := appendText(binary.BigEndian.AppendUint32(appendText(nil, export), 1), "base:allocation")
		if err := unsupported(c.option(optSetMetaContext, query, c.noteContext)); err != nil {
			return err
		}
	}
	found := false
	err = c.option(optGo, append(appendText(nil, export), 0, 0), func(r optionReply) error {
		if r.kind != repInfo || len(r.data) < 12 || binary.BigEndian.Uint16(r.data) != infoExport {
			return nil // what we have not asked for
		}
		c.size, c.flags, found = int64(binary.BigEndian.Uint64(r.data[2:])), binary.BigEndian.Uint16(r.data[10:]), true
		return nil
	})
	if err == nil && (!found || c.size < 0) {
		err = fmt.Errorf("%w: an export of %d bytes", ErrProtocol, c.size)
	}
	return err
}

func (c *Client) noteContext(r optionReply) error {
	if r.kind == repMetaContext && len(r.data) >= 4 && string(r.data[4:]) == "base:allocation" {
		c.allocation, c.hasStatus = binary.BigEndian.Uint32(r.data), true
	}
	return nil
}

// unsupported lets pass what a server may refuse.
func unsupported(err error) error {
	if _, refused := errors.AsType[*ServerError](err); refused {
		return nil
	}
	return err
}

// option sends an option and hands what is answered before the acknowledgement to each.
func (c *Client) option(option uint32, data []byte, each func(optionReply) error) error {
	if _, err := c.conn.Write(appendOption(nil, option, data)); err != nil {
		return fmt.Errorf("sending option %d: %w", option, err)
	}
	const most = 64 // answers
	for range most {
		r, err := readOptionReply(c.conn, option)
		switch {
		case err != nil:
			return err
		case r.kind == repAck:
			return nil
		case r.kind&repError != 0:
			return &ServerError{Code: r.kind &^ repError, Text: string(r.data[:min(len(r.data), maxText)])}
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: it does not end its answer to option %d", ErrProtocol, option)
}

// ReadAt fills p from offset off.
func (c *Client) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := c.checkRange(off, int64(len(p))); err != nil {
		return err
	}
	return c.do(ctx, &request{command: cmdRead, p: p, off: off}, uint32(len(p)), nil)
}

// WriteAt writes p at off.
func (c *Client) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := c.checkRange(off, int64(len(p))); err != nil {
		return err
	}
	return c.do(ctx, &request{command: cmdWrite, off: off}, uint32(len(p)), p)
}

// Zero makes n bytes from off on read as zeros, without taking space if the server can do that. It
// returns errors.ErrUnsupported if it cannot be asked for.
func (c *Client) Zero(ctx context.Context, off, n int64) error {
	if c.flags&flagSendWriteZeros == 0 {
		return fmt.Errorf("NBD zeroes: %w", errors.ErrUnsupported)
	}
	if err := c.checkRange(off, n); err != nil {
		return err
	}
	return c.do(ctx, &request{command: cmdWriteZeroes, off: off}, uint32(n), nil)
}

// Flush makes what was written durable.
func (c *Client) Flush(ctx context.Context) error {
	if c.flags&flagSendFlush == 0 {
		return nil
	}
	return c.do(ctx, &request{command: cmdFlush}, 0, nil)
}

// Extents tells what is at off and behind it, up to n bytes: at least one extent, of at least one byte, and at most n bytes in
// all. A server that cannot tell says that all is data.
func (c *Client) Extents(ctx context.Context, off, n int64) ([]Extent, error) {
	n = min(n, maxRange)
	if err := c.checkRange(off, n); err != nil {
		return nil, err
	}
	if !c.hasStatus {
		return []Extent{{Length: n}}, nil
	}
	r := &request{command: cmdBlockStatus, off: off}
	if err := c.do(ctx, r, uint32(n), nil); err != nil {
		return nil, err
	}
	var list []Extent
	for left := n; len(r.extents) > 0 && left > 0; r.extents = r.extents[1:] {
		x := r.extents[0]
		x.Length = min(x.Length, left)
		if x.Length > 0 {
			list, left = append(list, x), left-x.Length
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: it tells nothing about %d bytes at %d", ErrProtocol, n, off)
	}
	return list, nil
}

// maxRange bounds one request, in bytes: its length has 32 bits, and is best a multiple of any block.
const maxRange = 1 << 31

func (c *Client) checkRange(off, n int64) error {
	if off < 0 || n <= 0 || n > maxRange || off > c.size || n > c.size-off {
		return fmt.Errorf("NBD: %d bytes at %d are not inside of an export of %d", n, off, c.size)
	}
	return nil
}

// do sends a request and waits for its reply.
func (c *Client) do(ctx context.Context, r *request, n uint32, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.done = make(chan error, 1)
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.next++
	handle := c.next
	c.pending[handle] = r
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })
	defer stop()

	c.sending.Lock()
	buffers := net.Buffers{appendRequest(make([]byte, 0, 28), r.command, handle, r.off, n), data}
	_, err := buffers.WriteTo(c.conn)
	c.sending.Unlock()
	if err != nil {
		c.fail(fmt.Errorf("sending a request to the NBD server: %w", err))
	}
	return <-r.done
}

// fail ends the connection. Requests that are under way are ended by the receiver, so that none is while it still
// writes into a buffer.
func (c *Client) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.conn.Close()
}

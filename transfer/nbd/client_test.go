package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// qemu serves a file by qemu-nbd and returns a client for it.
func qemu(t *testing.T, format, file string, args ...string) *Client {
	t.Helper()
	if _, err := exec.LookPath("qemu-nbd"); err != nil {
		t.Skip("qemu-nbd is not installed")
	}
	socket := filepath.Join(t.TempDir(), "s")
	// It ends with its last connection, and so after the end of the test's context.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "qemu-nbd", append(args, "--format="+format, "--socket="+socket, file)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // unless it has ended
		_ = cmd.Wait()
	})
	for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
		if err != nil {
			continue
		}
		c, err := Connect(t.Context(), conn, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}
}

// TestQEMU writes an image of each format with many requests at once, and finds all in it again, holes included.
func TestQEMU(t *testing.T) {
	for _, format := range []string{"raw", "qcow2", "vmdk", "vhdx"} {
		t.Run(format, func(t *testing.T) {
			if _, err := exec.LookPath("qemu-img"); err != nil {
				t.Skip("qemu-img is not installed")
			}
			const size = 16 << 20
			file := filepath.Join(t.TempDir(), "image")
			if out, err := exec.CommandContext(t.Context(), "qemu-img", "create", "-f", format, file, "16M").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			c := qemu(t, format, file)
			if c.Size() != size || c.ReadOnly() || !c.hasStatus {
				t.Fatalf("size %d, flags %x", c.Size(), c.flags)
			}
			want := make([]byte, size)
			random := rand.NewChaCha8([32]byte{1})
			var writing sync.WaitGroup
			for at := 0; at < size; at += 2 << 20 { // every other MiB
				p := want[at : at+1<<20]
				if _, err := random.Read(p); err != nil {
					t.Fatal(err)
				}
				writing.Go(func() {
					if err := c.WriteAt(t.Context(), p, int64(at)); err != nil {
						t.Error(err)
					}
				})
			}
			writing.Wait()
			if err := c.Zero(t.Context(), 4<<20, 1<<20); err != nil {
				t.Fatal(err)
			}
			clear(want[4<<20 : 5<<20])
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, c, want, format != "vhdx") // its blocks are larger than our holes
		})
	}
}

func check(t *testing.T, c *Client, want []byte, holes bool) {
	t.Helper()
	got := bytes.Repeat([]byte{0xee}, len(want))
	if err := c.ReadAt(t.Context(), got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what was read is not what was written")
	}
	zeros := int64(0)
	for off := int64(0); off < c.Size(); {
		list, err := c.Extents(t.Context(), off, c.Size()-off)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			if x.Zero {
				zeros += x.Length
				if len(bytes.Trim(want[off:off+x.Length], "\x00")) > 0 {
					t.Errorf("data at %d is called zeros", off)
				}
			}
			off += x.Length
		}
	}
	if holes && zeros == 0 {
		t.Error("no hole is known")
	}
}

func TestBadRanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(file, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	c := qemu(t, "raw", file, "--read-only")
	if !c.ReadOnly() {
		t.Error("it may be written to")
	}
	p := make([]byte, 4096)
	for _, off := range []int64{-1, 4097, 8192, 1 << 62} {
		if err := c.ReadAt(t.Context(), p, off); err == nil {
			t.Errorf("a read at %d is sent", off)
		}
	}
	if _, ok := errors.AsType[*ServerError](c.WriteAt(t.Context(), p, 0)); !ok {
		t.Error("a write to a read-only export")
	}
	if err := c.ReadAt(t.Context(), p, 0); err != nil { // the connection goes on after an error
		t.Error(err)
	}
}

// TestCancel: a request whose context ends does not wait for a server that never answers, and leaves its buffer alone.
func TestCancel(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		_ = serveHandshake(theirs)
		_, _ = io.Copy(io.Discard, theirs)
	}()
	c, err := Connect(t.Context(), ours, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := c.ReadAt(ctx, make([]byte, 512), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := c.ReadAt(t.Context(), make([]byte, 512), 0); err == nil {
		t.Error("the connection goes on")
	}
	_ = c.Close() // it has ended
}

// serveHandshake plays a server that has one export of 1 MiB, up to the end of the handshake.
func serveHandshake(conn net.Conn) error {
	hello := binary.BigEndian.AppendUint64(nil, magicServer)
	hello = binary.BigEndian.AppendUint64(hello, magicOption)
	if _, err := conn.Write(append(hello, 0, flagFixedNewstyle|flagNoZeroes)); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, 4); err != nil {
		return err
	}
	for {
		var head [16]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[12:]))); err != nil {
			return err
		}
		option := binary.BigEndian.Uint32(head[8:])
		reply := func(kind uint32, data []byte) []byte {
			b := binary.BigEndian.AppendUint64(nil, magicReply)
			b = binary.BigEndian.AppendUint32(b, option)
			b = binary.BigEndian.AppendUint32(b, kind)
			return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
		}
		var answer []byte
		switch option {
		case optSetMetaContext:
			answer = reply(repMetaContext, append([]byte{0, 0, 0, 1}, "base:allocation"...))
		case optGo:
			info := binary.BigEndian.AppendUint64([]byte{0, infoExport}, 1<<20)
			answer = reply(repInfo, binary.BigEndian.AppendUint16(info, 1|flagSendFlush|flagSendWriteZeros))
		}
		if _, err := conn.Write(append(answer, reply(repAck, nil)...)); err != nil {
			return err
		}
		if option == optGo {
			return nil
		}
	}
}

package sessions

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// TestPath: what is said during a cut arrives after it, unless who said it is gone.
func TestPath(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := NewPath(t, l.Addr().String())
	dial := func() (near, far net.Conn) {
		near, err := net.Dial("tcp", p.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = near.Close() })
		if far, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = far.Close() })
		return near, far
	}
	say := func(c net.Conn, text string) {
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(c net.Conn, want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("heard %q, %v instead of %q", got, err, want)
		}
	}
	near, far := dial()
	goneNear, goneFar := dial()
	say(near, "one")
	hear(far, "one")
	say(far, "two")
	hear(near, "two")
	p.Cut()
	say(near, "three")
	say(goneNear, "lost")
	_ = goneNear.Close()
	if err := far.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := far.Read(make([]byte, 1)); err == nil {
		t.Fatalf("%d bytes came through a cut", n)
	}
	_ = far.SetReadDeadline(time.Time{})
	p.Mend()
	hear(far, "three")
	if err := goneFar.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := goneFar.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("the other side was told: %d bytes, %v", n, err)
	}
	_ = near.Close()
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("without a cut the end is passed on, but: %v", err)
	}
}

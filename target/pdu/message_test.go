package pdu

import (
	"encoding/hex"
	"strings"
	"testing"
)

// message is what each struct of this package can do.
type message[T comparable] interface {
	*T
	Marshal(*Header)
	Unmarshal(*Header)
}

// example is a message with its bytes as RFC 7143 section 11 draws them, a row a word.
type example[T comparable] struct {
	name string
	msg  T
	wire string
}

// check marshals each example to its bytes, and reads the bytes back.
func check[T comparable, P message[T]](t *testing.T, examples []example[T]) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			want := header(t, e.wire)
			var got Header
			for i := range got {
				got[i] = 0xa5 // what a reused buffer may hold
			}
			P(&e.msg).Marshal(&got)
			if got != want {
				t.Errorf("marshalled\n%s, want\n%s", hex.Dump(got[:]), hex.Dump(want[:]))
			}
			var back T
			P(&back).Unmarshal(&want)
			if back != e.msg {
				t.Errorf("unmarshalled\n%+v, want\n%+v", back, e.msg)
			}
		})
	}
}

// fuzz checks that any 48 bytes can be read, and that what was read survives a round trip.
func fuzz[T comparable, P message[T]](f *testing.F) {
	var zero, ones Header
	for i := range ones {
		ones[i] = 0xff
	}
	f.Add(zero[:])
	f.Add(ones[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var in, out Header
		copy(in[:], b)
		var first, second T
		P(&first).Unmarshal(&in)
		P(&first).Marshal(&out)
		P(&second).Unmarshal(&out)
		if first != second {
			t.Fatalf("%+v became %+v", first, second)
		}
		// Reserved bits are gone now, so that the bytes must be stable too.
		var again Header
		P(&second).Marshal(&again)
		if again != out {
			t.Fatalf("% x became % x", out, again)
		}
	})
}

func header(t *testing.T, wire string) (h Header) {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(wire), ""))
	if err != nil || len(b) != HeaderLen {
		t.Fatalf("bad example: %d bytes, %v", len(b), err)
	}
	copy(h[:], b)
	return h
}

var counters = Counters{StatSN: 0x31, ExpCmdSN: 0x32, MaxCmdSN: 0x33}

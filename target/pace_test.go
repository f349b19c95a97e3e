package target

import (
	"testing"
	"testing/synctest"
	"time"

	"sluice/target/pdu"
)

func TestBucket(t *testing.T) {
	var b bucket
	now := time.Unix(1000, 0)
	for i := range 10 {
		if d := b.add(now, 1, 100, 10); d != 0 {
			t.Fatalf("number %d of a burst of 10 waits for %v", i, d)
		}
	}
	for i := range 5 {
		if d, want := b.add(now, 1, 100, 10), time.Duration(i+1)*10*time.Millisecond; d.Round(time.Microsecond) != want {
			t.Fatalf("%d beyond the burst wait for %v, expected %v", i+1, d, want)
		}
	}
	if d := b.add(now.Add(time.Hour), 1, 100, 10); d != 0 {
		t.Fatalf("waits for %v after an hour", d)
	}
}

// TestControlFlood: pings without end are answered, but no faster than controlRate, while
// another session does not wait at all.
func TestControlFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		other := r.connect()
		other.isid[5] = 9
		other.mustLogin()
		i := r.login()
		begin := time.Now()
		const pings = controlBurst + 2*5000
		for range pings {
			i.ping()
			i.expect(pdu.OpNopIn)
		}
		if d := time.Since(begin); d < 1900*time.Millisecond || d > 2100*time.Millisecond {
			t.Errorf("%d pings took %v", pings, d)
		}
		now := time.Now()
		other.command(pdu.SCSICommand{Final: true}, nil)
		other.good()
		if d := time.Since(now); d != 0 {
			t.Errorf("the other session has waited for %v", d)
		}
	})
}

// TestLoginInPieces: a login that comes byte by byte is taken in fewer and fewer reads.
func TestLoginInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{})
		i := r.connect()
		begin := time.Now()
		req := header(&pdu.LoginRequest{Transit: true, CSG: 1, NSG: 3, ISID: i.isid, DataLength: 132})
		for _, b := range req {
			if _, err := i.conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(begin); d < 50*time.Millisecond || d > time.Second {
			t.Errorf("48 reads took %v", d)
		}
	})
}

// TestAcceptRate: connections are accepted at a bounded rate.
func TestAcceptRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{Limits: Limits{AcceptRate: 100}})
		begin := time.Now()
		for range acceptBurst + 100 {
			_ = r.connect().conn.Close()
		}
		if d := time.Since(begin).Round(100 * time.Millisecond); d != time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

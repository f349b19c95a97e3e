package target

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"sluice/target/login"
	"sluice/target/pdu"
)

const rightSecret = "the right secret"

// asksForSecret lets everybody in who knows the secret.
type asksForSecret struct{}

func (asksForSecret) Authorize(string, string, net.Addr) (login.Access, error) {
	return login.Access{CHAP: &login.CHAP{User: "user", Secret: login.NewSecret(rightSecret)}}, nil
}

// guess logs in with a secret and returns how the target answers.
func (i *initiator) guess(secret string) pdu.LoginStatus {
	i.t.Helper()
	keys := make(map[string]string)
	say := func(req pdu.LoginRequest, text ...login.Pair) pdu.LoginStatus {
		data := login.AppendText(nil, text...)
		req.ISID, req.CID, req.CmdSN, req.DataLength = i.isid, i.cid, i.cmdSN, uint32(len(data))
		var h pdu.Header
		req.Marshal(&h)
		i.send(&h, data)
		h, data = i.receive()
		pairs, err := login.ParseText(data)
		if err != nil {
			i.t.Fatal(err)
		}
		for _, p := range pairs {
			keys[p.Key] = p.Value
		}
		var r pdu.LoginResponse
		r.Unmarshal(&h)
		return r.Status
	}
	status := say(pdu.LoginRequest{}, login.Pair{Key: "InitiatorName", Value: i.name}, login.Pair{Key: "TargetName", Value: targetIQN}, login.Pair{Key: "AuthMethod", Value: "CHAP"})
	if status != pdu.LoginSuccess {
		return status
	}
	say(pdu.LoginRequest{}, login.Pair{Key: "CHAP_A", Value: "5"})
	id, err := strconv.Atoi(keys["CHAP_I"])
	if err != nil {
		i.t.Fatal(err)
	}
	challenge, err := hex.DecodeString(keys["CHAP_C"][2:])
	if err != nil {
		i.t.Fatal(err)
	}
	response, err := login.CHAPResponse(login.MD5, byte(id), login.NewSecret(secret), challenge)
	if err != nil {
		i.t.Fatal(err)
	}
	return say(pdu.LoginRequest{Transit: true, NSG: pdu.StageFullFeature}, login.Pair{Key: "CHAP_N", Value: "user"}, login.Pair{Key: "CHAP_R", Value: fmt.Sprintf("0x%x", response)})
}

// TestGuessing: wrong secrets cost more and more time, up to a bound; the right one is
// never refused, pays that bound at most, and ends the penalty.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, Options{Authorizer: asksForSecret{}})
		try := func(secret string, want pdu.LoginStatus) time.Duration {
			t.Helper()
			begin := time.Now()
			i := r.connect()
			if got := i.guess(secret); got != want {
				t.Fatalf("login status %04x, expected %04x", uint16(got), uint16(want))
			}
			took := time.Since(begin)
			_ = i.conn.Close()
			return took
		}
		const ms = time.Millisecond
		var took []time.Duration
		for range 9 {
			took = append(took, try("a wrong one", pdu.LoginAuthFailure))
		}
		want := []time.Duration{0, 0, 0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, maxDelay}
		if fmt.Sprint(took) != fmt.Sprint(want) {
			t.Fatalf("the answers took %v, expected %v", took, want)
		}
		if d := try(rightSecret, pdu.LoginSuccess); d != maxDelay {
			t.Fatalf("the right secret took %v", d)
		}
		if d := try(rightSecret, pdu.LoginSuccess); d != 0 {
			t.Fatalf("the next login took %v", d)
		}
	})
}

// TestNobodyWaitsForGuessers: the penalty ends when the connection is closed.
func TestNobodyWaitsForGuessers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		c := newConn(New(Options{Authorizer: asksForSecret{}}), theirs)
		time.AfterFunc(time.Second, func() { c.kill(errShutdown) })
		begin := time.Now()
		if err := c.pause(t.Context(), maxDelay); !errors.Is(err, errDoomed) || time.Since(begin) != time.Second {
			t.Errorf("it took %v: %v", time.Since(begin), err)
		}
	})
}

// TestGuessesAreBounded: however many guess, the memory of them is bounded, the latest are
// remembered, and all are forgotten in time.
func TestGuessesAreBounded(t *testing.T) {
	var g guesses
	now := time.Now()
	for n := range maxGuessers + 100 {
		who := guesser{"iqn.2026-11.test:x", strconv.Itoa(n)}
		for range freeGuesses + 1 {
			now = now.Add(time.Microsecond)
			g.wrong(who, now)
		}
	}
	if len(g.seen) != maxGuessers {
		t.Errorf("%d are remembered", len(g.seen))
	}
	first, last := guesser{"iqn.2026-11.test:x", "0"}, guesser{"iqn.2026-11.test:x", strconv.Itoa(maxGuessers + 99)}
	if g.delay(first, now) != 0 || g.delay(last, now) == 0 {
		t.Error("not the oldest were forgotten")
	}
	if g.delay(last, now.Add(guessMemory+1)) != 0 {
		t.Error("a wrong secret is remembered for too long")
	}
	if other := (guesser{"iqn.2026-11.test:y", last.host}); g.delay(other, now) != 0 {
		t.Error("another initiator at the same address pays")
	}
}

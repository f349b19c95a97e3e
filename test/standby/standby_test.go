package standby

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

const volume = "shared"

// lease is short, so that the test is, unless SLUICE_STANDBY is "default".
func lease() time.Duration {
	if os.Getenv("SLUICE_STANDBY") == "default" {
		return 15 * time.Second
	}
	return 4 * time.Second
}

// pair are two gateways on one bucket, each the other's standby, and a volume that the first serves.
type pair struct {
	t     *testing.T
	store *s3server.Server
	a, b  *harness.Gateway
	ring  []string // arguments of a writer that numbers its writes
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, store: s3server.Start(t)}
	o := harness.Options{
		Store: p.store.URL("gateway"), Env: p.store.Env(),
		Args: []string{"--standby-for", "pair", "--lease", lease().String(), "--drain-timeout", "5s"},
	}
	p.a, p.b = harness.Start(t, o), harness.Start(t, o)
	p.a.CreateVolume(volume, "1GiB")
	p.ring = []string{"--state", filepath.Join(t.TempDir(), "state"), "--ring", "--size", "32m"}
	return p
}

// write has the ring written through a gateway; until tells for how long, or how often.
func (p *pair) write(gw *harness.Gateway, until ...string) <-chan harness.VerifyResult {
	args := append([]string{"--flush", "500"}, until...)
	return harness.VerifyStart(p.t, append(append(args, p.ring...), gw.URL(volume))...)
}

// expect has the ring read through a gateway: it must be the outcome of the first so many writes, and perhaps of more.
func (p *pair) expect(gw *harness.Gateway, atLeast int64) harness.VerifyResult {
	p.t.Helper()
	args := append([]string{"--check", "--depth", "32", "--at-least", fmt.Sprint(atLeast)}, p.ring...)
	return harness.MustVerify(p.t, append(args, gw.URL(volume))...)
}

// shown is the part of "sluice volume show --json" that the test looks at.
type shown struct {
	State    string `json:"state"`
	Epoch    uint64 `json:"epoch"`
	Queued   int64  `json:"queued_bytes"`
	Takeover *struct {
		Gateway string `json:"gateway"`
		Queued  int64  `json:"queued_bytes"`
	} `json:"takeover"`
}

func (p *pair) show(gw *harness.Gateway) shown {
	p.t.Helper()
	var s shown
	if err := json.Unmarshal(gw.CLI("volume", "show", volume, "--json"), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// awaitState waits until a gateway says that the volume is in a state.
func (p *pair) awaitState(gw *harness.Gateway, state string) shown {
	p.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		s := p.show(gw)
		if s.State == state {
			return s
		}
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("the volume is %s, not %s:\n%s", s.State, state, gw.LogTail(20))
		}
	}
}

// TestOwnerDies kills the owner under load, back and forth. What the standby serves then is a state that the volume had, not older than what had
// been uploaded, and it says how much may be missing.
func TestOwnerDies(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	from, to := p.a, p.b
	for range 2 {
		uploaded := (<-p.write(from, "--count", "1500")).Acked
		from.WaitUploaded(volume)
		writer := p.write(from, "--seconds", "60")
		time.Sleep(time.Second) // of load
		from.Kill()
		died := time.Now()
		result := <-writer
		s := p.awaitState(to, "attached")
		took := time.Since(died)
		found := p.expect(to, uploaded)
		if s.Takeover == nil {
			t.Fatal("nothing is said of the takeover")
		}
		t.Logf("served again %v after the death; of %d acknowledged writes %d are there, at least %d had to be; %d bytes were reported as not uploaded",
			took.Round(100*time.Millisecond), result.Acked, found.Cut, uploaded, s.Takeover.Queued)
		if status := string(to.CLI("volume", "show", volume)); !strings.Contains(status, "taken over") {
			t.Errorf("a person is not told:\n%s", status)
		}
		from.Restart()
		p.awaitState(from, "elsewhere")
		from, to = to, from
	}
}

// TestOwnerStops ends the owner in order under load: nothing that it had acknowledged is missing afterwards.
func TestOwnerStops(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	writer := p.write(p.a, "--seconds", "60")
	time.Sleep(time.Second) // of load
	p.a.Stop()
	acked := (<-writer).Acked
	s := p.awaitState(p.b, "attached")
	if s.Takeover == nil || s.Takeover.Queued != 0 {
		t.Errorf("reported as missing: %+v", s.Takeover)
	}
	p.expect(p.b, acked)
}

// TestOwnerIsFrozen stops the owner's process, has the standby take over and go on, and lets the first one go on, too: its I/O
// fails, and it changes nothing.
func TestOwnerIsFrozen(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	uploaded := (<-p.write(p.a, "--count", "1500")).Acked
	p.a.WaitUploaded(volume)
	writer := p.write(p.a, "--seconds", "60")
	time.Sleep(time.Second) // of load
	p.a.Signal(syscall.SIGSTOP)
	p.awaitState(p.b, "attached")
	p.expect(p.b, uploaded)
	acked := (<-p.write(p.b, "--count", "3000")).Acked
	p.b.WaitUploaded(volume)
	epoch := p.show(p.b).Epoch

	p.a.Signal(syscall.SIGCONT)
	result := <-writer
	if result.Exit == harness.VerifyOK || result.Exit == harness.VerifyWrong {
		t.Errorf("the writer that was frozen with the gateway ended as %v", result)
	}
	if s := p.awaitState(p.a, "elsewhere"); s.Epoch != epoch {
		t.Errorf("the epoch is %d, not %d", s.Epoch, epoch)
	}
	p.expect(p.b, acked)
	acked = (<-p.write(p.b, "--count", "1500")).Acked
	p.b.WaitUploaded(volume)
	// The bucket holds what the second one wrote, whatever the first still sent.
	p.b.LoseDisk(volume)
	p.expect(p.b, acked)
}

// TestBucketIsAway takes the bucket away from both for longer than the lease: I/O waits, nobody takes anything from anybody, and
// all goes on when it is back.
func TestBucketIsAway(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	writer := p.write(p.a, "--count", "60000")
	time.Sleep(500 * time.Millisecond) // of load
	p.store.Freeze()
	time.Sleep(3 * lease()) // this is what the test is about
	status := string(p.a.CLI("status"))
	p.store.Thaw()
	if !strings.Contains(status, "its lease has run out") {
		t.Errorf("the status says nothing of the lease:\n%s", status)
	}
	result := <-writer
	if result.Exit == harness.VerifyWrong {
		t.Fatalf("%v", result)
	}
	s := p.awaitState(p.a, "attached")
	if s.Takeover != nil {
		t.Errorf("the volume was taken over: %+v", s.Takeover)
	}
	p.expect(p.a, result.Acked)
}

package standby

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// newPeers starts two gateways that mirror for each other, and a volume on the first whose flushes wait for the second.
func newPeers(t *testing.T, more ...string) *pair {
	t.Helper()
	p := &pair{t: t, store: s3server.Start(t)}
	ca := harness.NewAuthority(t)
	addresses := []string{harness.FreeAddress(t), harness.FreeAddress(t)}
	start := func(name string, own int) *harness.Gateway {
		return harness.Start(t, harness.Options{
			Store: p.store.URL("gateway"), Env: p.store.Env(),
			Args: append(append(ca.Serve(name), "--peer-listen", addresses[own], "--peer", addresses[1-own], "--drain-timeout", "5s"), more...),
		})
	}
	p.a, p.b = start("a", 0), start("b", 1)
	p.a.CLI("volume", "create", volume, "--size", "1GiB", "--durability", "peer")
	p.ring = []string{"--state", filepath.Join(t.TempDir(), "state"), "--ring", "--size", "32m"}
	return p
}

// TestPeerTakesOver loses a gateway under load, its disk included: the peer has all that was flushed.
func TestPeerTakesOver(t *testing.T) {
	t.Parallel()
	p := newPeers(t)
	writer := p.write(p.a, "--seconds", "60")
	time.Sleep(2 * time.Second) // of load
	p.a.Kill()
	if err := os.RemoveAll(p.a.DataDir); err != nil {
		t.Fatal(err)
	}
	flushed := (<-writer).Flushed
	if flushed == 0 {
		t.Fatal("nothing was flushed")
	}
	p.b.CLI("volume", "attach", volume, "--force")
	found := p.expect(p.b, flushed)
	t.Logf("flushed %d, found %d", flushed, found.Cut)

	// Its own peer is gone: flushes wait for the bucket instead, and the status says why.
	again := (<-p.write(p.b, "--count", "2000")).Flushed
	p.b.LoseDisk(volume)
	p.expect(p.b, again)
}

// TestPeerStandsBy loses a gateway under load, its disk included, whose peer is its standby: nobody does anything, and all that
// was flushed is there.
func TestPeerStandsBy(t *testing.T) {
	t.Parallel()
	p := newPeers(t, "--standby-for", "pair", "--lease", lease().String())
	writer := p.write(p.a, "--seconds", "60")
	time.Sleep(time.Second) // of load
	p.a.Kill()
	if err := os.RemoveAll(p.a.DataDir); err != nil {
		t.Fatal(err)
	}
	flushed := (<-writer).Flushed
	p.awaitState(p.b, "attached")
	t.Logf("flushed %d, found %d", flushed, p.expect(p.b, flushed).Cut)
}

// TestNothingIsMissed does the same with a volume without a write cache: all that was acknowledged is there, so that an initiator that goes on with
// the standby, knowing nothing, is right.
func TestNothingIsMissed(t *testing.T) {
	t.Parallel()
	p := newPeers(t, "--standby-for", "pair", "--lease", lease().String())
	p.a.CLI("volume", "durability", volume, "peer", "--write-through")
	writer := p.write(p.a, "--seconds", "60")
	time.Sleep(time.Second) // of load
	if _, err := p.a.Try("volume", "durability", volume, "peer", "--write-through=false"); err == nil || !strings.Contains(err.Error(), "logged in") {
		t.Errorf("an initiator that believes that there is no write cache was left with one: %v", err)
	}
	p.a.Kill()
	if err := os.RemoveAll(p.a.DataDir); err != nil {
		t.Fatal(err)
	}
	acked := (<-writer).Acked
	if acked == 0 {
		t.Fatal("nothing was acknowledged")
	}
	p.awaitState(p.b, "attached")
	t.Logf("acknowledged %d, found %d", acked, p.expect(p.b, acked).Cut)
}

// TestStrangerIsNoPeer has a gateway with a certificate of another authority try to mirror.
func TestStrangerIsNoPeer(t *testing.T) {
	t.Parallel()
	ca, stranger, s3, address := harness.NewAuthority(t), harness.NewAuthority(t), s3server.Start(t), harness.FreeAddress(t)
	b := harness.Start(t, harness.Options{Args: append(ca.Serve("b"), "--peer-listen", address)})
	args := append(stranger.Serve("mallory"), "--peer", address)
	m := harness.Start(t, harness.Options{Store: s3.URL("other"), Env: s3.Env(), Args: args})
	m.CLI("volume", "create", volume, "--size", "64MiB", "--durability", "peer")
	harness.MustVerify(t, "--seconds", "1", "--flush", "1", m.URL(volume)) // flushed to the bucket instead
	if log := b.LogTail(100); !strings.Contains(log, "certificate") {
		t.Errorf("nothing is said of the stranger:\n%s", log)
	}
}

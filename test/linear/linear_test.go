package linear

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

const clients = 6

// duration is how long a test goes on.
func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SLUICE_LINEAR")
	if text == "" {
		return 2 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SLUICE_LINEAR: %v", err)
	}
	return d
}

// TestLinear is of a volume in this process; see the package's documentation.
func TestLinear(t *testing.T) {
	t.Parallel()
	g := newGateway(t, nil)
	l := newLoad()
	l.target = targetName
	filled := map[int64]uint64{}
	rounds, deleted, evicted, fetched := 0, 0, int64(0), int64(0)
	for end := time.Now().Add(duration(t)); rounds < 3 || time.Now().Before(end); rounds++ {
		l.portal = g.portal
		ctx, cancel := context.WithCancel(t.Context())
		var collector sync.WaitGroup
		collector.Go(func() { deleted += g.collecting(ctx) })
		seen := histories{}
		err := l.round(t.Context(), clients, 150, filled, seen)
		cancel()
		collector.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if rounds%3 == 2 {
			g.stop()
			g.start()
			l.portal = g.portal
		}
		l.verify(t, seen)
		n := g.cache.Stats()
		evicted += n.Evicted
		fetched += n.Fetched
	}
	t.Logf("%d rounds, %d commands; %d evictions, %d bytes fetched, %d objects deleted or thinned", rounds, l.commands.Load(), evicted, fetched, deleted)
	if evicted == 0 || fetched == 0 || deleted == 0 {
		t.Error("nothing was evicted, or fetched, or deleted: the test proves less than it says")
	}
}

// TestLinearAcrossKills is of the real daemon, which is killed in each round.
func TestLinearAcrossKills(t *testing.T) {
	t.Parallel()
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		o.Args = []string{"--upload-buffer", "256MiB", "--cache", "64MiB"}
		gw := harness.Start(t, o)
		gw.CreateVolume("linear", "1GiB")
		l := newLoad()
		l.portal, l.target = gw.Portal, gw.IQN("linear")
		rounds := 0
		for end := time.Now().Add(duration(t)); rounds < 2 || time.Now().Before(end); rounds++ {
			seen := histories{}
			killed := make(chan struct{})
			timer := time.AfterFunc(50*time.Millisecond+rand.N(500*time.Millisecond), func() {
				defer close(killed)
				gw.Kill()
			})
			err := l.round(t.Context(), clients, 1_000_000, map[int64]uint64{}, seen)
			timer.Stop()
			<-killed
			if err != nil {
				t.Fatal(err)
			}
			gw.Restart()
			l.verify(t, seen)
		}
		t.Logf("%d kills, %d commands", rounds, l.commands.Load())
	})
}

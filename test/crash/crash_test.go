// Package crash kills the daemon with SIGKILL at random moments while verified writes
// run against it, again and again, and looks at what is left.
//
// SLUICE_CRASHES says how often each test kills it (20); make crash N=500 sets it.
package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

const volume = "victim"

func crashes(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SLUICE_CRASHES")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("SLUICE_CRASHES: %v", err)
	}
	return n
}

// killWithin lets writes run for a random time, kills the daemon, and returns how the
// writer ended. That the writer lost its connection is what should happen.
func killWithin(t *testing.T, gw *harness.Gateway, longest time.Duration, writer <-chan harness.VerifyResult) harness.VerifyResult {
	t.Helper()
	select {
	case result := <-writer:
		t.Fatalf("the writer ended before the daemon was killed: %v", result)
	case <-time.After(rand.N(longest)):
	}
	gw.Kill()
	result := <-writer
	if result.Exit != harness.VerifyLost {
		t.Fatalf("the writer ended otherwise than by losing its connection: %v", result)
	}
	return result
}

// TestAcknowledgedWritesSurvive writes, zeroes and unmaps at random with many commands
// in flight. After every kill each acknowledged one must be there; one that was not
// acknowledged may be, whole or not at all.
func TestAcknowledgedWritesSurvive(t *testing.T) {
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		// Little local room, so that eviction and fetching happen between the crashes.
		o.Args = []string{"--upload-buffer", "256MiB", "--cache", "256MiB"}
		gw := harness.Start(t, o)
		gw.CreateVolume(volume, "1GiB")
		state := filepath.Join(t.TempDir(), "state")
		common := []string{"--state", state, "--size", "96m", "--zero", "10"}
		var verified int64
		for round := range (crashes(t) + 1) / 2 {
			depth := 1 << rand.IntN(7)
			t.Logf("round %d: %d in flight", round+1, depth)
			args := append([]string{"--seconds", "60", "--read", "20", "--flush", "64", "--depth", fmt.Sprint(depth)}, common...)
			result := killWithin(t, gw, 1500*time.Millisecond, harness.VerifyStart(t, append(args, gw.URL(volume))...))
			gw.Restart()
			verified += harness.MustVerify(t, append(append([]string{"--check", "--depth", "32"}, common...), gw.URL(volume))...).Verified
			t.Logf("round %d: %s", round+1, result.Message)
		}
		if verified == 0 {
			t.Fatal("no block was ever compared")
		}
	})
}

// TestStoredVolumeSurvives does the same to a stored volume, while snapshots of it are made. In the end one more snapshot
// becomes a cached volume on a gateway that has nothing but the bucket: it has every acknowledged write, too.
func TestStoredVolumeSurvives(t *testing.T) {
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		gw := harness.Start(t, o)
		gw.CLI("volume", "create", volume, "--size", "1GiB", "--mode", "stored")
		common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--size", "96m", "--zero", "10"}
		check := append([]string{"--check", "--depth", "32"}, common...)
		for range (crashes(t) + 3) / 4 {
			args := append([]string{"--seconds", "60", "--read", "20", "--flush", "64", "--depth", fmt.Sprint(1 << rand.IntN(7))}, common...)
			writer := harness.VerifyStart(t, append(args, gw.URL(volume))...)
			snapshots := make(chan struct{})
			go func() {
				defer close(snapshots)
				for {
					if _, err := gw.Try("snapshot", "create", volume); err != nil {
						return // the daemon is dead
					}
				}
			}()
			killWithin(t, gw, 2500*time.Millisecond, writer)
			<-snapshots
			gw.Restart()
			if harness.MustVerify(t, append(check, gw.URL(volume))...).Verified == 0 {
				t.Fatal("no block was compared")
			}
		}
		gw.CLI("snapshot", "create", volume)
		gw.CLI("volume", "clone", volume, "copy")
		gw.CLI("volume", "detach", "copy")
		gw.Kill()
		other := harness.Start(t, harness.Options{Store: gw.Store, Env: o.Env})
		other.CLI("volume", "attach", "copy")
		harness.MustVerify(t, append(check, other.URL("copy"))...)
	})
}

// TestFlushedToBucketSurvives loses the whole gateway, its disk included, under load, again and again: with the durability
// "bucket" all that was flushed is there, and the volume is in a state that it had.
func TestFlushedToBucketSurvives(t *testing.T) {
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		gw := harness.Start(t, o)
		gw.CLI("volume", "create", volume, "--size", "1GiB", "--durability", "bucket")
		common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--ring", "--size", "32m", "--zero", "5"}
		for round := range max(3, crashes(t)/3) {
			args := append([]string{"--flush", "50", "--seconds", "60"}, common...)
			flushed := killWithin(t, gw, 2500*time.Millisecond, harness.VerifyStart(t, append(args, gw.URL(volume))...)).Flushed
			gw.LoseDisk(volume)
			check := append([]string{"--check", "--depth", "32", "--at-least", fmt.Sprint(flushed)}, common...)
			found := harness.MustVerify(t, append(check, gw.URL(volume))...)
			t.Logf("round %d: flushed %d, found %d", round+1, flushed, found.Cut)
		}
	})
}

// TestBucketAloneIsAPrefix has one writer number its writes over a ring of blocks. After
// every kill, what is on the disk must be the outcome of the writes 1 to c for one c. With
// the local disk intact c is at least what was acknowledged; when the disk is
// thrown away too, every other time, at least what had been uploaded.
func TestBucketAloneIsAPrefix(t *testing.T) {
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		gw := harness.Start(t, o)
		gw.CreateVolume(volume, "1GiB")
		common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--ring", "--size", "32m", "--zero", "5"}
		write := func(more ...string) []string {
			return append(append([]string{"--flush", "500"}, append(more, common...)...), gw.URL(volume))
		}
		for round := range max(4, crashes(t)/3) {
			uploaded := harness.MustVerify(t, write("--count", "1500")...).Acked
			gw.WaitUploaded(volume)
			atLeast := killWithin(t, gw, 2500*time.Millisecond, harness.VerifyStart(t, write("--seconds", "60")...)).Acked
			if lose := round%2 == 1; lose {
				gw.LoseDisk(volume)
				atLeast = uploaded
			} else {
				gw.Restart()
			}
			check := append([]string{"--check", "--depth", "32", "--at-least", fmt.Sprint(atLeast)}, common...)
			found := harness.MustVerify(t, append(check, gw.URL(volume))...)
			t.Logf("round %d: at least %d, found %d", round+1, atLeast, found.Cut)
		}
	})
}

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// TestBucketAlone writes and flushes, waits until all is uploaded, kills the daemon and
// throws its disk away: a new gateway that has only the store has every write.
func TestBucketAlone(t *testing.T) {
	harness.EachStore(t, func(t *testing.T, o harness.Options, _ *s3server.Server) {
		gw := harness.Start(t, o)
		gw.CreateVolume("moved", "1GiB")
		common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--size", "64m", "--depth", "32"}
		work := append([]string{"--seconds", "3", "--zero", "5", "--flush", "200"}, common...)
		check := append([]string{"--check"}, common...)
		for range 2 { // the second gateway's writes must move on to a third
			harness.MustVerify(t, append(work, gw.URL("moved"))...)
			gw.WaitUploaded("moved")
			gw.LoseDisk("moved")
			if result := harness.MustVerify(t, append(check, gw.URL("moved"))...); result.Verified == 0 {
				t.Fatal("nothing was compared")
			}
		}
	})
}

// TestFrozenBucket freezes the S3 server: writes go on. The daemon is killed with all
// of them only on its disk, and has them when it is back, before the bucket is
// and after it; then they are uploaded.
func TestFrozenBucket(t *testing.T) {
	server := s3server.Start(t)
	gw := harness.Start(t, harness.Options{Store: server.URL("gateway"), Env: server.Env()})
	gw.CreateVolume("frozen", "1GiB")
	common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--size", "96m", "--depth", "16"}
	write := append([]string{"--seconds", "3", "--zero", "5", "--flush", "100"}, common...)
	check := append([]string{"--check"}, common...)

	harness.MustVerify(t, append(write, gw.URL("frozen"))...)
	server.Freeze()
	if result := harness.MustVerify(t, append(write, gw.URL("frozen"))...); result.Writes < 1000 {
		t.Errorf("only %d writes in 3 s while the bucket was frozen", result.Writes)
	}
	gw.Kill()
	server.Thaw()
	gw.Restart()
	harness.MustVerify(t, append(check, gw.URL("frozen"))...)
	harness.MustVerify(t, append(write, gw.URL("frozen"))...)
	gw.WaitUploaded("frozen")
	gw.LoseDisk("frozen")
	harness.MustVerify(t, append(check, gw.URL("frozen"))...)
}

// TestServerKilled kills the S3 server under load and brings it back: no initiator
// sees an error, and everything ends up in the bucket.
func TestServerKilled(t *testing.T) {
	server := s3server.Start(t)
	gw := harness.Start(t, harness.Options{Store: server.URL("gateway"), Env: server.Env()})
	gw.CreateVolume("outage", "1GiB")
	common := []string{"--state", filepath.Join(t.TempDir(), "state"), "--size", "96m", "--depth", "16"}
	writer := harness.VerifyStart(t, append([]string{"--seconds", "6", "--read", "30", gw.URL("outage")}, common...)...)
	for range 3 {
		server.Kill()
		server.Restart()
	}
	if result := <-writer; result.Exit != harness.VerifyOK {
		t.Fatalf("the writer saw the outage: %v", result)
	}
	gw.WaitUploaded("outage")
	gw.LoseDisk("outage")
	harness.MustVerify(t, append([]string{"--check", gw.URL("outage")}, common...)...)
}

// TestSecondDaemonRefused starts a second daemon on a data directory that is in use.
func TestSecondDaemonRefused(t *testing.T) {
	gw := harness.Start(t, harness.Options{})
	second := gw.Command()
	defer time.AfterFunc(time.Minute, func() { _ = second.Process.Kill() }).Stop()
	out, err := second.CombinedOutput()
	if err == nil {
		t.Fatalf("it ran:\n%s", out)
	}
	if !strings.Contains(string(out), gw.DataDir) {
		t.Errorf("the message does not name the directory:\n%s", out)
	}
	if _, err := gw.Try("status"); err != nil {
		t.Errorf("the first one is no longer well: %v", err)
	}
}

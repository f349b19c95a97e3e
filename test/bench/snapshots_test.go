package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/test/harness"
	"sluice/test/s3server"
)

// snapshotDocument is the part of what the snapshot verbs print that is measured.
type snapshotDocument struct {
	ID       string `json:"id"`
	Uploaded int64  `json:"total_bytes"`
	Stalled  int64  `json:"stalled_microseconds"`
}

func snap(t *testing.T, gw *harness.Gateway, volume string) (snapshotDocument, time.Duration) {
	t.Helper()
	var list struct{ Snapshots []snapshotDocument }
	began := time.Now()
	out := gw.CLI("snapshot", "create", volume, "--json")
	took := time.Since(began)
	if err := json.Unmarshal(out, &list); err != nil || len(list.Snapshots) != 1 {
		t.Fatalf("snapshot create: %v: %s", err, out)
	}
	return list.Snapshots[0], took
}

// benchSnapshots measures what snapshots, clones, restores and the collector cost.
func benchSnapshots(t *testing.T, s settings) string {
	server := s3server.Start(t)
	gw := harness.Start(t, harness.Options{Store: server.URL("snapshots"), Env: server.Env()})
	var out table
	out.head("Snapshots, on the S3 server", "", "cached", "stored", "goal")
	var stall, took, per, quiet [2]series
	modes := []string{"cached", "stored"}
	for _, mode := range modes {
		gw.CLI("volume", "create", mode, "--size", "4GiB", "--mode", mode, "--json")
		harness.MustVerify(t, "--sequential", "--bs", "1m", "--depth", "4", "--size", s.area, "--count", mebibytes(s.area), gw.URL(mode))
		snap(t, gw, mode)
	}
	for range s.rounds {
		for i, mode := range modes {
			writer := harness.VerifyStart(t, "--depth", "8", "--seconds", "4", "--size", s.area, gw.URL(mode))
			time.Sleep(time.Second)
			doc, d := snap(t, gw, mode)
			stall[i], took[i] = append(stall[i], float64(doc.Stalled)), append(took[i], d.Seconds())
			<-writer

			snap(t, gw, mode)
			sent := gw.Counter("store.sent_bytes")
			const changed = 64
			harness.MustVerify(t, "--sequential", "--bs", "1m", "--depth", "4", "--size", fmt.Sprint(changed)+"m", "--count", fmt.Sprint(changed), gw.URL(mode))
			_, d = snap(t, gw, mode)
			quiet[i] = append(quiet[i], d.Seconds())
			per[i] = append(per[i], (gw.Counter("store.sent_bytes")-sent)/(changed<<20))
		}
	}
	out.row("writes stand still, us, under 4 KiB random writes at QD8", stall[0].String(), stall[1].String(), "10000")
	out.row("complete after, s, under those writes", took[0].String(), took[1].String(), "")
	out.row("bytes uploaded per changed byte, 64 MiB in a row, incompressible", per[0].String(), per[1].String(), "1.1")
	out.row("complete after, s, with those 64 MiB to upload", quiet[0].String(), quiet[1].String(), "")
	return out.String() + benchClones(t, s, gw, server) + benchCollector(t, s, gw)
}

// benchClones measures how long it takes until a copy serves I/O.
func benchClones(t *testing.T, s settings, gw *harness.Gateway, server *s3server.Server) string {
	var out table
	out.head("Clones and restores, on the S3 server", "", "seconds", "goal")
	for _, size := range []string{"1GiB", "1TiB", "32TiB"} {
		name := "of-" + strings.ToLower(size)
		gw.CLI("volume", "create", name, "--size", size, "--json")
		harness.MustVerify(t, "--depth", "32", "--sparse", "--count", mebiOps(s.spread), gw.URL(name))
		gw.WaitUploaded(name)
		doc, d := snap(t, gw, name)
		out.row(fmt.Sprintf("snapshot of %s, %d MiB of 4 KiB writes spread over it", size, s.spread), number(d.Seconds()), "")
		var clone series
		for i := range s.rounds {
			began := time.Now()
			gw.CLI("volume", "clone", name, fmt.Sprintf("%s-clone%d", name, i), "--snapshot", doc.ID, "--json")
			harness.MustVerify(t, "--read", "100", "--count", "1", gw.URL(fmt.Sprintf("%s-clone%d", name, i)))
			clone = append(clone, time.Since(began).Seconds())
		}
		out.row("clone of it, up to the first read by an initiator", clone.String(), "1")
		if size != "1TiB" {
			continue
		}
		for _, mode := range []string{"cached", "stored"} {
			other := harness.Start(t, harness.Options{Store: server.URL("snapshots"), Env: server.Env()})
			began := time.Now()
			other.CLI("volume", "create", "restored-"+mode, "--snapshot", doc.ID, "--mode", mode, "--hydrate", hydrate(mode), "--json")
			harness.MustVerify(t, "--read", "100", "--count", "1", other.URL("restored-"+mode))
			out.row("restore to a "+mode+" volume of another gateway, up to the first read", number(time.Since(began).Seconds()), "1")
			other.Stop()
		}
	}
	began := time.Now()
	doc, _ := snap(t, gw, "cached")
	for i := range 20 {
		gw.CLI("volume", "clone", "cached", fmt.Sprint("vm", i), "--snapshot", doc.ID, "--json")
	}
	out.row("a snapshot and 20 clones of it, one after the other", number(time.Since(began).Seconds()), "10")
	return out.String()
}

// hydrate is the rate at which a volume is filled: only stored ones are.
func hydrate(mode string) string {
	if mode == "stored" {
		return "10MiB"
	}
	return "0B"
}

// benchCollector measures what passes of the collector take from writers. Each deletion of a snapshot begins one.
func benchCollector(t *testing.T, s settings, gw *harness.Gateway) string {
	var alone, beside series
	run := func(args ...string) float64 {
		return harness.MustVerify(t, append(args, "--depth", "32", "--seconds", fmt.Sprint(s.seconds), "--size", s.area, gw.URL("cached"))...).IOPS
	}
	passes := 0
	for range s.rounds {
		gw.WaitUploaded("cached")
		alone = append(alone, run())
		doc, _ := snap(t, gw, "cached")
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for id := doc.ID; ; passes++ {
				if _, err := gw.Try("snapshot", "delete", id, "--yes"); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
				next, err := gw.Try("snapshot", "create", "of-1gib", "--json")
				var list struct{ Snapshots []snapshotDocument }
				if err == nil {
					err = json.Unmarshal(next, &list)
				}
				if err != nil || len(list.Snapshots) == 0 {
					t.Error(err)
					return
				}
				id = list.Snapshots[0].ID
			}
		}()
		beside = append(beside, run())
		close(stop)
		<-ended
	}
	var out table
	out.head("The collector, on the S3 server", "", "alone", "beside passes", "ratio", "goal")
	out.row("4 KiB random write, QD32, IOPS", alone.String(), beside.String(), ratio(beside.median(), alone.median()), "0.90")
	out.row("passes that were begun", "", fmt.Sprint(passes), "", "")
	return out.String()
}

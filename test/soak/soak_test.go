package soak

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// duration is how long the load goes on.
func duration(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("SLUICE_SOAK")
	if text == "" {
		return 5 * time.Second
	}
	minutes, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("SLUICE_SOAK: %v", err)
	}
	return time.Duration(minutes * float64(time.Minute))
}

// TestSoak is the whole story; see the package's documentation.
func TestSoak(t *testing.T) {
	w := newWorld(t)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), duration(t))
	defer cancel()
	var load, beside sync.WaitGroup
	for _, d := range w.disks {
		for n := range clients {
			load.Go(func() {
				if err := d.client(ctx, w.gw, n); err != nil {
					t.Error(err)
					cancel()
				}
			})
		}
	}
	beside.Go(func() { w.weather(ctx) })
	beside.Go(func() { w.collecting(ctx) })
	// If an event ends the test, what runs beside it must have ended before.
	defer func() {
		cancel()
		load.Wait()
		beside.Wait()
	}()

	w.snapshot()
	events := []func(){w.snapshot, w.snapshot, w.clone, w.kill, w.kill, w.kill, w.kill, w.kill, w.restart, w.deleteSnapshot}
	for i := 0; pause(ctx, rand.N(time.Second)); i++ {
		if i < 3 { // the short form has one of each, too
			[]func(){w.kill, w.clone, w.restart}[i]()
			continue
		}
		events[rand.IntN(len(events))]()
	}
	load.Wait()
	beside.Wait()
	w.report(time.Since(began))
	w.end()
}

// end compares everything with what it must be: as it is, after a kill, and on a gateway that has only the bucket.
func (w *world) end() {
	w.t.Helper()
	for _, d := range w.disks {
		now := d.freeze(func() {})
		now.check(w.t, w.gw, d.name, &w.counts)
	}
	w.kill()
	for _, d := range w.disks {
		now := d.freeze(func() {})
		now.check(w.t, w.gw, d.name, &w.counts)
		w.gw.CLI("snapshot", "create", d.name)
	}
	var cached []string
	for _, d := range w.disks {
		if d.mode == "cached" {
			cached = append(cached, d.name)
		}
	}
	w.gw.LoseDisk(cached...)
	for _, d := range w.disks {
		if d.mode == "cached" {
			now := d.freeze(func() {})
			now.check(w.t, w.gw, d.name, &w.counts)
		}
	}
	for len(w.kept) > 0 {
		w.clone()
		w.deleteSnapshot()
	}
}

func (w *world) report(took time.Duration) {
	n := &w.counts
	w.t.Logf("%v: %d commands, %d MiB, %d pieces verified, %d connections lost", took.Round(time.Second), n.commands.Load(), n.bytes.Load()>>20, n.verified.Load(), n.reconnects.Load())
	w.t.Logf("%d kills and %d restarts of the daemon; %d hostilities and outages of the store, %d of them kills", n.kills, n.restarts, n.outages, n.serverRestart)
	w.t.Logf("%d snapshots, %d clones, %d deletions; %d collections removed or thinned %d objects", n.snapshots, n.clones, n.deleted, n.collections, n.collected)
}

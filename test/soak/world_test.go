package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"sluice/object"
	"sluice/object/storeurl"
	"sluice/snapshot"
	"sluice/test/harness"
	"sluice/test/hostilestore"
	"sluice/test/s3server"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
)

// world is a store, its gateway, and what is on it.
type world struct {
	t      *testing.T
	server *s3server.Server
	proxy  *hostilestore.Proxy
	gw     *harness.Gateway
	disks  []*disk
	kept   map[string]content // snapshots, by their IDs
	of     map[string]*disk   // the volumes of snapshots
	counts counts
	made   int
	store  object.Store
}

func newWorld(t *testing.T) *world {
	server := s3server.Start(t)
	server.Setenv(t)
	w := &world{t: t, server: server, proxy: hostilestore.NewProxy(t, server), kept: map[string]content{}, of: map[string]*disk{}}
	w.gw = harness.Start(t, harness.Options{
		Store: w.proxy.URL("soak"), Env: server.Env(), Args: []string{"--upload-buffer", "192MiB", "--cache", "64MiB", "--drain-timeout", "2s"},
	})
	for i, mode := range []string{"cached", "cached", "stored"} {
		d := &disk{name: fmt.Sprintf("disk%d", i), mode: mode, counts: &w.counts}
		w.gw.CLI("volume", "create", d.name, "--size", "1GiB", "--mode", mode)
		w.disks = append(w.disks, d)
	}
	raw, err := storeurl.Open(t.Context(), server.URL("soak"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	w.store = object.Retry(raw, object.RetryOptions{Refused: true})
	return w
}

// snapshot takes one while its clients wait for a moment.
func (w *world) snapshot() {
	d := w.disks[rand.IntN(len(w.disks))]
	var out []byte
	was := d.freeze(func() { out = w.gw.CLI("snapshot", "create", d.name, "--no-wait", "--json") })
	var made struct {
		Snapshots []struct {
			ID string `json:"id"`
		} `json:"snapshots"`
	}
	if err := json.Unmarshal(out, &made); err != nil || len(made.Snapshots) != 1 {
		w.t.Fatalf("snapshot: %v: %s", err, out)
	}
	id := made.Snapshots[0].ID
	w.awaitSnapshot(id)
	w.kept[id], w.of[id] = was, d
	w.counts.snapshots++
	if len(w.kept) > 6 {
		w.deleteSnapshot()
	}
}

func (w *world) awaitSnapshot(id string) {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var s struct {
			State string `json:"state"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal(w.gw.CLI("snapshot", "show", id, "--json"), &s); err != nil {
			w.t.Fatal(err)
		}
		if s.State == "complete" {
			return
		}
		if s.State == "failed" || time.Now().After(deadline) {
			w.t.Fatalf("snapshot %s: %s: %s", id, s.State, s.Error)
		}
	}
}

func (w *world) pick() string {
	ids := slices.Sorted(maps.Keys(w.kept))
	if len(ids) == 0 {
		return ""
	}
	return ids[rand.IntN(len(ids))]
}

func (w *world) deleteSnapshot() {
	if id := w.pick(); id != "" {
		w.gw.CLI("snapshot", "delete", id, "--yes")
		delete(w.kept, id)
		delete(w.of, id)
		w.counts.deleted++
	}
}

// clone makes a volume of a snapshot, reads all of it, and deletes it.
func (w *world) clone() {
	id := w.pick()
	if id == "" {
		return
	}
	w.made++
	name := fmt.Sprintf("clone%d", w.made)
	mode := []string{"cached", "stored"}[rand.IntN(2)]
	w.gw.CLI("volume", "clone", w.of[id].name, name, "--snapshot", id, "--mode", mode)
	was := w.kept[id]
	was.check(w.t, w.gw, name, &w.counts)
	w.gw.CLI("volume", "detach", name, "--force")
	w.gw.CLI("volume", "delete", name, "--yes")
	w.counts.clones++
	w.counts.deleted++
}

func (w *world) kill() {
	w.gw.Kill()
	w.gw.Restart()
	w.counts.kills++
}

func (w *world) restart() {
	w.gw.Stop()
	w.gw.Restart()
	w.counts.restarts++
}

// weather makes the store hostile every few seconds, until ctx ends.
func (w *world) weather(ctx context.Context) {
	faults := []hostilestore.Fault{
		hostilestore.Late(50 * time.Millisecond), hostilestore.Late(time.Second),
		hostilestore.Refuse(http.StatusServiceUnavailable, "SlowDown"), hostilestore.Refuse(http.StatusTooManyRequests, ""),
		hostilestore.Refuse(http.StatusForbidden, "AccessDenied"), hostilestore.Cut, hostilestore.Sometimes(3, hostilestore.AnswerLost),
		hostilestore.Sometimes(3, hostilestore.Answers(hostilestore.Truncated)), hostilestore.Sometimes(3, hostilestore.DamagedRequest),
	}
	for pause(ctx, time.Second+rand.N(4*time.Second)) {
		w.counts.outages++
		switch k := rand.IntN(len(faults) + 2); {
		case k < len(faults):
			w.proxy.Set(faults[k])
			pause(ctx, rand.N(3*time.Second))
			w.proxy.Set(nil)
		case k == len(faults):
			w.server.Freeze()
			pause(ctx, rand.N(3*time.Second))
			w.server.Thaw()
		default:
			w.server.Kill()
			pause(ctx, rand.N(2*time.Second))
			w.server.Restart()
			w.counts.serverRestart++
		}
	}
}

// pause reports whether the time passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// collecting is a second collector, in a hurry, until ctx ends.
func (w *world) collecting(ctx context.Context) {
	catalogue := snapshot.NewCatalogue(w.store)
	collector := gc.New(gc.Options{Store: w.store, Horizon: 3 * time.Second, Logger: slog.New(slog.DiscardHandler), Snapshots: func(ctx context.Context) ([]blockmap.Root, error) {
		list, err := catalogue.List(ctx)
		var roots []blockmap.Root
		for _, s := range list {
			roots = append(roots, s.Root)
		}
		return roots, err
	}})
	for pause(ctx, 2*time.Second) {
		report, err := collector.Collect(ctx)
		if err != nil {
			w.t.Logf("collecting: %v", err) // in doubt it deletes nothing
			continue
		}
		w.counts.collections++
		w.counts.collected += report.Deleted + report.Thinned
	}
}

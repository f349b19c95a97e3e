package linear

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/cache"
	"sluice/object"
	"sluice/object/memory"
	"sluice/target"
	"sluice/target/login"
	"sluice/target/sbc"
	"sluice/target/scsi"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
)

const (
	targetName = "iqn.2026-11.io.sluice:linear"
	cacheBytes = 9 << 20 // one segment, and a little
)

// everybody may log in.
type everybody struct{}

func (everybody) Authorize(string, string, net.Addr) (login.Access, error) {
	return login.Access{}, nil
}

// gateway is a volume and its target, in this process.
type gateway struct {
	t       *testing.T
	dir     string
	store   object.Store
	head    *volume.Head
	portal  string
	cache   *cache.Cache
	volume  *volume.Volume
	wrap    func(sbc.Disk) sbc.Disk
	collect *gc.Collector
	stop    func()
}

// newGateway serves a new volume. Wrap, if it is not nil, comes between volume and target.
func newGateway(t *testing.T, wrap func(sbc.Disk) sbc.Disk) *gateway {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	store := object.Retry(object.Fault(memory.New(), faults), object.RetryOptions{
		MinDelay: time.Millisecond, MaxDelay: 20 * time.Millisecond, AttemptTimeout: 200 * time.Millisecond, Logger: log,
	})
	head, err := volume.Create(t.Context(), store, volume.New{Name: "linear", Size: volumeSize, Mode: volume.Cached})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, dir: t.TempDir(), store: store, head: head, wrap: wrap}
	g.collect = gc.New(gc.Options{Store: store, Logger: log, Snapshots: func(context.Context) ([]blockmap.Root, error) { return nil, nil }})
	g.start()
	t.Cleanup(func() { g.stop() })
	return g
}

// faults lets one call in ten fail, and one in three hundred hang.
func faults(c object.Call) object.Outcome {
	switch k := rand.IntN(300); {
	case k < 15:
		return object.Outcome{Err: &object.Error{Op: c.Op, Key: c.Key, Err: object.ErrInjected, Transient: true}}
	case k < 30:
		return object.Outcome{Lost: true}
	case k == 30:
		return object.Outcome{Hang: true}
	}
	return object.Outcome{}
}

// start opens the volume, or ends the test.
func (g *gateway) start() {
	g.t.Helper()
	must := func(err error) {
		g.t.Helper()
		if err != nil {
			g.t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	db, err := blockmap.OpenDB(filepath.Join(g.dir, "index"), log)
	must(err)
	g.cache, err = cache.Open(cache.Options{Dir: filepath.Join(g.dir, "segments"), DB: db, Source: g.store, Bytes: cacheBytes, Logger: log})
	must(err)
	v, err := volume.Open(g.t.Context(), g.head.ID, volume.Options{
		Store: g.store, DB: db, Cache: g.cache, Buffer: volume.NewBuffer(64 << 20), Gateway: "gateway", Host: "test", Boot: "boot", Logger: log,
		SealAfter: 50 * time.Millisecond,
	}, false)
	must(err)
	g.volume = v
	var disk sbc.Disk = v
	if g.wrap != nil {
		disk = g.wrap(v)
	}
	device, err := sbc.New(sbc.Options{Disk: disk, ID: [16]byte{1}, Target: targetName, Revision: "1", Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	must(err)
	server := target.New(target.Options{Authorizer: everybody{}, Logger: log})
	must(server.AddTarget(target.Target{Name: targetName, LUs: map[uint64]scsi.LogicalUnit{0: device}}))
	address, err := server.Listen(g.t.Context(), "127.0.0.1:0")
	must(err)
	g.portal = address.String()
	g.stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := errors.Join(server.Shutdown(ctx), device.Close(ctx), v.Close(), g.cache.Close(), db.Close())
		if err != nil {
			g.t.Errorf("stopping the gateway: %v", err)
		}
	}
}

// collecting makes a root, which nobody keeps, and runs the collector, again and again until ctx ends. It returns how much was deleted.
func (g *gateway) collecting(ctx context.Context) (deleted int) {
	for ctx.Err() == nil {
		err := g.root(ctx)
		var report gc.Report
		if err == nil {
			report, err = g.collect.Collect(ctx)
		}
		if err != nil && ctx.Err() == nil {
			g.t.Errorf("collecting: %v", err)
			return deleted
		}
		deleted += report.Deleted + report.Thinned
	}
	return deleted
}

// root takes a snapshot.
func (g *gateway) root(ctx context.Context) error {
	h, err := g.volume.Hold(ctx)
	if err != nil {
		return err
	}
	cut := h.Cut()
	h.Release()
	defer cut.Close()
	_, err = cut.Finish(ctx)
	return err
}

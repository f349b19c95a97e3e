package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/dgraph-io/badger/v4"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"sluice/appliance/api"
	"sluice/cache"
	"sluice/object"
	"sluice/object/storeurl"
	"sluice/scrub"
	"sluice/snapshot"
	"sluice/target"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/gc"
	"sluice/volume/segment"
	"sluice/volume/stored"
)

// Gateway is one gateway. It implements api.Backend.
type Gateway struct {
	*volumes
	*snapshots
	*inspector
	*schedules
	*scrubber

	cfg     Config
	log     *slog.Logger
	host    string
	started time.Time

	// What the stages open, in their order.
	dir     *dataDir
	raw     storeurl.Store
	store   object.Store
	counter *object.Counter
	db      *badger.DB
	cache   *cache.Cache
	buffer  *volume.Buffer
	peering *peering
	garbage *collector
	server  *target.Server
	address net.Addr // of the portal
	api     *listeners

	// orphans are the stored volumes to be served although the object store could not be reached at the start.
	orphans  []*volume.Head
	rejoins  background
	standby  *standby
	standbys background

	failed chan error // a part that ended by itself
}

var _ api.Backend = (*Gateway)(nil)

// New returns a gateway for a configuration, which it validates. Nothing is opened yet.
func New(cfg Config, log *slog.Logger) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("asking for the host's name: %w", err)
	}
	return &Gateway{cfg: cfg, log: log, host: host, failed: make(chan error, 1)}, nil
}

// Run opens the gateway, serves until ctx ends, and closes it. It returns nil if it was
// told to stop and all that was accepted is durable on local disk. A second Run is not
// possible.
func (g *Gateway) Run(ctx context.Context) error {
	g.started = time.Now()
	opened := &stages{log: g.log}
	if err := opened.open(ctx, g.stages()); err != nil {
		if !errors.Is(err, context.Canceled) || ctx.Err() == nil {
			return err
		}
		g.log.Info("gateway was told to stop before it was ready")
		return nil // to be told to stop is no failure
	}
	g.log.Info("gateway is ready", "gateway", g.dir.id, "portal", g.address.String(), "api", g.api.addresses(),
		"store", g.cfg.Store, "volumes", len(g.serving()), "took", time.Since(g.started).Round(time.Millisecond).String())
	g.notify(daemon.SdNotifyReady)

	var cause error
	select {
	case <-ctx.Done():
		g.log.Info("gateway is stopping")
	case cause = <-g.failed:
	}
	g.notify(daemon.SdNotifyStopping)
	err := errors.Join(cause, opened.close(context.WithoutCancel(ctx)))
	if err == nil {
		g.log.Info("gateway has stopped: all that was accepted is on local disk")
	}
	return err
}

// notify tells systemd, if it started us.
func (g *Gateway) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		g.log.Warn("cannot tell systemd", "state", state, "error", err)
	}
}

// stages are the steps of the package comment.
func (g *Gateway) stages() []stage {
	return []stage{
		{"data directory", g.openDataDir, func(context.Context) error { return g.dir.close() }},
		{"object store", g.openStore, func(context.Context) error { return g.raw.Close() }},
		{"index", g.openIndex, func(context.Context) error { return g.db.Close() }},
		{"cache", g.openCache, func(context.Context) error { return g.cache.Close() }},
		{"peers", g.openPeers, func(ctx context.Context) error { return g.peering.close(ctx) }},
		{"iSCSI server", g.openServer, nil},
		{"volumes", g.openVolumes, func(ctx context.Context) error { return g.closeVolumes(ctx) }},
		{"snapshots", g.openSnapshots, g.closeSnapshots},
		{"portal", g.openPortal, g.closePortal},
		{"API", g.openAPI, g.closeAPI},
	}
}

func (g *Gateway) openDataDir(context.Context) (err error) {
	if g.dir, err = openDataDir(g.cfg.DataDir); err != nil {
		return err
	}
	rules, err := openAccess(g.dir.join("access.json"))
	if err != nil {
		return errors.Join(err, g.dir.close())
	}
	notes, err := openImports(g.dir.join("imports"))
	if err != nil {
		return errors.Join(err, g.dir.close())
	}
	g.volumes = &volumes{
		log: g.log, gateway: g.dir.id, portal: g.portalAddress, access: rules, imports: notes,
		own: map[string]*entry{}, standing: map[string]*volume.Head{}, busy: map[string]struct{}{}, space: func(uuid.UUID) *api.Space { return nil }, resized: tuneMemory,
	}
	return nil
}

func (g *Gateway) openStore(ctx context.Context) (err error) {
	if g.raw, err = storeurl.Open(ctx, g.cfg.Store); err != nil {
		return err
	}
	local, err := stored.Owned(g.dir.join("stored"), g.dir.id.String())
	if err != nil {
		return errors.Join(err, g.raw.Close())
	}
	patience := probeTime
	if len(local) > 0 {
		patience = probeTimeStored
	}
	if err := probeStore(ctx, g.raw, patience, g.log); err != nil {
		if len(local) == 0 || !unreachable(err) {
			return errors.Join(err, g.raw.Close())
		}
		g.orphans = local
		g.log.Warn("the object store cannot be reached: stored volumes are served all the same, the others when it is back", "error", err)
	}
	g.store, g.counter = decorate(g.raw, g.log)
	if len(g.orphans) > 0 {
		return nil // rejoin asks
	}
	if err := volume.ClaimFormat(ctx, g.store, createdBy()); err != nil {
		return errors.Join(err, g.raw.Close())
	}
	return nil
}

func (g *Gateway) openIndex(context.Context) (err error) {
	g.db, err = blockmap.OpenAnew(g.dir.join("index"), g.log)
	return err
}

func (g *Gateway) openCache(context.Context) (err error) {
	g.cache, err = cache.Open(cache.Options{
		Dir: g.dir.join("segments"), DB: g.db, Source: g.store, Bytes: int64(g.cfg.Cache), Logger: g.log,
	})
	g.buffer = volume.NewBuffer(int64(g.cfg.UploadBuffer))
	if err == nil {
		g.checkSpace()
	}
	return err
}

// checkSpace warns if the disk is smaller than what the configuration lets us use: a full
// disk stops writes long before a full upload buffer would slow them down.
func (g *Gateway) checkSpace() {
	var fs unix.Statfs_t
	if err := unix.Statfs(g.cfg.DataDir, &fs); err != nil {
		g.log.Warn("cannot tell how large the disk of the data directory is", "error", err)
		return
	}
	free := int64(fs.Bavail)*fs.Bsize + g.cache.Stats().Bytes
	if want := int64(g.cfg.UploadBuffer + g.cfg.Cache); free < want {
		g.log.Warn("the disk of the data directory has less room than the upload buffer and the cache may take: make them smaller, or the disk larger",
			"room_bytes", free, "upload-buffer", g.cfg.UploadBuffer.String(), "cache", g.cfg.Cache.String())
	}
}

func (g *Gateway) openPeers(ctx context.Context) (err error) {
	g.peering, err = openPeering(ctx, g.cfg, g.dir.join("mirror"), g.log, g.fail)
	return err
}

func (g *Gateway) openServer(context.Context) error {
	g.server = target.New(target.Options{
		Authorizer: g.volumes, Logger: g.log,
		Limits: target.Limits{PingAfter: g.cfg.InitiatorTimeout / 2},
	})
	g.exports = newTargets(g.server, g.dir.path, g.access, g.log)
	return nil
}

func (g *Gateway) openVolumes(ctx context.Context) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	g.bucket = &bucket{store: g.store, opts: g.volumeOptions(boot), dir: g.dir.join("stored")}
	if len(g.orphans) > 0 {
		g.attachStored(ctx, g.orphans)
		g.rejoin() //nolint:contextcheck // in the background
	} else if err := g.attachOwn(ctx); err != nil {
		return errors.Join(err, g.closeAll(ctx))
	}
	if err := g.checkPortal(g.cfg.ISCSIListen); err != nil {
		return errors.Join(err, g.closeAll(ctx))
	}
	g.standby = newStandby(g.volumes, g.cfg.StandbyFor, func(ctx context.Context, id uuid.UUID) (*volume.Head, error) {
		return volume.HeadOf(ctx, g.store, id)
	}, g.log)
	if g.cfg.Group != "" {
		g.standbys.start(g.standby.run) //nolint:contextcheck // in the background
	}
	return nil
}

func (g *Gateway) closeVolumes(ctx context.Context) error {
	g.rejoins.end()
	g.standbys.end()
	g.hydrations.end()
	g.settle(ctx, g.cfg.DrainTimeout)
	return g.closeAll(ctx)
}

func (g *Gateway) volumeOptions(boot string) volume.Options {
	return volume.Options{
		Store: g.store, DB: g.db, Cache: g.cache, Buffer: g.buffer,
		Gateway: g.dir.id.String(), Host: g.host, Boot: boot, Codec: segment.CodecS2, Logger: g.log,
		Lease: g.cfg.leaseTerm(), Group: g.cfg.Group, Mirror: g.peering.mirror(), Received: g.peering.store,
	}
}

func (g *Gateway) openSnapshots(context.Context) error {
	catalogue := snapshot.NewCatalogue(g.store)
	g.garbage = newCollector(gc.New(gc.Options{ //nolint:contextcheck // it lives as long as the gateway
		Store: object.Pace(g.store, collectRest), Snapshots: snapshotRoots(catalogue), Horizon: collectHorizon, Codec: segment.CodecS2, Logger: g.log,
	}), collectHorizon, g.sentBytes, g.log)
	g.deleted, g.space = g.garbage.soon, g.garbage.space
	view := func(ctx context.Context, root blockmap.Root, size int64) (*volume.View, error) {
		return volume.OpenView(ctx, root, size, g.volumeOptions(""))
	}
	measure := func(ctx context.Context, root blockmap.Root, others []blockmap.Root) (int64, error) {
		return snapshot.Frees(ctx, g.store, root, others)
	}
	g.snapshots = newSnapshots(g.volumes, catalogue, view, measure, g.log)
	g.sweepMoments() //nolint:contextcheck // in the background
	g.inspector = newInspector(g.store, catalogue, g.volumes, g.log)
	g.scrubber = newScrubber(scrub.Options{Store: g.store, Cache: g.cache, Published: g.published, Logger: g.log})
	g.schedules = &schedules{newScheduler(snapshot.NewSchedules(g.store), scheduledSnapshots{g.snapshots}, g.log), g.bucket} //nolint:contextcheck // likewise
	return nil
}

// closeSnapshots gives up what is under way.
func (g *Gateway) closeSnapshots(context.Context) error {
	g.endSchedules()
	g.endInspections()
	g.endScrubs()
	g.endJobs()
	g.garbage.close()
	return nil
}

func (g *Gateway) openPortal(ctx context.Context) (err error) {
	g.address, err = g.server.Listen(ctx, g.cfg.ISCSIListen)
	return err
}

// closePortal lets initiators log out. That some did not in time is no failure: all they
// were promised is kept.
func (g *Gateway) closePortal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.DrainTimeout)
	defer cancel()
	if err := g.server.Shutdown(ctx); err != nil {
		g.log.Warn("sessions were closed that initiators had not ended", "error", err)
	}
	return nil
}

func (g *Gateway) openAPI(ctx context.Context) (err error) {
	g.api, err = openListeners(ctx, g.cfg, api.Handler(g, g.log), g.log, g.fail)
	return err
}

func (g *Gateway) closeAPI(ctx context.Context) error { return g.api.close(ctx) }

// fail ends Run with an error of a part that should not have ended.
func (g *Gateway) fail(err error) {
	select {
	case g.failed <- err:
	default: // the first one ends it already
	}
}

// portalAddress is where initiators reach us.
func (g *Gateway) portalAddress() string {
	if g.address == nil {
		return g.cfg.ISCSIListen
	}
	return reachable(g.address)
}

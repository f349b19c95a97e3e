package power

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"sluice/cache"
	"sluice/object"
	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
	"sluice/volume/stored"
)

const (
	size       = 2 << 20 // of the volume, in bytes
	name       = "vol"
	cacheBytes = 40 << 20 // a few segments: files are evicted, and used again
)

// gateway is what a volume needs around it, as the appliance makes it.
type gateway struct {
	db    *badger.DB
	cache *cache.Cache
	opts  volume.Options
	disks string // where the data of stored volumes is
}

// unitOf returns the length in bytes of what is old or new, never in part, after a loss of power: a block of a cached volume, and of
// a stored one a sector, as of any disk.
func unitOf(mode volume.Mode) int {
	if mode == volume.Stored {
		return 512
	}
	return segment.BlockSize
}

// disk is a volume of either mode.
type disk interface {
	Read(ctx context.Context, p []byte, off int64, wait bool) error
	Write(ctx context.Context, bufs [][]byte, offs []int64, wait bool) error
	Zero(ctx context.Context, off, n int64, unmap bool) error
	Flush(ctx context.Context) error
	Close() error
	Detach(ctx context.Context) error
}

func openGateway(dir, boot string, store object.Store) (*gateway, error) {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SLUICE_CRASHFS_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, dir := range []string{dir, filepath.Join(dir, "stored")} {
		if err := makeDir(dir); err != nil {
			return nil, err
		}
	}
	db, err := blockmap.OpenAnew(filepath.Join(dir, "index"), log)
	if err != nil {
		return nil, err
	}
	c, err := cache.Open(cache.Options{Dir: filepath.Join(dir, "segments"), DB: db, Source: store, Bytes: cacheBytes, Logger: log})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &gateway{db: db, cache: c, opts: volume.Options{
		Store: store, DB: db, Cache: c, Buffer: volume.NewBuffer(256 << 20), Gateway: "gateway", Host: "test", Boot: boot,
		Logger: log, SealAfter: 200 * time.Millisecond,
	}, disks: filepath.Join(dir, "stored")}, nil
}

// makeDir makes the data directory so that it stays.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

func (g *gateway) close() error { return errors.Join(g.cache.Close(), g.db.Close()) }

func (g *gateway) open(ctx context.Context) (disk, error) {
	head, err := volume.Find(ctx, g.opts.Store, name)
	if err != nil {
		return nil, err
	}
	if head.Mode == volume.Stored {
		o := g.opts
		return stored.Open(ctx, head.ID, stored.Options{
			Store: o.Store, Cache: o.Cache, Dir: g.disks, Gateway: o.Gateway, Host: o.Host, Boot: o.Boot, Logger: o.Logger, Patience: time.Minute,
		}, false)
	}
	return volume.Open(ctx, head.ID, g.opts, false)
}

// snapshot brings this moment of a volume to the bucket.
func snapshot(ctx context.Context, d disk) (root blockmap.Root, err error) {
	var cut interface {
		Finish(ctx context.Context) (blockmap.Root, error)
		Close()
	}
	switch v := d.(type) {
	case *volume.Volume:
		hold, err := v.Hold(ctx)
		if err != nil {
			return root, err
		}
		cut = hold.Cut()
		hold.Release()
	case *stored.Volume:
		hold, err := v.Hold(ctx)
		if err != nil {
			return root, err
		}
		cut = hold.Cut()
		hold.Release()
	}
	defer cut.Close()
	return cut.Finish(ctx)
}

// readAll returns what every unit of the volume holds.
func readAll(ctx context.Context, d disk, unit int) ([]value, error) {
	p := make([]byte, size)
	if err := d.Read(ctx, p, 0, true); err != nil {
		return nil, err
	}
	return parseAll(p, unit)
}

// readRoot returns what every unit has in a snapshot.
func (g *gateway) readRoot(ctx context.Context, root blockmap.Root, unit int) ([]value, error) {
	view, err := volume.OpenView(ctx, root, size, g.opts)
	if err != nil {
		return nil, err
	}
	p := make([]byte, size)
	if err := view.Read(ctx, p, 0); err != nil {
		return nil, err
	}
	return parseAll(p, unit)
}

func parseAll(p []byte, unit int) ([]value, error) {
	values := make([]value, len(p)/unit)
	zeros := make([]byte, unit)
	for b := range values {
		block := p[b*unit:][:unit]
		if bytes.Equal(block, zeros) {
			continue
		}
		var err error
		if values[b], err = parse(block); err != nil {
			return nil, fmt.Errorf("unit %d: %w", b, err)
		}
	}
	return values, nil
}

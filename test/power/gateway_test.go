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
)

const (
	blocks     = 512 // of the volume
	name       = "vol"
	cacheBytes = 40 << 20 // a few segments: files are evicted, and used again
)

// gateway is what a volume needs around it, as the appliance makes it.
type gateway struct {
	db    *badger.DB
	cache *cache.Cache
	opts  volume.Options
}

func openGateway(dir, boot string, store object.Store) (*gateway, error) {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SLUICE_CRASHFS_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	index := filepath.Join(dir, "index")
	db, err := blockmap.OpenDB(index, log)
	if errors.Is(err, blockmap.ErrCorrupt) { // all of it can be made again
		if err := os.RemoveAll(index); err != nil {
			return nil, err
		}
		db, err = blockmap.OpenDB(index, log)
	}
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
	}}, nil
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

func (g *gateway) open(ctx context.Context) (*volume.Volume, error) {
	head, err := volume.Find(ctx, g.opts.Store, name)
	if err != nil {
		return nil, err
	}
	return volume.Open(ctx, head.ID, g.opts, false)
}

// readAll returns what every block of the volume holds.
func readAll(ctx context.Context, v *volume.Volume) ([]value, error) {
	p := make([]byte, blocks*segment.BlockSize)
	if err := v.Read(ctx, p, 0, true); err != nil {
		return nil, err
	}
	values := make([]value, blocks)
	zeros := make([]byte, segment.BlockSize)
	for b := range values {
		block := p[b*segment.BlockSize:][:segment.BlockSize]
		if bytes.Equal(block, zeros) {
			continue
		}
		var err error
		if values[b], err = parse(block); err != nil {
			return nil, fmt.Errorf("block %d: %w", b, err)
		}
	}
	return values, nil
}

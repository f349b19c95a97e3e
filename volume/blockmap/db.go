package blockmap

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// OpenDB opens the index of a gateway, or makes a new one, with settings that keep its
// memory small (about 60 MB whatever the size of the index). One index serves all volumes of
// a gateway, and others' keys too: those of this package begin with 'b'.
//
// An index that exists but cannot be read is ErrCorrupt: see OpenAnew. An error of another kind (permissions, a full disk, another process that
// has it open) says nothing about the index.
func OpenDB(dir string, logger *slog.Logger) (*badger.DB, error) {
	db, err := badger.Open(dbOptions(dir).WithLogger(bridge{logger}))
	if err == nil {
		return db, nil
	}
	if environmental(err) {
		return nil, fmt.Errorf("opening the index in %s: %w", dir, err)
	}
	return nil, fmt.Errorf("opening the index in %s: %w: %w", dir, ErrCorrupt, err)
}

// OpenAnew is OpenDB, but where the index cannot be read, as after a loss of power, it makes a new one: all that is in it follows from local segments
// and the bucket. The old one is moved aside, at once and for good: one of which only a part was removed could look like an older one.
func OpenAnew(dir string, logger *slog.Logger) (*badger.DB, error) {
	db, err := OpenDB(dir, logger)
	if !errors.Is(err, ErrCorrupt) {
		return db, err
	}
	aside := fmt.Sprintf("%s.damaged-%d", dir, time.Now().UnixMilli())
	logger.Error("the index is damaged: it is made anew, and the old one kept, to be removed when nobody misses it", "error", err, "path", aside)
	if err := os.Rename(dir, aside); err != nil {
		return nil, fmt.Errorf("moving a damaged index aside: %w", err)
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("moving a damaged index aside: %w", err)
	}
	if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
		return nil, fmt.Errorf("moving a damaged index aside: %w", err)
	}
	return OpenDB(dir, logger)
}

func dbOptions(dir string) badger.Options {
	o := badger.DefaultOptions(dir)
	o.MemTableSize = 8 << 20
	o.NumMemtables = 2
	o.NumLevelZeroTables = 2
	o.NumLevelZeroTablesStall = 6
	o.BlockCacheSize = 4 << 20
	o.IndexCacheSize = 16 << 20
	o.ValueLogFileSize = 32 << 20
	// Pages (at most 7.2 KiB) stay in the LSM tree. In the value log they would be
	// written twice and leave garbage that only a rewrite of whole files gives back; and
	// the tree's log alone keeps the order of writes.
	o.ValueThreshold = 64 << 10
	// A compaction fills up to thirteen tables at once, each in a buffer of twice its size: tables
	// that grow from level to level would take hundreds of megabytes.
	o.BaseTableSize = 1 << 20
	o.TableSizeMultiplier = 1
	o.BaseLevelSize = 16 << 20
	o.Compression = options.None
	// A key damaged on disk would look like a key that is not there, and an older value
	// would take its place.
	o.ChecksumVerificationMode = options.OnBlockRead
	o.NumCompactors = 2
	o.DetectConflicts = false
	o.MetricsEnabled = false
	o.SyncWrites = false
	return o
}

// environmental tells errors that have a cause outside the index from those that say
// that the index is damaged. When in doubt it is damaged: it can be rebuilt.
func environmental(err error) bool {
	for _, e := range []error{
		fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE,
		syscall.ENOMEM, syscall.ENOTDIR, syscall.EAGAIN, syscall.EWOULDBLOCK, syscall.EINTR,
	} {
		// badger does not wrap every cause.
		if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return strings.Contains(err.Error(), "directory lock")
}

// bridge passes badger's messages on. What badger calls information is detail here.
type bridge struct{ log *slog.Logger }

func (b bridge) Errorf(f string, a ...any)   { b.log.Error(text(f, a)) }
func (b bridge) Warningf(f string, a ...any) { b.log.Warn(text(f, a)) }
func (b bridge) Infof(f string, a ...any)    { b.log.Debug(text(f, a)) }
func (b bridge) Debugf(f string, a ...any)   { b.log.Debug(text(f, a)) }

func text(f string, a []any) string { return "index: " + strings.TrimSpace(fmt.Sprintf(f, a...)) }

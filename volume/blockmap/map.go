package blockmap

import (
	"context"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"sluice/object"
	"sluice/volume/segment"
)

// MaxBlocks is the greatest number of blocks in a volume: 32 TiB.
const MaxBlocks = 1 << 33

var (
	// ErrCorrupt says that the local copy of the map is damaged. Drop it and make it
	// again from a root in the bucket and the segments behind it.
	ErrCorrupt = errors.New("the local block map is damaged")
	// ErrDamaged says that an object in the bucket does not hold what a root says.
	ErrDamaged = errors.New("a block map object is damaged")
	// ErrSuperseded says that a later Freeze took the place of this one.
	ErrSuperseded = errors.New("a later freeze of the block map took the place of this one")
)

// Options are what a Map needs.
type Options struct {
	// CacheBytes bounds the decoded pages in memory; 0 means 64 MiB.
	CacheBytes int64
	// Store is where the roots are that LoadRoot and earlier WriteRoots left.
	Store object.Store
}

// Root is the place of a root in the bucket.
type Root struct {
	Key      string     `json:"key"`
	Offset   int64      `json:"offset"`
	Length   int64      `json:"length"`
	CRC      uint32     `json:"crc"`
	Position segment.ID `json:"position"` // every record up to this segment's last is in it
}

// Stats describe a map.
type Stats struct {
	Pages, CachedBytes int64
}

var errStub = errors.New("blockmap: not written yet")

// Map is the block map of one volume.
type Map struct{}

// Frozen is the map as it was at one moment.
type Frozen struct{ pos segment.ID }

func Open(db *badger.DB, vol [16]byte, opts Options) (*Map, error) { return nil, errStub }
func Drop(db *badger.DB, vol [16]byte) error                       { return errStub }
func (m *Map) Lookup(ctx context.Context, block uint64, out []segment.Entry, wait bool) error {
	return errStub
}
func (m *Map) Set(ctx context.Context, block uint64, first segment.Name, crcs []uint32) error {
	return errStub
}
func (m *Map) Clear(ctx context.Context, block, count uint64) error           { return errStub }
func (m *Map) Load(ctx context.Context, block, count uint64, wait bool) error { return errStub }
func (m *Map) LoadNodes(ctx context.Context, block, count uint64) error       { return errStub }
func (m *Map) Extent(ctx context.Context, block uint64) (mapped bool, end uint64, err error) {
	return false, 0, errStub
}
func (m *Map) NeedsCheckpoint() bool                                 { return false }
func (m *Map) Checkpoint(ctx context.Context, pos segment.ID) error  { return errStub }
func (m *Map) Position() (segment.ID, bool)                          { return 0, false }
func (m *Map) DirtyRootBytes() int64                                 { return 0 }
func (m *Map) LoadRoot(ctx context.Context, root Root) error         { return errStub }
func (m *Map) Freeze(pos segment.ID) *Frozen                         { return &Frozen{pos} }
func (m *Map) Stats() Stats                                          { return Stats{} }
func (m *Map) Close() error                                          { return errStub }
func (f *Frozen) Position() segment.ID                               { return f.pos }
func (f *Frozen) Done()                                              {}
func (f *Frozen) WriteRoot(ctx context.Context, store object.Store, key string) (Root, error) {
	return Root{}, errStub
}

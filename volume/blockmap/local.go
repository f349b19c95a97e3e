package blockmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"sluice/object"
	"sluice/volume/segment"
)

// Kinds of keys in badger: 'b', the volume, the kind, a big-endian number.
const (
	kindMeta  = 'm' // position and root
	kindPage  = 'p' // page number -> page
	kindIndex = 'n' // node number, CRC32C of the node -> copy of a node in the bucket
	kindDirty = 'd' // node number -> bitmap of pages that the root does not have
	kindCopy  = 'f' // page number -> page as it was at the last Freeze
)

const prefixLen = 1 + 16

// local is a volume's part of badger. Every value ends with a CRC32C of the rest.
type local struct {
	db     *badger.DB
	prefix [prefixLen]byte
}

func newLocal(db *badger.DB, vol [16]byte) local {
	l := local{db: db}
	l.prefix[0] = 'b'
	copy(l.prefix[1:], vol[:])
	return l
}

func (l *local) kind(k byte) []byte { return append(l.prefix[:prefixLen:prefixLen], k) }

func (l *local) key(k byte, num uint32) []byte { return l.appendKey(nil, k, num) }

func (l *local) appendKey(dst []byte, k byte, num uint32) []byte {
	dst = append(dst, l.prefix[:]...)
	return binary.BigEndian.AppendUint32(append(dst, k), num)
}

func (l *local) indexKey(num uint16, crc uint32) []byte {
	return binary.BigEndian.AppendUint32(l.key(kindIndex, uint32(num)), crc)
}

// number returns the number in a key that l made.
func number(key []byte) uint32 {
	if len(key) < prefixLen+5 {
		return math.MaxUint32 // not one of ours; no page and no node has this number
	}
	return binary.BigEndian.Uint32(key[prefixLen+1:])
}

// seal completes the value that begins at dst[from:].
func seal(dst []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[from:]))
}

func unseal(val []byte) ([]byte, error) {
	n := len(val) - 4
	if n < 0 || checksum(val[:n]) != binary.LittleEndian.Uint32(val[n:]) {
		return nil, errors.New("checksum mismatch")
	}
	return val[:n], nil
}

// get returns a value, or nil if there is none.
func (l *local) get(key []byte) (val []byte, err error) {
	err = l.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if err != nil {
			return err
		}
		return item.Value(func(b []byte) error {
			b, err := unseal(b)
			val = append([]byte(nil), b...)
			return err
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the index: %w: key %x: %w", ErrCorrupt, key, err)
	}
	return val, nil
}

// has tells whether there is a key.
func (l *local) has(key []byte) (found bool, err error) {
	err = l.db.View(func(tx *badger.Txn) error {
		_, err := tx.Get(key)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the index: %w: key %x: %w", ErrCorrupt, key, err)
	}
	return true, nil
}

// put stores a value that is not sealed yet.
func (l *local) put(key, val []byte) error {
	val = seal(append([]byte(nil), val...), 0)
	err := l.db.Update(func(tx *badger.Txn) error { return tx.Set(key, val) })
	if err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	return nil
}

// keys calls f with every key that begins with prefix, until f returns false. The key is
// good until f returns.
func (l *local) keys(prefix []byte, f func(key []byte) bool) {
	_ = l.db.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if !f(it.Item().Key()) {
				break
			}
		}
		return nil
	})
}

// remove deletes every key that begins with prefix and for which drop, unless it is nil,
// is true.
func (l *local) remove(prefix []byte, drop func(key []byte) bool) error {
	wb := l.db.NewWriteBatch()
	defer wb.Cancel()
	var err error
	l.keys(prefix, func(key []byte) bool {
		if drop == nil || drop(key) {
			err = wb.Delete(append([]byte(nil), key...))
		}
		return err == nil
	})
	if err == nil {
		err = wb.Flush()
	}
	if err != nil {
		return fmt.Errorf("deleting from the index: %w", err)
	}
	return nil
}

// sync makes all that was written so far durable. badger's own Sync covers the newest of
// its logs only; those whose tables are still being written are synced here.
func (l *local) sync() error {
	if err := l.db.Sync(); err != nil {
		return fmt.Errorf("syncing the index: %w", err)
	}
	logs, err := filepath.Glob(filepath.Join(l.db.Opts().Dir, "*.mem"))
	if err != nil || l.db.Opts().InMemory {
		return err
	}
	for _, name := range logs {
		if err := syncFile(name); err != nil {
			return fmt.Errorf("syncing the index: %w", err)
		}
	}
	return nil
}

// syncFile syncs a log, which may be gone: then its table is durable.
func syncFile(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// meta is what is stored about the map as a whole.
type meta struct {
	position    segment.ID
	hasPosition bool
	dirtyBytes  int64      // estimate of the size of the pages that the root does not have
	root        *rootTable // nil if there is none
}

// rootTable is a root that was read or written, with its place.
type rootTable struct {
	Root
	*index
}

const (
	hasPosition = 1 << iota
	hasRoot
)

func (l *local) saveMeta(m *meta) error {
	flags := byte(0)
	if m.hasPosition {
		flags |= hasPosition
	}
	if m.root != nil {
		flags |= hasRoot
	}
	b := []byte{metaVersion, flags}
	b = binary.LittleEndian.AppendUint64(b, uint64(m.position))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.dirtyBytes))
	if r := m.root; r != nil {
		b = append(binary.AppendUvarint(b, uint64(len(r.Key))), r.Key...)
		b = binary.LittleEndian.AppendUint64(b, uint64(r.Offset))
		b = appendIndex(b, r.index)
	}
	return l.put(l.kind(kindMeta), b)
}

// loadMeta returns a meta without position and root if none is stored.
func (l *local) loadMeta() (*meta, error) {
	b, err := l.get(l.kind(kindMeta))
	if err != nil || b == nil {
		return &meta{}, err
	}
	m, err := decodeMeta(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m, nil
}

func decodeMeta(b []byte) (*meta, error) {
	m := &meta{}
	r := reader{b: b}
	r.version(metaVersion)
	flags := r.byte()
	if r.err == nil && flags&^(hasPosition|hasRoot) != 0 {
		r.err = errors.New("it has unknown flags")
	}
	m.hasPosition = flags&hasPosition != 0
	m.position = segment.ID(r.uint64())
	m.dirtyBytes = int64(r.uint64())
	if r.err == nil && flags&hasRoot != 0 {
		m.root, r.err = r.root()
	}
	if r.done(); r.err != nil {
		return nil, fmt.Errorf("decoding the map's state: %w", r.err)
	}
	return m, nil
}

// root reads a root with its place, up to the end.
func (r *reader) root() (*rootTable, error) {
	key := string(r.bytes(int(r.uvarint(object.MaxKey))))
	off := int64(r.uint64())
	if r.err != nil {
		return nil, r.err
	}
	if err := object.CheckKey(key); err != nil {
		return nil, err
	}
	x, err := decodeIndex(kindRoot, key, r.b)
	if err != nil {
		return nil, err
	}
	root := Root{Key: key, Offset: off, Length: int64(len(r.b)), CRC: checksum(r.b), Position: segment.ID(x.number)}
	r.b = nil
	return &rootTable{root, x}, nil
}

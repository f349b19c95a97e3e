package blockmap

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// nodeBits is a bitmap of the pages of one index node.
type nodeBits [nodeWords]uint64

// saveDirty stores which pages the root does not have. A page too many does no harm: it
// is written to the next root once more.
func (m *Map) saveDirty() error {
	bits := map[uint32]*nodeBits{}
	m.eachDirty(func(word, b uint64) {
		n := bits[uint32(word/nodeWords)]
		if n == nil {
			n = new(nodeBits)
			bits[uint32(word/nodeWords)] = n
		}
		n[word%nodeWords] |= b
	})
	wb := m.local.db.NewWriteBatch()
	defer wb.Cancel()
	var err error
	m.local.keys(m.local.kind(kindDirty), func(key []byte) bool {
		if bits[number(key)] == nil {
			err = wb.Delete(append([]byte(nil), key...))
		}
		return err == nil
	})
	for num, n := range bits {
		if err != nil {
			break
		}
		val := []byte{dirtyVersion}
		for _, w := range n {
			val = binary.LittleEndian.AppendUint64(val, w)
		}
		err = wb.Set(m.local.key(kindDirty, num), seal(val, 0))
	}
	if err == nil {
		err = wb.Flush()
	}
	if err != nil {
		return fmt.Errorf("saving which map pages are new: %w", err)
	}
	return nil
}

// eachDirty calls f for every bitmap of pages that the root does not have: those changed
// since the last Freeze, and those of a frozen state that is not a root yet. A word may
// come twice. f runs with a shard locked.
func (m *Map) eachDirty(f func(word, bits uint64)) {
	for i, s := range m.shards {
		s.mu.Lock()
		for w, b := range s.dirty {
			f(w, b)
		}
		if s.frozen != nil {
			for w, b := range s.frozen.words[i] {
				f(w, b)
			}
		}
		s.mu.Unlock()
	}
}

// restoreDirty reads what saveDirty stored.
func (m *Map) restoreDirty() error {
	err := m.local.db.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.IteratorOptions{Prefix: m.local.kind(kindDirty), PrefetchValues: true, PrefetchSize: 16})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			num := uint64(number(it.Item().Key()))
			if err := it.Item().Value(func(b []byte) error { return m.addDirty(num, b) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: reading which map pages are new: %w", ErrCorrupt, err)
	}
	return nil
}

func (m *Map) addDirty(num uint64, val []byte) error {
	b, err := unseal(val)
	if err != nil {
		return err
	}
	r := reader{b: b}
	r.version(dirtyVersion)
	if r.err == nil && num >= maxNodes {
		return errors.New("no such index node")
	}
	for i := range uint64(nodeWords) {
		word := num*nodeWords + i
		if w := r.uint64(); w != 0 {
			m.shard(word * 64).dirty[word] = w
		}
	}
	r.done()
	return r.err
}

package blockmap

import (
	"context"
	"fmt"
	"syscall"

	"sluice/volume/segment"
)

const (
	// chunkBytes and chunkPages bound what is encoded before it is handed to badger.
	chunkBytes = 2 << 20
	chunkPages = 8192

	// replayBlocks is how many blocks a replay may have to set before NeedsCheckpoint
	// asks for a checkpoint: a second or two.
	replayBlocks = 2 << 20
)

// makeRoom keeps memory bounded: when too many pages wait to be saved, it saves them.
func (m *Map) makeRoom(ctx context.Context, wait bool) error {
	if m.limbo.Load()+m.copies.Load() <= m.hardLimit {
		return nil
	}
	if !wait {
		return syscall.EAGAIN
	}
	m.saveMu.Lock()
	defer m.saveMu.Unlock()
	if m.limbo.Load()+m.copies.Load() <= m.hardLimit { // done by another meanwhile
		return nil
	}
	return m.saveOverflow(ctx)
}

// relieve saves pages in the background when some wait to be saved. If that fails they stay
// where they are, and makeRoom meets the error.
func (m *Map) relieve(ctx context.Context) {
	if m.limbo.Load()+m.copies.Load() <= m.softLimit || m.closed.Load() || !m.saving.CompareAndSwap(false, true) {
		return
	}
	m.background.Go(func() {
		defer m.saving.Store(false)
		m.saveMu.Lock()
		defer m.saveMu.Unlock()
		if err := m.saveOverflow(ctx); err != nil {
			m.stats.saveErrors.Add(1)
		}
	})
}

// saveOverflow saves the pages in limbo and the frozen copies. They are of many callers, so
// it goes on when ctx ends. The caller holds saveMu.
func (m *Map) saveOverflow(ctx context.Context) error {
	var list []uint32
	for _, s := range m.shards {
		s.mu.Lock()
		for no := range s.limbo {
			list = append(list, uint32(no))
		}
		s.mu.Unlock()
	}
	if err := m.savePages(context.WithoutCancel(ctx), list); err != nil {
		return err
	}
	return m.spillCopies()
}

// savePages writes those of the pages that are in memory and not saved. The caller holds saveMu.
func (m *Map) savePages(ctx context.Context, list []uint32) (err error) {
	arena := make([]byte, 0, min(chunkBytes, len(list)*maxPageBytes)+2*maxPageBytes)
	for len(list) > 0 && err == nil {
		if err = ctx.Err(); err == nil {
			list, err = m.saveChunk(list, arena)
		}
	}
	if err != nil {
		return fmt.Errorf("saving map pages: %w", err)
	}
	return nil
}

// saveChunk saves the first pages of list and returns the rest. A page is locked only
// while it is encoded.
func (m *Map) saveChunk(list []uint32, arena []byte) (rest []uint32, err error) {
	wb := m.local.db.NewWriteBatch()
	defer wb.Cancel()
	var chunk []*page
	for len(list) > 0 && len(arena) < chunkBytes && len(chunk) < chunkPages && err == nil {
		no := list[0]
		list = list[1:]
		s := m.shard(uint64(no))
		s.mu.Lock()
		p := s.peek(uint64(no))
		if p == nil || !p.unsaved {
			s.mu.Unlock()
			continue
		}
		p.unsaved, p.saving = false, true
		forget := p.n == 0 && s.frozen == nil && !m.inRoot(no)
		from := len(arena)
		arena = m.local.appendKey(arena, kindPage, no)
		to := len(arena)
		arena = seal(appendPage(arena, p), to)
		s.mu.Unlock()
		chunk = append(chunk, p)
		if forget {
			err = wb.Delete(arena[from:to:to])
		} else {
			err = wb.Set(arena[from:to:to], arena[to:])
		}
	}
	if err == nil {
		err = wb.Flush()
	}
	if err == nil {
		m.stats.saved.Add(int64(len(chunk)))
		m.stats.savedBytes.Add(int64(len(arena)))
	}
	for _, p := range chunk {
		m.settle(p, err)
	}
	return list, err
}

// inRoot tells whether the bucket may have something for the page. If so, or if it may get
// something because a frozen state is under way, an empty page is stored as such;
// else the page would come back from there.
func (m *Map) inRoot(no uint32) bool {
	_, ok := m.root.Load().find(int(no / nodePages))
	return ok
}

// settle notes how the saving of a page ended.
func (m *Map) settle(p *page, err error) {
	no := uint64(p.no)
	s := m.shard(no)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.saving = false
	if err != nil {
		p.unsaved = true
	}
	if !p.unsaved && s.limbo[no] == p {
		delete(s.limbo, no)
		m.limbo.Add(-p.size())
	}
}

// NeedsCheckpoint tells whether so many blocks were set since the last checkpoint that
// replaying them would take more than a second or two.
func (m *Map) NeedsCheckpoint() bool {
	n := int64(0)
	for _, s := range m.shards {
		s.mu.Lock()
		n += s.changes
		s.mu.Unlock()
	}
	return n > replayBlocks
}

// Checkpoint makes the map durable in badger, and then the position: pos says that all
// records up to that segment have been Set and Cleared. Set may go on meanwhile. After an error the
// last checkpoint still stands.
func (m *Map) Checkpoint(ctx context.Context, pos segment.ID) error {
	m.saveMu.Lock()
	defer m.saveMu.Unlock()
	var list []uint32
	for _, s := range m.shards {
		list = s.listUnsaved(list)
	}
	if err := m.savePages(ctx, list); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := m.saveDirty(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	// Nothing tells the order in which badger's files reach the disk. So the pages go
	// first, and only then the claim that they are there.
	if err := m.local.sync(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := m.saveState(&meta{position: pos, hasPosition: true, root: m.root.Load()}); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	m.frozenMu.Lock()
	m.position, m.hasPosition = pos, true
	m.frozenMu.Unlock()
	m.stats.checkpoints.Add(1)
	return nil
}

// listUnsaved appends the numbers of the pages that a checkpoint has to save.
func (s *shard) listUnsaved(list []uint32) []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = 0
	for no := range s.limbo {
		list = append(list, uint32(no))
	}
	for _, p := range s.lru.Values() {
		if p.unsaved {
			list = append(list, p.no)
		}
	}
	return list
}

// saveState stores position and root, durably.
func (m *Map) saveState(st *meta) error {
	st.dirtyBytes = m.dirtyBytes.Load()
	if st.root.Key == "" {
		st.root = nil
	}
	if err := m.local.saveMeta(st); err != nil {
		return err
	}
	return m.local.sync()
}

// spillCopies moves frozen copies from memory to badger. The caller holds saveMu.
func (m *Map) spillCopies() error {
	for _, s := range m.shards {
		s.mu.Lock()
		frozen, list := s.frozen, make(map[uint64][]byte, len(s.copies))
		for no, c := range s.copies {
			if len(c) > 0 {
				list[no] = c
			}
		}
		s.mu.Unlock()
		if len(list) == 0 {
			continue
		}
		wb := m.local.db.NewWriteBatch()
		var err error
		for no, c := range list {
			if err = wb.Set(m.local.key(kindCopy, uint32(no)), c); err != nil {
				break
			}
		}
		if err == nil {
			err = wb.Flush()
		}
		wb.Cancel()
		if err != nil {
			return fmt.Errorf("saving frozen map pages: %w", err)
		}
		s.mu.Lock()
		for no, c := range list {
			if s.frozen == frozen && len(s.copies[no]) > 0 {
				s.copies[no] = spilled
				m.copies.Add(-int64(len(c)))
			}
		}
		s.mu.Unlock()
	}
	return nil
}

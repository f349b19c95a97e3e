package blockmap

import "sync/atomic"

// counters are since the map was opened.
type counters struct {
	misses, fetches, saved, savedBytes, saveErrors, checkpoints, roots, rootBytes atomic.Int64
}

// Stats describe a map. Counters are since it was opened.
type Stats struct {
	CachedPages  int64 `json:"cached_pages"`
	CachedBytes  int64 `json:"cached_bytes"`  // memory of decoded pages
	DirtyPages   int64 `json:"dirty_pages"`   // that the newest root does not have
	FrozenBytes  int64 `json:"frozen_bytes"`  // memory of copies for a root under way
	Misses       int64 `json:"misses"`        // pages that were not in memory
	Fetches      int64 `json:"fetches"`       // reads from the bucket
	SavedPages   int64 `json:"saved_pages"`   // written to badger
	SavedBytes   int64 `json:"saved_bytes"`   // the same in bytes, before what badger adds
	SaveErrors   int64 `json:"save_errors"`   // writes in the background that failed
	Checkpoints  int64 `json:"checkpoints"`   // completed
	Roots        int64 `json:"roots"`         // written to the bucket
	RootBytes    int64 `json:"root_bytes"`    // the same in bytes
	RootEstimate int64 `json:"root_estimate"` // DirtyRootBytes
}

// Stats returns a snapshot of the map's state.
func (m *Map) Stats() Stats {
	st := Stats{
		FrozenBytes: m.copies.Load(), CachedBytes: m.limbo.Load(),
		Misses: m.stats.misses.Load(), Fetches: m.stats.fetches.Load(),
		SavedPages: m.stats.saved.Load(), SavedBytes: m.stats.savedBytes.Load(), SaveErrors: m.stats.saveErrors.Load(),
		Checkpoints: m.stats.checkpoints.Load(), Roots: m.stats.roots.Load(), RootBytes: m.stats.rootBytes.Load(),
	}
	for _, s := range m.shards {
		s.mu.Lock()
		st.CachedPages += int64(s.lru.Len() + len(s.limbo))
		st.CachedBytes += s.bytes
		s.mu.Unlock()
	}
	st.DirtyPages, st.RootEstimate = m.dirty()
	return st
}

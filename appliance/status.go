package appliance

import (
	"context"
	"runtime/metrics"
	"time"

	"sluice/appliance/api"
)

// Status implements api.Backend.
func (g *Gateway) Status(context.Context) (*api.Status, error) {
	s := &api.Status{
		Gateway: api.GatewayStatus{
			ID: g.dir.id.String(), Host: g.host, Version: g.cfg.Version, DataDir: g.cfg.DataDir,
			Portal: g.portalAddress(), Started: g.started.UTC(), Uptime: int64(time.Since(g.started).Seconds()),
		},
		Sessions: len(g.server.Sessions("")),
		Volumes:  []api.Volume{},
		Mallocs:  mallocs(),
	}
	s.Buffer.Used, s.Buffer.Size = g.buffer.Usage()
	for _, e := range g.serving() {
		v := g.describe(e)
		s.Volumes = append(s.Volumes, *v)
		s.Queue.Bytes += v.Queued
		s.Queue.Segments += v.QueuedSegments
		if v.OldestQueued != nil && (s.Queue.Oldest == nil || v.OldestQueued.Before(*s.Queue.Oldest)) {
			s.Queue.Oldest = v.OldestQueued
		}
	}
	g.describeCache(s)
	g.describeStore(s)
	s.Collection = g.garbage.status()
	s.Schedules = g.scheduleStatus()
	s.Standby = g.standby.status()
	return s, nil
}

func (g *Gateway) describeCache(s *api.Status) {
	c := g.cache.Stats()
	s.Cache = api.CacheStatus{
		Used: c.Bytes, Size: c.Budget, Segments: c.Segments, Hits: c.Hits, Misses: c.Misses,
		Fetched: c.Fetched, Evicted: c.Evicted,
	}
	if reads := c.Hits + c.Misses; reads > 0 {
		s.Cache.HitRate = float64(c.Hits) / float64(reads)
	}
}

func (g *Gateway) describeStore(s *api.Status) {
	n := g.counter.Stats()
	s.Store.URL = g.cfg.Store
	s.Store.Sent = n.Put.Bytes + n.PutIf.Bytes
	s.Store.Received = n.GetRange.Bytes
	s.Puts = n.Put.Calls + n.PutIf.Calls
	s.Store.Requests = s.Puts + n.GetRange.Calls + n.Stat.Calls + n.List.Calls + n.Delete.Calls
	s.Store.Errors = n.Put.Errors + n.PutIf.Errors + n.GetRange.Errors + n.Stat.Errors + n.List.Errors + n.Delete.Errors
}

// mallocs counts the heap objects that this process has allocated.
func mallocs() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

package appliance

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/blockmap"
)

// freesTime bounds the search for what the deletion of a snapshot would free.
const freesTime = 5 * time.Second

// measurer tells how many bytes only one of several roots has; see snapshot.Frees.
type measurer func(ctx context.Context, root blockmap.Root, others []blockmap.Root) (int64, error)

// frees returns about how many bytes the deletion of a snapshot would free, or nil if that cannot be told soon.
func (s *snapshots) frees(ctx context.Context, of *snapshot.Snapshot) *int64 {
	ctx, cancel := context.WithTimeout(ctx, freesTime)
	defer cancel()
	others, err := s.relatives(ctx, of)
	if err == nil {
		var n int64
		if n, err = s.measure(ctx, of.Root, others); err == nil {
			return &n
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		s.log.WarnContext(ctx, "what a snapshot takes cannot be told", "snapshot", of.ID, "error", err)
	}
	return nil
}

// relatives returns the roots that may share data with a snapshot, those first that were made at about the same time.
func (s *snapshots) relatives(ctx context.Context, of *snapshot.Snapshot) ([]blockmap.Root, error) {
	var points []volume.Point
	list, err := s.catalogue.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		if x.Volume == of.Volume && x.ID != of.ID {
			points = append(points, volume.Point{Time: x.Created, Root: x.Root})
		}
	}
	heads, err := s.volumes.bucket.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		if h.ID != of.Volume && (h.Origin == nil || h.Origin.Volume != of.VolumeName) {
			continue
		}
		points = append(points, h.Points...)
		if h.Root != nil {
			points = append(points, volume.Point{Time: time.Now(), Root: *h.Root})
		}
	}
	points = slices.DeleteFunc(points, func(p volume.Point) bool { return p.Root.Key == "" })
	far := func(p volume.Point) time.Duration { return p.Time.Sub(of.Created).Abs() }
	slices.SortStableFunc(points, func(a, b volume.Point) int { return cmp.Compare(far(a), far(b)) })
	roots := make([]blockmap.Root, len(points))
	for i, p := range points {
		roots[i] = p.Root
	}
	return roots, nil
}

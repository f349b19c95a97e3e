package gc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"sluice/volume"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// live is what is needed.
type live struct {
	roots   *blockmap.Survey        // of all roots
	writers map[uint32]segment.ID   // by writer: behind this position, its segments are needed
	volumes map[string]*volume.Head // by ID
}

// mark reads all roots: first those of snapshots, then those of volumes; see the package's documentation.
func (c *Collector) mark(ctx context.Context) (*live, error) {
	roots, err := c.opts.Snapshots(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	heads, err := volume.Heads(ctx, c.opts.Store)
	if err != nil {
		return nil, err
	}
	l := &live{roots: blockmap.NewSurvey(c.opts.Store), writers: map[uint32]segment.ID{}, volumes: map[string]*volume.Head{}}
	for _, h := range heads {
		l.volumes[h.ID.String()] = h
		position := segment.ID(0)
		if h.Root != nil {
			roots = append(roots, *h.Root)
			position = h.Root.Position
		}
		for _, span := range h.Spans {
			l.writers[span.Writer] = position
		}
	}
	for _, root := range roots {
		if err := l.roots.Add(ctx, root); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// needs tells whether an object may not be deleted.
func (l *live) needs(key string) bool {
	if rest, ok := strings.CutPrefix(key, "segments/"); ok {
		_, name, _ := strings.Cut(rest, "/")
		n, err := strconv.ParseUint(name, 16, 64)
		id := segment.ID(n)
		if err != nil || id.Key() != key {
			return true // not ours to judge
		}
		if l.roots.Names(id) {
			return true
		}
		position, known := l.writers[id.Writer()]
		return known && id > position
	}
	return l.roots.Refers(key) || l.maybeNewRoot(key)
}

// maybeNewRoot tells whether an object may be a part of a root that is being written, or was written and
// is not in the head that we read.
func (l *live) maybeNewRoot(key string) bool {
	of, name, ok := strings.Cut(strings.TrimPrefix(key, "volumes/"), "/roots/")
	if _, err := uuid.Parse(of); !ok || err != nil {
		return true
	}
	h := l.volumes[of]
	if h == nil {
		return false // the volume was deleted
	}
	number, err := rootNumber(name)
	if err != nil || h.Root == nil {
		return true
	}
	newest, err := rootNumber(strings.TrimPrefix(h.Root.Key, "volumes/"+of+"/roots/"))
	return err != nil || number > newest // an error: the volume has the root of another one still
}

// rootNumber returns which of a volume's roots an object belongs to: the writer and a count.
func rootNumber(name string) (uint64, error) {
	writer, rest, ok := strings.Cut(name, "-")
	count, _, ok2 := strings.Cut(rest, "-")
	w, err := strconv.ParseUint(writer, 16, 24)
	n, err2 := strconv.ParseUint(count, 10, 32)
	if err := errors.Join(err, err2); err != nil || !ok || !ok2 {
		return 0, fmt.Errorf("%q is not the name of a root: %w", name, err)
	}
	return w<<32 | n, nil
}

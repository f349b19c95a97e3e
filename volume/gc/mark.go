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
	roots     *blockmap.Survey        // of all roots
	histories map[uint32][]history    // by writer
	volumes   map[string]*volume.Head // by ID
	space     map[uuid.UUID]Space
}

// history is a part of what one writer wrote that is needed whole, since it is replayed.
type history struct {
	behind segment.ID // this one is not needed
	to     uint32     // the last segment; 0: all
}

func (h history) has(id segment.ID) bool {
	return id > h.behind && (h.to == 0 || id.Sequence() <= h.to)
}

// mark reads all roots, in the order that the package's documentation asks for. Of segments for which detail is true it notes
// which blocks are needed.
func (c *Collector) mark(ctx context.Context, detail func(segment.ID) bool) (*live, error) {
	before, err := volume.Heads(ctx, c.opts.Store)
	if err != nil {
		return nil, err
	}
	snapshots, err := c.opts.Snapshots(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	now, err := volume.Heads(ctx, c.opts.Store)
	if err != nil {
		return nil, err
	}
	l := &live{
		roots: blockmap.NewSurvey(c.opts.Store, detail), histories: map[uint32][]history{},
		volumes: map[string]*volume.Head{}, space: map[uuid.UUID]Space{},
	}
	if err := l.add(ctx, snapshots...); err != nil {
		return nil, err
	}
	for _, h := range now {
		l.volumes[h.ID.String()] = h
		if h.Root == nil {
			continue
		}
		if err := l.add(ctx, *h.Root); err != nil {
			return nil, err
		}
	}
	l.measure(now)
	for _, h := range append(before, now...) {
		position, roots := h.Needs()
		for _, s := range h.Spans {
			l.histories[s.Writer] = append(l.histories[s.Writer], history{position, s.To})
		}
		if err := l.add(ctx, roots...); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *live) add(ctx context.Context, roots ...blockmap.Root) error {
	for _, root := range roots {
		if err := l.roots.Add(ctx, root); err != nil {
			return err
		}
	}
	return nil
}

// measure notes what volumes take, before the roots of their own past are added, with which they share nearly all.
func (l *live) measure(heads []*volume.Head) {
	for _, h := range heads {
		sp := Space{}
		if h.Root != nil {
			blocks, shared := l.roots.Mapped(*h.Root)
			sp.Live, sp.Shared = blocks*segment.BlockSize, shared*segment.BlockSize
		}
		l.space[h.ID] = sp
	}
}

// needs tells whether an object may not be deleted.
func (l *live) needs(key string) bool {
	if strings.HasPrefix(key, segmentsPrefix) {
		id, ok := segment.ParseKey(key)
		return !ok || l.roots.Names(id) || l.replays(id) // if not ok it is not ours to judge
	}
	return l.roots.Refers(key) || l.maybeNewRoot(key)
}

// replays tells whether a segment is needed whole.
func (l *live) replays(id segment.ID) bool {
	for _, h := range l.histories[id.Writer()] {
		if h.has(id) {
			return true
		}
	}
	return false
}

const segmentsPrefix = "segments/"

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

package scrub

import (
	"context"
	"fmt"
	"strings"

	"sluice/object"
	"sluice/volume"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

// inventory is the objects of a bucket that hold data or parts of maps, and their sizes.
type inventory struct {
	segments map[segment.ID]int64
	maps     map[string]int64
	greatest uint32 // writer
}

func takeInventory(ctx context.Context, store object.Store) (*inventory, error) {
	v := &inventory{segments: map[segment.ID]int64{}, maps: map[string]int64{}}
	for info, err := range store.List(ctx, "segments/", "") {
		if err != nil {
			return nil, fmt.Errorf("listing segments: %w", err)
		}
		if id, ok := segment.ParseKey(info.Key); ok {
			v.segments[id] = info.Size
			v.greatest = max(v.greatest, id.Writer())
		}
	}
	for info, err := range store.List(ctx, "volumes/", "") {
		if err != nil {
			return nil, fmt.Errorf("listing volumes: %w", err)
		}
		if strings.Contains(info.Key, "/roots/") {
			v.maps[info.Key] = info.Size
		}
	}
	return v, nil
}

// checkWriters looks whether new segments could take the names of old ones.
func (s *scrubber) checkWriters(ctx context.Context, v *inventory, rep *Report) error {
	last, err := volume.LastWriter(ctx, s.store)
	if err == nil && last < v.greatest {
		err = fmt.Errorf("%w: writers.json says %d, and there are segments of writer %d", volume.ErrDamaged, last, v.greatest)
	}
	if err == nil {
		return nil
	}
	c := catalogue{}
	err = c.problem("writers.json", "no volume may be opened: its new segments could take the names of others", err)
	rep.Damaged = append(rep.Damaged, c.problems...)
	return err
}

// orphans counts the objects that nothing refers to: the garbage collector removes them. Segments of an attachment that lasts are
// not among them, although nothing may refer to them yet, nor are parts of a root that was written and not published.
func (v *inventory) orphans(c *catalogue, refers *verify.References) (n, bytes int64) {
	for id, size := range v.segments {
		if _, ok := refers.Segments[id]; !ok && !c.mayPublish(id) {
			n, bytes = n+1, bytes+size
		}
	}
	for key, size := range v.maps {
		if _, ok := refers.Maps[key]; !ok {
			n, bytes = n+1, bytes+size
		}
	}
	return n, bytes
}

// mayPublish tells whether a segment belongs to an attachment that lasts.
func (c *catalogue) mayPublish(id segment.ID) bool {
	for _, h := range c.heads {
		for _, s := range h.Spans {
			if s.Writer == id.Writer() && s.To == 0 && id > h.Published {
				return true
			}
		}
	}
	return false
}

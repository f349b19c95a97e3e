package scrub

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/snapshot"
	"sluice/volume"
	"sluice/volume/segment"
	"sluice/volume/verify"
)

// catalogue is what is to be read: the moments that are kept of volumes, and the segments that are replayed on top of them.
type catalogue struct {
	heads     []*volume.Head
	snapshots []*snapshot.Snapshot
	moments   []moment
	replays   []replay
	problems  []Object // records that cannot be read
	notes     []string
}

// moment is a root, and whose it is.
type moment struct {
	Moment
	root verify.Moment
}

// replay is a segment that is replayed on top of a root of a volume. Clones of a moment of the past share some.
type replay struct {
	id   segment.ID
	head *volume.Head
}

// readCatalogue lists what is kept of a volume, or of all. A volume that is not there is volume.ErrNotFound.
func readCatalogue(ctx context.Context, opts *Options) (*catalogue, error) {
	c := &catalogue{}
	var err error
	if opts.Volume != "" {
		err = c.readVolume(ctx, opts.Store, opts.Volume)
	} else {
		err = c.readAll(ctx, opts.Store)
	}
	if err != nil {
		return nil, err
	}
	for _, h := range c.heads {
		c.addHead(h)
		if err := c.addReplays(ctx, opts, h); err != nil {
			return nil, err
		}
	}
	for _, s := range c.snapshots {
		c.moments = append(c.moments, moment{Moment{s.VolumeName, Snapshot, s.ID, s.Created}, s.Moment()})
	}
	return c, nil
}

// addReplays adds the segments behind the oldest root of a volume. The head says up to which they were published when it was written. Those of
// an attachment that lasts go on behind that, up to the first that is not there.
func (c *catalogue) addReplays(ctx context.Context, opts *Options, h *volume.Head) error {
	if opts.Published != nil {
		h.Published = max(h.Published, opts.Published(h.ID))
	}
	position, _ := h.Needs()
	for id := range h.Behind(position) {
		c.replays = append(c.replays, replay{id, h})
	}
	for _, span := range h.Spans {
		id := max(segment.NewID(span.Writer, 1), h.Published.Next(), position.Next())
		for ; span.To == 0 && id.Writer() == span.Writer; id = id.Next() {
			_, err := opts.Store.Stat(ctx, id.Key())
			if errors.Is(err, object.ErrNotFound) {
				break
			}
			if err != nil {
				return fmt.Errorf("looking for the newest segment of volume %s: %w", h.Name, err)
			}
			c.replays = append(c.replays, replay{id, h})
		}
	}
	return nil
}

// whole returns the segments that are to be replayed.
func (c *catalogue) whole() []segment.ID {
	list := make([]segment.ID, len(c.replays))
	for i, r := range c.replays {
		list[i] = r.id
	}
	return list
}

func (c *catalogue) addHead(h *volume.Head) {
	if h.Root != nil {
		c.moments = append(c.moments, moment{Moment{Volume: h.Name, Kind: Newest}, verify.Moment{Root: *h.Root, Size: h.Size}})
	}
	for _, p := range h.Points {
		if p.Root.Key != "" && (h.Root == nil || p.Root != *h.Root) {
			c.moments = append(c.moments, moment{Moment{Volume: h.Name, Kind: Past, Time: p.Time}, verify.Moment{Root: p.Root, Size: h.Size}})
		}
	}
}

func (c *catalogue) readVolume(ctx context.Context, store object.Store, name string) error {
	h, err := volume.Find(ctx, store, name)
	if err != nil {
		return err
	}
	c.heads = []*volume.Head{h}
	if err := c.readSnapshots(ctx, store); err != nil {
		return err
	}
	all := c.snapshots
	c.snapshots, c.problems = nil, nil // what cannot be read may be another volume's: Run with no name says so
	for _, s := range all {
		if s.Volume == h.ID {
			c.snapshots = append(c.snapshots, s)
		}
	}
	return nil
}

func (c *catalogue) readAll(ctx context.Context, store object.Store) error {
	for _, read := range []func(context.Context, object.Store) error{c.readNames, c.readHeads, c.readSnapshots, c.readSchedules} {
		if err := read(ctx, store); err != nil {
			return err
		}
	}
	return nil
}

// problem notes a record that cannot be read. Any other error than damage ends the reading: it says nothing, or that this
// program is too old.
func (c *catalogue) problem(key, effect string, err error) error {
	if !errors.Is(err, volume.ErrDamaged) && !errors.Is(err, snapshot.ErrDamaged) {
		return err
	}
	c.problems = append(c.problems, Object{Key: key, Reason: err.Error(), Effects: []string{effect}})
	return nil
}

// readNames looks whether each name leads to a volume.
func (c *catalogue) readNames(ctx context.Context, store object.Store) error {
	const prefix = "names/"
	for info, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return fmt.Errorf("listing the names of volumes: %w", err)
		}
		name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, prefix), ".json")
		if !ok {
			continue
		}
		_, err := volume.Find(ctx, store, name)
		if errors.Is(err, volume.ErrDamaged) {
			_, err = volume.Find(ctx, store, name) // it was being deleted
		}
		if err == nil || errors.Is(err, volume.ErrNotFound) {
			continue
		}
		if err := c.problem(info.Key, fmt.Sprintf("volume %s cannot be opened", name), err); err != nil {
			return err
		}
	}
	return nil
}

// readHeads reads the heads of all volumes, also of those without a name.
func (c *catalogue) readHeads(ctx context.Context, store object.Store) error {
	for info, err := range store.List(ctx, "volumes/", "") {
		if err != nil {
			return fmt.Errorf("listing volumes: %w", err)
		}
		text, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, "volumes/"), "/head.json")
		if !ok {
			continue
		}
		id, err := uuid.Parse(text)
		if err != nil {
			c.notes = append(c.notes, info.Key+" is nobody's")
			continue
		}
		h, err := volume.HeadOf(ctx, store, id)
		switch {
		case errors.Is(err, volume.ErrNotFound): // deleted just now
		case err != nil:
			if err := c.problem(info.Key, "the volume cannot be opened, and what it needs is not known", err); err != nil {
				return err
			}
		default:
			c.heads = append(c.heads, h)
			if named, err := volume.Find(ctx, store, h.Name); errors.Is(err, volume.ErrNotFound) || err == nil && named.ID != h.ID {
				c.notes = append(c.notes, fmt.Sprintf("volume %s (%s) has no name: it is being made or deleted, or that was interrupted", id, h.Name))
			}
		}
	}
	return nil
}

func (c *catalogue) readSnapshots(ctx context.Context, store object.Store) error {
	records := snapshot.NewCatalogue(store)
	const prefix = "snapshots/"
	for info, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return fmt.Errorf("listing snapshots: %w", err)
		}
		id, err := uuid.Parse(strings.TrimSuffix(strings.TrimPrefix(info.Key, prefix), ".json"))
		if err != nil {
			c.notes = append(c.notes, info.Key+" is nobody's")
			continue
		}
		s, err := records.Get(ctx, id)
		switch {
		case errors.Is(err, snapshot.ErrNotFound): // deleted just now
		case err != nil:
			if err := c.problem(info.Key, "the snapshot is lost, and what it needs is not known", err); err != nil {
				return err
			}
		default:
			c.snapshots = append(c.snapshots, s)
		}
	}
	return nil
}

func (c *catalogue) readSchedules(ctx context.Context, store object.Store) error {
	_, err := snapshot.NewSchedules(store).List(ctx)
	if err == nil {
		return nil
	}
	return c.problem("schedules/", "the snapshots of that schedule are no longer made", err)
}

// effects says what it means that a segment cannot be replayed.
func (c *catalogue) effects(id segment.ID) (list []string) {
	for _, r := range c.replays {
		if r.id != id {
			continue
		}
		if r.head.Root == nil || id > r.head.Root.Position {
			list = append(list, fmt.Sprintf("from the bucket alone, volume %s cannot be opened with what was written from this segment on", r.head.Name))
		} else {
			list = append(list, fmt.Sprintf("volume %s cannot go back to the moments from this segment on, up to the next root of its past", r.head.Name))
		}
	}
	return list
}

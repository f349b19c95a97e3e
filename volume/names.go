package volume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/record"
	"sluice/volume/blockmap"
)

// New describes a volume to be created.
type New struct {
	Name   string
	Size   int64 // bytes
	Mode   Mode
	Root   *blockmap.Root // what it contains from the beginning; nil: nothing
	Origin *Origin        // whose moment Root is
	Past   *Past          // instead of Root: what it contains, as of At
	Window time.Duration  // for how long its own past is to be kept
	// Durability is what flushes of a cached volume wait for, and with WriteThrough its writes, too; empty: Local.
	Durability   Durability
	WriteThrough bool
}

// Create adds a volume to the bucket. Names are unique among the volumes
// of one bucket prefix: a name object, written only if it is not there, decides a race.
// Who gives a root makes sure afterwards that it was not deleted meanwhile.
func Create(ctx context.Context, store object.Store, n New) (*Head, error) {
	name := n.Name
	h := &Head{
		ID: uuid.New(), Name: name, Size: n.Size, Mode: n.Mode, Created: time.Now().UTC(),
		Root: n.Root, Origin: n.Origin, Window: int64(n.Window / time.Second), Durability: n.Durability, WriteThrough: n.WriteThrough, Nonce: uuid.NewString(),
	}
	if n.Past != nil {
		h.Root, h.Spans, h.Published = n.Past.base.root(), n.Past.spans, n.Past.Position
	}
	h.begin(n.Past)
	// The head first: a name that leads nowhere would be an obstacle, a head without a name is only litter.
	if _, err := writeHead(ctx, store, h, ""); err != nil {
		return nil, err
	}
	body, err := record.Encode(nameRecord{ID: h.ID})
	if err != nil {
		return nil, fmt.Errorf("encoding name: %w", err)
	}
	if _, err = store.PutIf(ctx, nameKey(name), body, ""); err != nil {
		if derr := store.Delete(ctx, headKey(h.ID)); derr != nil {
			err = errors.Join(err, derr)
		}
		if errors.Is(err, object.ErrPrecondition) {
			return nil, fmt.Errorf("creating volume %q: %w", name, ErrExists)
		}
		return nil, fmt.Errorf("creating volume %q: %w", name, err)
	}
	return h, nil
}

type nameRecord struct {
	ID uuid.UUID `json:"id"`
}

func nameKey(name string) string { return namesPrefix + name + ".json" }

// Find returns the head of the volume called name.
func Find(ctx context.Context, store object.Store, name string) (*Head, error) {
	body, _, err := store.GetRange(ctx, nameKey(name), 0, -1)
	if errors.Is(err, object.ErrNotFound) {
		return nil, fmt.Errorf("volume %q: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("looking up volume %q: %w", name, err)
	}
	var rec nameRecord
	if err := record.Decode(body, &rec); err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrDamaged, nameKey(name), err)
	}
	h, _, err := readHead(ctx, store, rec.ID)
	if errors.Is(err, ErrNotFound) {
		// Never taken for a new volume: its data may still be there.
		return nil, fmt.Errorf("%w: volume %q has a name but no %s", ErrDamaged, name, headKey(rec.ID))
	}
	return h, err
}

// List returns the heads of all volumes in the bucket, in the order of their names.
func List(ctx context.Context, store object.Store) ([]*Head, error) {
	var heads []*Head
	for info, err := range store.List(ctx, namesPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("listing volumes: %w", err)
		}
		name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, namesPrefix), ".json")
		if !ok {
			continue
		}
		h, err := Find(ctx, store, name)
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// Heads returns the heads of all volumes in the bucket, also of those that have no name: they are just being created or
// deleted, or were left behind by a gateway that died while it did so.
func Heads(ctx context.Context, store object.Store) ([]*Head, error) {
	var heads []*Head
	for info, err := range store.List(ctx, volumesPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("listing volumes: %w", err)
		}
		if !strings.HasSuffix(info.Key, "/head.json") {
			continue
		}
		body, _, err := store.GetRange(ctx, info.Key, 0, -1)
		if errors.Is(err, object.ErrNotFound) {
			continue // deleted just now
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", info.Key, err)
		}
		h, err := decodeHead(info.Key, body)
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// Delete removes a volume that no gateway serves: its name, so that it is gone for everybody, then its
// head. Its data is garbage then, but for what snapshots and clones need: see package gc.
func Delete(ctx context.Context, store object.Store, name string) error {
	h, err := Find(ctx, store, name)
	if err != nil {
		return err
	}
	h, etag, err := readHead(ctx, store, h.ID)
	if err != nil {
		return err
	}
	if h.Owner != nil {
		return fmt.Errorf("deleting volume %q: %w (%s on %s): detach it there first", name, ErrOwned, h.Owner.Gateway, h.Owner.Host)
	}
	// The epoch goes up first: whoever attaches at the same time loses the race.
	h.Epoch, h.Nonce = h.Epoch+1, uuid.NewString()
	if _, err := writeHead(ctx, store, h, etag); err != nil {
		return fmt.Errorf("deleting volume %q: %w", name, err)
	}
	if err := store.Delete(ctx, nameKey(name)); err != nil {
		return fmt.Errorf("deleting volume %q: %w", name, err)
	}
	if err := store.Delete(ctx, headKey(h.ID)); err != nil {
		return fmt.Errorf("deleting volume %q: %w", name, err)
	}
	return nil
}

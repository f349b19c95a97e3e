package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/record"
)

// Catalogue is the snapshots of a bucket. Its methods may be called concurrently, also by
// several gateways.
type Catalogue struct{ store object.Store }

// NewCatalogue returns the catalogue of the snapshots in store.
func NewCatalogue(store object.Store) *Catalogue { return &Catalogue{store} }

// Put adds a snapshot. To add it again, because an answer was lost, is no error.
func (c *Catalogue) Put(ctx context.Context, s *Snapshot) error {
	noted := *s
	noted.Format = format
	body, err := record.Encode(noted)
	if err != nil {
		return fmt.Errorf("encoding snapshot %s: %w", s.ID, err)
	}
	// The ID is new and random: nobody else writes this key.
	if _, err := c.store.Put(ctx, key(s.ID), body); err != nil {
		return fmt.Errorf("noting snapshot %s: %w", s.ID, err)
	}
	return nil
}

// Get returns a snapshot.
func (c *Catalogue) Get(ctx context.Context, id uuid.UUID) (*Snapshot, error) {
	body, _, err := c.store.GetRange(ctx, key(id), 0, -1)
	if errors.Is(err, object.ErrNotFound) {
		return nil, fmt.Errorf("snapshot %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading snapshot %s: %w", id, err)
	}
	return decode(key(id), body)
}

// Find returns the snapshot whose ID begins with text, if there is one and no other.
func (c *Catalogue) Find(ctx context.Context, text string) (*Snapshot, error) {
	if id, err := uuid.Parse(text); err == nil {
		return c.Get(ctx, id)
	}
	var found *uuid.UUID
	if text != "" && strings.Trim(text, "0123456789abcdef-") == "" {
		for info, err := range c.store.List(ctx, prefix+text, "") {
			if err != nil {
				return nil, fmt.Errorf("looking for snapshot %s: %w", text, err)
			}
			id, err := uuid.Parse(strings.TrimSuffix(strings.TrimPrefix(info.Key, prefix), ".json"))
			if err != nil {
				continue
			}
			if found != nil {
				return nil, fmt.Errorf("snapshot %s: %w: write more of it", text, ErrAmbiguous)
			}
			found = &id
		}
	}
	if found == nil {
		return nil, fmt.Errorf("snapshot %q: %w", text, ErrNotFound)
	}
	return c.Get(ctx, *found)
}

// List returns all snapshots, the oldest first. A record that cannot be read is an error: who
// counts what the bucket needs must not miss one.
func (c *Catalogue) List(ctx context.Context) ([]*Snapshot, error) {
	var list []*Snapshot
	for info, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("listing snapshots: %w", err)
		}
		body, _, err := c.store.GetRange(ctx, info.Key, 0, -1)
		if errors.Is(err, object.ErrNotFound) {
			continue // deleted just now
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", info.Key, err)
		}
		s, err := decode(info.Key, body)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b *Snapshot) int { return a.Created.Compare(b.Created) })
	return list, nil
}

// Delete removes a snapshot. What only it needed becomes garbage.
func (c *Catalogue) Delete(ctx context.Context, id uuid.UUID) error {
	if err := c.store.Delete(ctx, key(id)); err != nil {
		return fmt.Errorf("deleting snapshot %s: %w", id, err)
	}
	return nil
}

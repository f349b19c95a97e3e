package snapshot

import (
	"context"
	"errors"
	"fmt"

	"sluice/volume/blockmap"
)

// ErrNothingLeft says that a snapshot's root is lost, so that nobody knows where any of its blocks is.
var ErrNothingLeft = errors.New("the root of the map is lost, and with it everything")

// Salvage writes a root, under a key that begins with key, of which all can be read that the report did not call lost; what it called lost
// reads as zeros. It is for those who ask for it, having seen the list: a volume that is made of a damaged snapshot itself
// fails the reads that meet the damage, and serves all others.
func (r *Report) Salvage(ctx context.Context, key string) (blockmap.Root, error) {
	view := r.found.View(0)
	if view == nil {
		return blockmap.Root{}, ErrNothingLeft
	}
	root, err := blockmap.Salvage(ctx, view, key, r.found.Takes)
	if err != nil {
		return root, fmt.Errorf("salvaging a snapshot: %w", err)
	}
	return root, nil
}

package snapshot

import (
	"context"
	"fmt"
	"iter"

	"sluice/object"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// Change is a range of bytes that two snapshots do not have in common.
type Change struct {
	Offset, Length int64 // bytes
	Zeros          bool  // all of it reads as zeros in the later one, and occupies no space there
}

// Diff yields the ranges of bytes that changed between two snapshots, from the block on that holds byte offset, in order and as long as possible; see
// blockmap.Diff for what counts and what it costs. The two may be of different volumes and sizes: a copy of
// from, cut or filled with zeros to the size of to, becomes a copy of to by writing the changes to it. An error is the
// last that comes.
func Diff(ctx context.Context, store object.Store, from, to *Snapshot, offset int64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		a, err := open(ctx, store, from)
		if err != nil {
			yield(Change{}, err)
			return
		}
		b, err := open(ctx, store, to)
		if err != nil {
			yield(Change{}, err)
			return
		}
		for c, err := range blockmap.Diff(ctx, a, b, uint64(max(offset, 0))/segment.BlockSize) {
			if err != nil {
				yield(Change{}, fmt.Errorf("snapshots %s and %s: %w", from.ID, to.ID, err))
				return
			}
			off, end := int64(c.Block)*segment.BlockSize, int64(c.Block+c.Count)*segment.BlockSize
			if off >= to.Size {
				return
			}
			if !yield(Change{Offset: off, Length: min(end, to.Size) - off, Zeros: !c.Mapped}, nil) {
				return
			}
		}
	}
}

func open(ctx context.Context, store object.Store, s *Snapshot) (*blockmap.View, error) {
	v, err := blockmap.OpenView(ctx, store, s.Root)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", s.ID, err)
	}
	return v, nil
}

// blocks is how many blocks a snapshot has.
func (s *Snapshot) blocks() uint64 { return uint64(s.Size+segment.BlockSize-1) / segment.BlockSize }

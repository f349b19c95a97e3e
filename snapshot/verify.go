package snapshot

import (
	"context"
	"fmt"

	"sluice/object"
	"sluice/volume/verify"
)

// VerifyOptions say how a snapshot is verified. The zero value is useful.
type VerifyOptions struct {
	// Quick reads only the headers of segments: what is in their frames is taken on trust.
	Quick bool
	// Memory and Parallel bound what is done at once: see verify.Options.
	Memory   int64
	Parallel int
	// Progress, if there is one, is kept up to date meanwhile.
	Progress *Progress
	// Lost, if it is set, is called with each range that is lost, in order, in the end.
	Lost func(Lost)
}

// Progress tells how far a verification is.
type Progress = verify.Progress

// Lost is a range of bytes of the volume that can no longer be read.
type Lost = verify.Lost

// Report is the result of a verification.
type Report struct {
	Objects int64 // of the bucket that were looked at: segments and parts of the map
	Bytes   int64 // that were read from the bucket
	Blocks  int64 // of the volume, 4096 bytes each, that were looked for in segments
	Damaged int64 // objects that are missing or damaged
	Lost    int64 // bytes of the volume that are lost, zeros that nobody knows of included

	found *verify.Report
}

// OK tells whether nothing is lost.
func (r *Report) OK() bool { return r.Damaged == 0 }

// Verify shows that all of a snapshot can be read, without restoring it: see verify.Verify.
func Verify(ctx context.Context, store object.Store, s *Snapshot, opts VerifyOptions) (*Report, error) {
	lost := int64(0)
	found, err := verify.Verify(ctx, store, []verify.Moment{s.Moment()}, verify.Options{
		Quick: opts.Quick, Memory: opts.Memory, Parallel: opts.Parallel, Progress: opts.Progress,
		Lost: func(_ int, l Lost) {
			lost += l.Length
			if opts.Lost != nil {
				opts.Lost(l)
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("verifying snapshot %s: %w", s.ID, err)
	}
	return &Report{
		Objects: found.Objects, Bytes: found.Bytes, Blocks: found.Blocks, Damaged: int64(len(found.Damaged)), Lost: lost, found: found,
	}, nil
}

// Moment returns what the snapshot is to a verification.
func (s *Snapshot) Moment() verify.Moment { return verify.Moment{Root: s.Root, Size: s.Size} }

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
	"sluice/transfer/image"
)

// exportDocument is what "export --json" prints.
type exportDocument struct {
	Volume  string    `json:"volume"`
	Moment  time.Time `json:"moment"` // that the image holds
	Out     string    `json:"out"`
	Format  string    `json:"format"`
	Size    int64     `json:"size_bytes"`
	Moved   int64     `json:"data_bytes"` // the rest is zeros
	Seconds float64   `json:"seconds"`
}

// exporting is one call of a verb.
type exporting struct {
	c           *client
	format, out string
}

func (e *exporting) flags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&e.format, "format", "raw", "raw, qcow2, vmdk or vhdx; all but raw need the QEMU tools of this machine")
	cmd.Flags().StringVar(&e.out, "out", "", "the file to write, which is replaced if it is there; or - for the standard output, raw only")
	require(cmd, "out")
	return cmd
}

func newVolumeExport(c *client) *cobra.Command {
	e := &exporting{c: c}
	cmd := &cobra.Command{
		Use:   "export NAME --out FILE|-",
		Short: "Write a volume, as it is at this moment, to a disk image",
		Long: "Notes one moment of the volume, as a snapshot does, waits until it is in the bucket, and writes it to an image. The\n" +
			"volume goes on meanwhile; nothing stays behind. What initiators have not written yet is not in it: to be sure\n" +
			"of a file system, unmount or freeze it first. The file is there only when it is complete.",
		Example:           "  sluice volume export vm1 --format qcow2 --out vm1.qcow2\n  sluice volume export vm1 --out - | zstd > vm1.raw.zst",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		return e.run(ctx, func(ctx context.Context) (*exportDocument, error) {
			var done *exportDocument
			err := daemon.KeepMoment(ctx, name, func(ctx context.Context, s api.Snapshot) (err error) {
				done, err = e.write(ctx, daemon, s)
				return err
			})
			return done, err
		})
	})
	return e.flags(cmd)
}

func newSnapshotExport(c *client) *cobra.Command {
	e := &exporting{c: c}
	cmd := &cobra.Command{
		Use: "export ID --out FILE|-", Short: "Write a snapshot to a disk image; the beginning of its ID is enough",
		Example: "  sluice snapshot export 1f0c --format qcow2 --out yesterday.qcow2", Args: cobra.ExactArgs(1),
	}
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		return e.run(ctx, func(ctx context.Context) (*exportDocument, error) {
			s, err := daemon.ShowSnapshot(ctx, args[0])
			if err != nil {
				return nil, err
			}
			if s.State != api.SnapshotComplete {
				return nil, api.Errorf(api.CodeConflict, "snapshot %s is %s", s.ID, s.State)
			}
			return e.write(ctx, daemon, *s)
		})
	})
	return e.flags(cmd)
}

// run checks what was asked for, exports, and prints the result.
func (e *exporting) run(ctx context.Context, export func(context.Context) (*exportDocument, error)) error {
	if _, err := image.ParseWritable(e.format); err != nil {
		return &usageError{err}
	}
	if e.out == "-" {
		if e.format != string(image.Raw) {
			return usagef("only a raw image can be written to the standard output: a %s image is not written from its beginning to its end", e.format)
		}
		if e.c.out.json {
			return usagef("--json and --out - both want the standard output")
		}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	done, err := export(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("the export was interrupted: %w", ctx.Err())
		}
		return err
	}
	if e.out == "-" {
		return nil
	}
	return e.c.out.print(done, func(w io.Writer) {
		fmt.Fprintf(w, "%s holds volume %s as it was at %s: %s, of which %s of data were read in %.1f s.\n",
			e.out, done.Volume, done.Moment.Format(time.RFC3339Nano), about(done.Size), about(done.Moved), done.Seconds)
	})
}

// write writes a snapshot to the image.
func (e *exporting) write(ctx context.Context, daemon *api.Client, s api.Snapshot) (*exportDocument, error) {
	began := time.Now()
	format, err := image.ParseWritable(e.format)
	if err != nil {
		return nil, err
	}
	var p image.Progress
	stop := e.c.watch(ctx, s.Volume, s.Size, 0, &p)
	defer stop()
	m := &snapshotMoment{daemon, s}
	if e.out == "-" {
		err = image.ExportStream(ctx, m, e.c.env.stdout, &p)
	} else {
		err = image.ExportFile(ctx, m, format, e.out, &p)
	}
	if err != nil {
		return nil, err
	}
	return &exportDocument{
		Volume: s.Volume, Moment: s.Created, Out: e.out, Format: e.format, Size: s.Size, Moved: p.Moved.Load(), Seconds: time.Since(began).Seconds(),
	}, nil
}

// snapshotMoment reads a snapshot for an export.
type snapshotMoment struct {
	daemon   *api.Client
	snapshot api.Snapshot
}

// Size implements image.Moment.
func (s *snapshotMoment) Size() int64 { return s.snapshot.Size }

// Extents implements image.Moment.
func (s *snapshotMoment) Extents(ctx context.Context, off, n int64) ([]image.Extent, error) {
	list, err := s.daemon.SnapshotExtents(ctx, s.snapshot.ID, off, n)
	if err != nil {
		return nil, err
	}
	extents := make([]image.Extent, len(list))
	for i, x := range list {
		extents[i] = image.Extent(x)
	}
	return extents, nil
}

// Read implements image.Moment.
func (s *snapshotMoment) Read(ctx context.Context, p []byte, off int64) error {
	return s.daemon.ReadSnapshot(ctx, s.snapshot.ID, p, off)
}

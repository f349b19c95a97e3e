package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

// diffDocument is what snapshot diff prints as JSON.
type diffDocument struct {
	api.SnapshotDiff

	Changed int64 `json:"changed_bytes"` // with data in the later snapshot
	Zeroed  int64 `json:"zeroed_bytes"`  // that read as zeros in it
}

func newSnapshotDiff(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "diff FROM TO",
		Short: "List the ranges of bytes that changed from one snapshot to another",
		Long: "Compares the maps of two snapshots, not their data: it takes as long as what changed is large. The unit is 4 KiB.\n" +
			"A block that was written again with what it held counts as changed. A copy of FROM, cut or filled with zeros to the\n" +
			"size of TO, becomes a copy of TO by these ranges.",
		Example: "  sluice snapshot diff 1f0c 8d68\n  sluice snapshot diff 1f0c 8d68 --json",
		Args:    cobra.ExactArgs(2),
		RunE: c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
			var all diffDocument
			if !c.out.json {
				fmt.Fprintf(c.out.stdout, "%16s  %16s\n", "offset", "length")
			}
			for next := new(int64(0)); next != nil; next = all.Next {
				part, err := daemon.DiffSnapshots(ctx, args[0], args[1], *next)
				if err != nil {
					return err
				}
				all.add(part, c.out)
			}
			return c.out.print(all, func(w io.Writer) {
				fmt.Fprintf(w, "%s changed, %s became zeros", about(all.Changed), about(all.Zeroed))
				if all.FromSize != all.ToSize {
					fmt.Fprintf(w, "; the size changed from %s to %s", api.Size(all.FromSize), api.Size(all.ToSize))
				}
				fmt.Fprintln(w)
			})
		}),
	}
}

// add adds a part of the difference. For people it is printed at once: they may have millions of lines.
func (d *diffDocument) add(part *api.SnapshotDiff, out *output) {
	ranges := d.Ranges
	d.SnapshotDiff = *part
	for _, r := range part.Ranges {
		note := ""
		if r.Zeros {
			d.Zeroed += r.Length
			note = "  zeros"
		} else {
			d.Changed += r.Length
		}
		if !out.json {
			fmt.Fprintf(out.stdout, "%16d  %16d%s\n", r.Offset, r.Length, note)
		}
	}
	if out.json {
		d.Ranges = append(ranges, part.Ranges...)
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeCreate(c *client) *cobra.Command {
	var size api.Size
	var snapshot string
	var place placement
	var set settings
	cmd := &cobra.Command{
		Use:   "create NAME --size SIZE",
		Short: "Create a volume and serve it; prints how to use it",
		Long: "Create a volume and serve it. All data of a cached volume is in the bucket, and what is used often here, too. All\n" +
			"data of a stored volume is here, and its snapshots are in the bucket.",
		Example: "  sluice volume create demo --size 10GiB\n  sluice volume create db --size 1TiB --mode stored --path /dev/vg/db\n" +
			"  sluice volume create again --snapshot 1f0c --mode stored --hydrate 50MiB",
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().Var(&size, "size", "size from 1MiB to 32TiB in whole MiB; it takes space as it is written")
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "the snapshot to begin with, by the beginning of its ID; then --size may be left out")
	place.flags(cmd)
	cmd.Flags().BoolVar(&place.preserve, "preserve", false, "take what is in --path as the volume's first content")
	set.flags(cmd)
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		if snapshot == "" && size == 0 {
			return usagef("say with --size how large the volume shall be")
		}
		if err := api.CheckVolumeSize(size); err != nil && size != 0 {
			return &usageError{err}
		}
		req := api.CreateRequest{
			Name: name, Size: int64(size), Mode: place.mode, Snapshot: snapshot,
			Path: place.path, Preserve: place.preserve, Rate: int64(place.rate), Settings: set.get(cmd),
		}
		v, err := daemon.CreateVolume(ctx, req)
		if err != nil {
			return err
		}
		return c.out.print(v, func(w io.Writer) {
			fmt.Fprintf(w, "Volume %s of %s is ready.\n\n", v.Name, api.Size(v.Size))
			fields(w, "IQN", v.IQN, "LUN", strconv.Itoa(v.LUN), "portal", v.Portal, "access", describeAccess(v.Access))
			fmt.Fprintln(w, "\nTo use it on Linux:")
			for _, line := range v.Attach {
				fmt.Fprintln(w, "  "+line)
			}
		})
	})
	return cmd
}

// placement says where the data of a new volume is.
type placement struct {
	mode, path string
	preserve   bool
	rate       api.Size
}

func (p *placement) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.mode, "mode", "cached", "where the whole of the data is: cached (in the bucket) or stored (on this gateway)")
	cmd.Flags().StringVar(&p.path, "path", "", "file or block device for the data of a stored volume (default: a file in the data directory)")
	cmd.Flags().Var(&p.rate, "hydrate", "how much a second is fetched in the background of a volume that begins as a snapshot: of a stored one (default: as fast as it goes), or of a cached one into the cache (default: nothing)")
}

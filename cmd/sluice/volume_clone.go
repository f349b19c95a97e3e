package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeClone(c *client) *cobra.Command {
	var size api.Size
	var snapshot, at string
	var place placement
	var set settings
	cmd := &cobra.Command{
		Use:   "clone SOURCE NEW",
		Short: "Create a volume that begins as another one is, or was",
		Long: "The clone serves I/O at once, whatever its size: it shares the blocks of its source in the bucket until\n" +
			"they are overwritten in one of the two. Deleting the source does not touch it.",
		Example: "  sluice volume clone golden vm1\n  sluice volume clone demo yesterday --snapshot 1f0c\n  sluice volume clone demo before --at 14:05",
		Args:    cobra.ExactArgs(2),
	}
	cmd.Flags().StringVar(&snapshot, "snapshot", "", "the snapshot to begin with, by the beginning of its ID (default: the source as it is now)")
	cmd.Flags().StringVar(&at, "at", "", "the moment to begin with, a time or how long ago it was: the newest recovery point that is not after it")
	cmd.MarkFlagsMutuallyExclusive("snapshot", "at")
	place.flags(cmd)
	set.flags(cmd)
	cmd.Flags().Var(&size, "size", "a larger size (default: the source's)")
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		req := api.CloneRequest{Name: args[1], Snapshot: snapshot, Size: int64(size), Mode: place.mode, Path: place.path, Rate: int64(place.rate), Settings: set.get(cmd)}
		if at != "" {
			t, err := parseMoment(at, time.Now())
			if err != nil {
				return err
			}
			req.At = &t
		}
		v, err := daemon.CloneVolume(ctx, args[0], req)
		if err != nil {
			return err
		}
		return c.out.print(v, func(w io.Writer) {
			fmt.Fprintf(w, "Volume %s of %s is ready, as a clone of %s.\n\n", v.Name, api.Size(v.Size), describeOrigin(v.Origin))
			fields(w, "IQN", v.IQN, "portal", v.Portal, "access", describeAccess(v.Access))
		})
	})
	return cmd
}

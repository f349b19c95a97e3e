package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeCreate(c *client) *cobra.Command {
	var size api.Size
	var mode string
	var window time.Duration
	cmd := &cobra.Command{
		Use:     "create NAME --size SIZE",
		Short:   "Create a volume and serve it; prints how to use it",
		Example: "  sluice volume create demo --size 10GiB",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().Var(&size, "size", "size from 1MiB to 32TiB in whole MiB; it takes space as it is written")
	cmd.Flags().StringVar(&mode, "mode", "cached", "where the whole of the data is: cached (in the bucket)")
	cmd.Flags().DurationVar(&window, "recovery-window", 24*time.Hour, "for how long the volume can go back to what it was (0: not at all)")
	require(cmd, "size")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		if err := api.CheckVolumeSize(size); err != nil {
			return &usageError{err}
		}
		v, err := daemon.CreateVolume(ctx, api.CreateRequest{Name: name, Size: int64(size), Mode: mode, Window: new(int64(window / time.Second))})
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

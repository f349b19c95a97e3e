package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeResize(c *client) *cobra.Command {
	var size api.Size
	cmd := &cobra.Command{
		Use:               "resize NAME --size SIZE",
		Short:             "Grow a volume, also while it is in use",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().Var(&size, "size", "the new size; a volume cannot shrink")
	require(cmd, "size")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		if err := api.CheckVolumeSize(size); err != nil {
			return &usageError{err}
		}
		v, err := daemon.ResizeVolume(ctx, name, api.ResizeRequest{Size: int64(size)})
		if err != nil {
			return err
		}
		return c.out.print(v, func(w io.Writer) { fmt.Fprintf(w, "Volume %s has %s now.\n", v.Name, api.Size(v.Size)) })
	})
	return cmd
}

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeAttach(c *client) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "attach NAME",
		Short:             "Serve a volume that no gateway serves, or that has failed here",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().BoolVar(&force, "force", false, "take it from a gateway that is gone: what that one had not uploaded is lost")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		v, err := daemon.AttachVolume(ctx, name, api.AttachRequest{Force: force})
		if err != nil {
			return err
		}
		return c.out.print(v, func(w io.Writer) { fmt.Fprintf(w, "Volume %s is attached: %s at %s.\n", v.Name, v.IQN, v.Portal) })
	})
	return cmd
}

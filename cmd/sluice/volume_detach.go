package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeDetach(c *client) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "detach NAME",
		Short: "Upload all of a volume and give it up, so that any gateway may attach it",
		Long: "Upload all of a volume and give it up, so that any gateway may attach it. This takes as long as\n" +
			"the upload does; if it is interrupted, the volume stays attached.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().BoolVar(&force, "force", false, "also while initiators are logged in; their sessions are closed")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		v, err := daemon.DetachVolume(ctx, name, api.DetachRequest{Force: force})
		if err != nil {
			return err
		}
		return c.out.print(v, func(w io.Writer) { fmt.Fprintf(w, "Volume %s is detached.\n", v.Name) })
	})
	return cmd
}

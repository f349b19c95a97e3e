package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeShow(c *client) *cobra.Command {
	return &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a volume and who is logged in to it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
		RunE: c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
			v, err := daemon.ShowVolume(ctx, name)
			if err != nil {
				return err
			}
			return c.out.print(v, func(w io.Writer) { printVolume(w, v) })
		}),
	}
}

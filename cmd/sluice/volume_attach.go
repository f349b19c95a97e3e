package main

import (
	"context"
	"fmt"
	"io"
	"time"

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
		before, err := daemon.ShowVolume(ctx, name) // its last takeover may be an old one
		if err != nil {
			return err
		}
		v, err := daemon.AttachVolume(ctx, name, api.AttachRequest{Force: force})
		if err != nil {
			return err
		}
		return c.out.print(v, func(w io.Writer) {
			fmt.Fprintf(w, "Volume %s is attached: %s at %s.\n", v.Name, v.IQN, v.Portal)
			if t := v.Takeover; t != nil && (before.Takeover == nil || !before.Takeover.Time.Equal(t.Time)) {
				fmt.Fprintln(w, describeLoss(t))
			}
		})
	})
	return cmd
}

// describeLoss says what may be missing of a volume that was taken from its gateway. Nobody knows it exactly: that gateway may have
// uploaded some of it since, and may have accepted more.
func describeLoss(t *api.Takeover) string {
	return fmt.Sprintf("It was taken from the gateway on %s. When that one was last heard of, %s before, %s were not uploaded. "+
		"What it has not uploaded since is missing, and so is what it has accepted since.",
		t.Host, t.Time.Sub(t.Renewed).Round(time.Second), about(t.Queued))
}

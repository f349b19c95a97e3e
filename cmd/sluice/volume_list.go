package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeList(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all volumes in the bucket",
		Args:  cobra.NoArgs,
		RunE: c.verb(func(ctx context.Context, daemon *api.Client, _ []string) error {
			volumes, err := daemon.ListVolumes(ctx)
			if err != nil {
				return err
			}
			return c.out.print(api.VolumeList{Volumes: volumes}, func(w io.Writer) { printVolumes(w, volumes) })
		}),
	}
}

// printVolumes prints a line for each volume.
func printVolumes(w io.Writer, volumes []api.Volume) {
	t := newTable(w, "name", "size", "mode", "state", "not uploaded", "sessions", "IQN")
	for _, v := range volumes {
		state := string(v.State)
		if v.State == api.StateElsewhere && v.Owner != nil {
			state = "on " + v.Owner.Host
		}
		t.AppendRow([]any{v.Name, api.Size(v.Size), v.Mode, state, about(v.Queued), len(v.Sessions), v.IQN})
	}
	t.Render()
}

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

// salvageDocument is what snapshot salvage prints as JSON.
type salvageDocument struct {
	Volume       *api.Volume       `json:"volume"`
	Verification *api.Verification `json:"verification"`
}

func newSnapshotSalvage(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "salvage ID NEW",
		Short: "Create a volume of what is left of a damaged snapshot; what is lost reads as zeros",
		Long: "Verifies the snapshot, lists the ranges of bytes that are lost, and creates a volume that has zeros there and\n" +
			"everything else as it was. A clone of a damaged snapshot, in contrast, fails the reads that meet the damage: it\n" +
			"never gives wrong data, and the lost parts come back with the objects. Snapshots without damage are not salvaged.",
		Example: "  sluice snapshot salvage 1f0c rescued",
		Args:    cobra.ExactArgs(2),
		RunE: c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
			if err := api.CheckName(args[1]); err != nil {
				return &usageError{err}
			}
			v, err := daemon.VerifySnapshot(ctx, args[0], api.VerifyRequest{})
			if err != nil {
				return err
			}
			if v, err = c.awaitVerification(ctx, daemon, v); err != nil {
				return err
			}
			if v.State == api.VerificationFailed || v.State == api.VerificationCanceled {
				return fmt.Errorf("snapshot %s was not verified: %s", v.Snapshot, v.Error)
			}
			volume, err := daemon.SalvageVolume(ctx, v.ID, api.SalvageRequest{Name: args[1]})
			if err != nil {
				return err
			}
			return c.out.print(salvageDocument{volume, v}, func(w io.Writer) {
				printVerification(w, v)
				fmt.Fprintf(w, "\nVolume %s of %s is ready. These ranges read as zeros; all else is as it was.\n", volume.Name, api.Size(volume.Size))
			})
		}),
	}
}

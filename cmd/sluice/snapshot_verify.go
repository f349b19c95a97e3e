package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newSnapshotVerify(c *client) *cobra.Command {
	var req api.VerifyRequest
	cmd := &cobra.Command{
		Use:   "verify ID",
		Short: "Read all of a snapshot in the bucket, and say whether it is as it was written",
		Long: "Looks at every object that the snapshot needs, and compares each block with its checksum, without restoring\n" +
			"anything. What is lost is listed, and the exit status is 1. To interrupt the command ends the verification.",
		Example: "  sluice snapshot verify 1f0c\n  sluice snapshot verify 1f0c --quick",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&req.Quick, "quick", false, "read only the headers of objects (about 1 % of the data): finds what is missing or cut short")
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		v, err := daemon.VerifySnapshot(ctx, args[0], req)
		if err != nil {
			return err
		}
		if v, err = c.awaitVerification(ctx, daemon, v); err != nil {
			return err
		}
		switch v.State {
		case api.VerificationFailed, api.VerificationCanceled, api.VerificationRunning:
			return fmt.Errorf("snapshot %s was not verified: %s", v.Snapshot, v.Error)
		case api.VerificationGood, api.VerificationDamaged:
		}
		if err := c.out.print(v, func(w io.Writer) { printVerification(w, v) }); err != nil {
			return err
		}
		if v.State == api.VerificationDamaged {
			return fmt.Errorf("snapshot %s is damaged: %s of volume %s are lost", v.Snapshot, about(v.LostBytes), v.Volume)
		}
		return nil
	})
	return cmd
}

// cancelTime is how long an interrupted command tries to end what it has begun.
const cancelTime = 2 * time.Second

// awaitVerification returns when a verification has ended, and says how far it is meanwhile. If the command is interrupted, so is
// the verification.
func (c *client) awaitVerification(ctx context.Context, daemon *api.Client, v *api.Verification) (*api.Verification, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	said := time.Now()
	for v.State == api.VerificationRunning {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
			defer cancel()
			if err := daemon.CancelVerification(ending, v.ID); err != nil {
				return nil, err
			}
			return nil, ctx.Err()
		}
		next, err := daemon.ShowVerification(ctx, v.ID)
		if err != nil {
			if ctx.Err() != nil {
				continue
			}
			return nil, err
		}
		v = next
		if time.Since(said) >= 2*time.Second {
			said = time.Now()
			if v.Total == 0 {
				fmt.Fprintf(c.out.stderr, "reading the map\n")
				continue
			}
			fmt.Fprintf(c.out.stderr, "%s of %s, %s/s%s\n", about(v.Done), about(v.Total), about(v.Rate), timeLeft(v.Left))
		}
	}
	return v, nil
}

func printVerification(w io.Writer, v *api.Verification) {
	kind := "all of it is there"
	if v.Quick {
		kind = "all objects are there; their content was not read"
	}
	if v.State == api.VerificationDamaged {
		kind = fmt.Sprintf("%d objects are damaged or missing", v.Damaged)
	}
	fields(w, "snapshot", v.Snapshot, "volume", v.Volume, "result", kind,
		"looked at", fmt.Sprintf("%d objects, %s of blocks; read %s in %s", v.Objects, about(v.Blocks*4096), about(v.Read),
			time.Duration(v.Took*float64(time.Second)).Round(time.Millisecond)))
	if len(v.Lost) == 0 {
		return
	}
	fmt.Fprintf(w, "\nLost, %s in all:\n", about(v.LostBytes))
	t := newTable(w, "offset", "length", "object", "reason")
	for _, l := range v.Lost {
		t.AppendRow([]any{l.Offset, l.Length, l.Object, l.Reason})
	}
	t.Render()
	if v.LostMore > 0 {
		fmt.Fprintf(w, "and %d more ranges\n", v.LostMore)
	}
}

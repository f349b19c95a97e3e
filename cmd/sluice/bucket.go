package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance"
	"sluice/appliance/api"
)

func newBucket(env *environment, out *output) *cobra.Command {
	return group("bucket", "Look into a bucket without a gateway", newBucketCheck(env, out))
}

func newBucketCheck(env *environment, out *output) *cobra.Command {
	var req api.ScrubRequest
	var rate api.Size
	cmd := &cobra.Command{
		Use:   "check URL",
		Short: "Read all that volumes and snapshots need in a bucket, and say what is missing or damaged",
		Long: "Reads every object that volumes, their recovery points and snapshots need, and compares each block with its\n" +
			"checksum: sluice volume scrub without a gateway. It changes nothing, and may run while gateways serve the\n" +
			"volumes. What is damaged is listed with what that means, and the exit status is 1.",
		Example: "  sluice bucket check 's3://my-bucket/prefix?region=eu-central-1'\n  sluice bucket check file:///var/lib/sluice/store --volume demo --quick",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&req.Volume, "volume", "", "only this volume, its recovery points and its snapshots")
	addScrubFlags(cmd, &req, &rate)
	cmd.RunE = ran(func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		req.Rate = int64(rate)
		began := time.Now()
		var progress appliance.Progress
		done := sayProgress(ctx, out, &progress)
		log := slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		report, err := appliance.CheckBucket(ctx, args[0], req, &progress, log)
		done()
		if err != nil {
			return err
		}
		return out.printScrub(report, report, time.Since(began))
	})
	return cmd
}

// sayProgress says now and then how far a check is, until stop is called.
func sayProgress(ctx context.Context, out *output, p *appliance.Progress) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	began := time.Now()
	var said sync.WaitGroup
	said.Go(func() {
		tick := time.NewTicker(sayEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				done, total := p.Bytes()
				fmt.Fprintln(out.stderr, scrubProgress(done, total, time.Since(began)))
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		said.Wait()
	}
}

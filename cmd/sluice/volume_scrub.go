package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newVolumeScrub(c *client) *cobra.Command {
	var req api.ScrubRequest
	var rate api.Size
	cmd := &cobra.Command{
		Use:   "scrub NAME | --all",
		Short: "Read all that volumes need in the bucket, and repair what is damaged from local copies",
		Long: "Reads every object that the volume, its recovery points and its snapshots need, compares each block with its\n" +
			"checksum, and writes damaged segments anew where a local copy has what is lost. Local copies are compared, too;\n" +
			"what is wrong there is dropped and fetched again. What stays damaged is listed, and the exit status is 1. To\n" +
			"interrupt the command ends the scrub. There is one at a time.",
		Example:           "  sluice volume scrub demo\n  sluice volume scrub --all --rate 50MiB",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().BoolVar(&req.All, "all", false, "all volumes and snapshots of the bucket")
	addScrubFlags(cmd, &req, &rate)
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		if (len(args) == 1) == req.All {
			return usagef("name a volume, or say --all")
		}
		if len(args) == 1 {
			if err := api.CheckName(args[0]); err != nil {
				return &usageError{err}
			}
			req.Volume = args[0]
		}
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		req.Rate = int64(rate)
		s, err := daemon.StartScrub(ctx, req)
		if err != nil {
			return err
		}
		if s, err = c.awaitScrub(ctx, daemon, s); err != nil {
			return err
		}
		if s.Report == nil {
			return fmt.Errorf("the scrub did not come to its end: %s", s.Error)
		}
		return c.out.printScrub(s, s.Report, time.Duration(s.Took*float64(time.Second)))
	})
	return cmd
}

// addScrubFlags adds the flags that a scrub and a check of a bucket have in common.
func addScrubFlags(cmd *cobra.Command, req *api.ScrubRequest, rate *api.Size) {
	cmd.Flags().BoolVar(&req.Quick, "quick", false, "read only the headers of segments (about 1 % of the data): finds what is missing, cut short or another's")
	cmd.Flags().Var(rate, "rate", "read no more than this in a second from the bucket, such as 50MiB")
}

// awaitScrub returns when a scrub has ended, and says how far it is meanwhile. If the command is interrupted, so is the scrub.
func (c *client) awaitScrub(ctx context.Context, daemon *api.Client, s *api.Scrub) (*api.Scrub, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	said := time.Now()
	for s.State == api.ScrubRunning {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
			defer cancel()
			if err := daemon.CancelScrub(ending, s.ID); err != nil {
				return nil, err
			}
			return nil, ctx.Err()
		}
		next, err := daemon.ShowScrub(ctx, s.ID)
		if err != nil {
			if ctx.Err() != nil {
				continue
			}
			return nil, err
		}
		s = next
		if time.Since(said) >= 2*time.Second {
			said = time.Now()
			fmt.Fprintln(c.out.stderr, scrubProgress(s.Done, s.Total, time.Since(s.Started)))
		}
	}
	return s, nil
}

func scrubProgress(done, total int64, took time.Duration) string {
	if total == 0 {
		return "reading the maps"
	}
	rate := int64(float64(done) / max(took.Seconds(), 1e-3))
	left := ""
	if rate > 0 {
		left = timeLeft((total - done) / rate)
	}
	return fmt.Sprintf("%s of %s, %s/s%s", about(done), about(total), about(rate), left)
}

// printScrub prints what was found; it is an error if something stays damaged.
func (o *output) printScrub(document any, r *api.ScrubReport, took time.Duration) error {
	if err := o.print(document, func(w io.Writer) { printScrubReport(w, r, took) }); err != nil {
		return err
	}
	if !r.OK() {
		return fmt.Errorf("%d objects and %d local blocks are damaged", len(r.Damaged), r.LocalBad)
	}
	return nil
}

func printScrubReport(w io.Writer, r *api.ScrubReport, took time.Duration) {
	result := "nothing is damaged"
	switch {
	case !r.OK():
		result = fmt.Sprintf("%d objects are damaged", len(r.Damaged))
	case len(r.Repaired) > 0:
		result = "nothing is damaged any more"
	}
	pairs := []string{
		"result", result,
		"looked at", fmt.Sprintf("%d volumes, %d roots of their past, %d snapshots", r.Volumes, r.Points, r.Snapshots),
		"read", fmt.Sprintf("%d objects, %s of blocks; %s in %s", r.Objects, about(r.Blocks*4096), about(r.Read), took.Round(time.Millisecond)),
	}
	if len(r.Repaired) > 0 {
		pairs = append(pairs, "repaired", strconv.Itoa(len(r.Repaired))+" objects")
	}
	if r.LocalDropped > 0 {
		pairs = append(pairs, "local copies", fmt.Sprintf("%d blocks were wrong; they are fetched again when they are needed", r.LocalDropped))
	}
	if r.LocalBad > 0 {
		pairs = append(pairs, "local copies", fmt.Sprintf("%d blocks are wrong, and not in the bucket yet", r.LocalBad))
	}
	if r.Orphans > 0 {
		pairs = append(pairs, "orphans", fmt.Sprintf("%d objects, %s, that nothing refers to: a gateway collects them", r.Orphans, about(r.OrphanBytes)))
	}
	for _, note := range r.Notes {
		pairs = append(pairs, "note", note)
	}
	fields(w, pairs...)
	printObjects(w, "Repaired", r.Repaired)
	printObjects(w, "Damaged", r.Damaged)
	if len(r.Losses) > 0 {
		fmt.Fprintf(w, "\nLost:\n")
		printLosses(w, r.Losses)
	}
}

func printObjects(w io.Writer, title string, list []api.ScrubObject) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, o := range list {
		fmt.Fprintf(w, "%s\n    %s\n", o.Object, o.Reason)
		for _, effect := range o.Effects {
			fmt.Fprintf(w, "    %s\n", effect)
		}
	}
}

// printLosses prints the lost ranges of each moment.
func printLosses(w io.Writer, losses []api.ScrubLoss) {
	t := newTable(w, "volume", "of", "offset", "length", "object")
	for _, l := range losses {
		of := "the volume as it is"
		switch {
		case l.Snapshot != "":
			of = "snapshot " + l.Snapshot
		case l.Time != nil:
			of = "its root of " + localTime(*l.Time)
		}
		for _, g := range l.Lost {
			t.AppendRow([]any{l.Volume, of, g.Offset, g.Length, g.Object})
		}
		if l.More > 0 {
			t.AppendRow([]any{l.Volume, of, fmt.Sprintf("and %d more ranges", l.More), about(l.Bytes) + " in all", ""})
		}
	}
	t.Render()
}

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newSchedule(c *client) *cobra.Command {
	return group("schedule", "Have snapshots made by themselves", newScheduleSet(c), newScheduleList(c), newScheduleDelete(c))
}

func newScheduleSet(c *client) *cobra.Command {
	var req api.ScheduleRequest
	cmd := &cobra.Command{
		Use:   "set VOLUME",
		Short: "Make snapshots of a volume again and again",
		Long: "One snapshot is made each day at the time --at, and from there one after each --every. If --every is more than\n" +
			"a day (168h is a week), one is made at that time each so many days, and each week on Monday. If the gateway was off\n" +
			"at the time, the snapshot is made when it is on again.\n\n" +
			"With --keep, hourly=24 keeps the last snapshot of each of the last 24 hours that have one; daily, weekly, monthly\n" +
			"and yearly likewise; last=3 keeps the last three. The others that the schedule made are deleted, but never the\n" +
			"newest, and never those that somebody made by hand.",
		Example: "  sluice snapshot schedule set demo --every 4h --at 01:00 --keep hourly=24,daily=7,weekly=4,monthly=12",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().StringVar(&req.Every, "every", "", "how often: divides a day, as 30m and 4h do, or is whole days, as 24h and 168h are")
	cmd.Flags().StringVar(&req.At, "at", "00:00", "time of day of one of the snapshots")
	cmd.Flags().StringVar(&req.Zone, "zone", "UTC", "time zone of --at, and of the days of --keep, such as Europe/Paris")
	cmd.Flags().StringVar(&req.Keep, "keep", "", "which to keep, such as hourly=24,daily=7,weekly=4,monthly=12 (default: all)")
	require(cmd, "every")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		s, err := daemon.SetSchedule(ctx, name, req)
		if err != nil {
			return err
		}
		return c.out.print(s, func(w io.Writer) {
			fmt.Fprintf(w, "Volume %s has a schedule. The next snapshot is due at %s.\n", name, moment(s.Next, s.Zone))
		})
	})
	return cmd
}

func newScheduleList(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List schedules, with what they made last, what comes next, and what failed", Args: cobra.NoArgs,
		RunE: c.verb(func(ctx context.Context, daemon *api.Client, _ []string) error {
			list, err := daemon.ListSchedules(ctx)
			if err != nil {
				return err
			}
			return c.out.print(api.ScheduleList{Schedules: list}, func(w io.Writer) { printSchedules(w, list) })
		}),
	}
}

func newScheduleDelete(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "delete VOLUME", Short: "Make no more snapshots by themselves; those that there are stay", Args: cobra.ExactArgs(1),
		Long:              "Ends the schedule of a volume. One whose volume is gone is named by the volume's ID, as the list shows it.",
		ValidArgsFunction: c.completeVolume,
		RunE: c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
			if err := daemon.DeleteSchedule(ctx, args[0]); err != nil {
				return err
			}
			return c.out.print(deletedDocument{Deleted: args[0]}, func(w io.Writer) {
				fmt.Fprintf(w, "Volume %s has no schedule any more.\n", args[0])
			})
		}),
	}
}

func printSchedules(w io.Writer, list []api.Schedule) {
	t := newTable(w, "volume", "every", "at", "zone", "keep", "last", "next")
	for _, s := range list {
		name := s.Volume
		if name == "" {
			name = s.VolumeID + " (deleted)"
		}
		keep := s.Keep
		if keep == "" {
			keep = "all"
		}
		next := moment(s.Next, s.Zone)
		if s.Making {
			next = "now"
		}
		t.AppendRow([]any{name, short(s.Every), s.At, s.Zone, keep, moment(s.Last, s.Zone), next})
	}
	t.Render()
	for _, s := range list {
		if s.Error != "" {
			fmt.Fprintf(w, "\nvolume %s: the last attempt failed; it is tried again: %s\n", s.Volume, s.Error)
		}
	}
}

// moment shows a time in a schedule's zone.
func moment(at *time.Time, zone string) string {
	if at == nil {
		return "-"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil { // a newer gateway may know more zones
		loc = time.UTC
	}
	return at.In(loc).Format(time.RFC3339)
}

// short shows 4h0m0s as 4h.
func short(text string) string {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return text
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return text
}

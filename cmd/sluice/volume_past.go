package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newRecoveryPoints(c *client) *cobra.Command {
	var moments int
	var window time.Duration
	cmd := &cobra.Command{
		Use:   "recovery-points NAME",
		Short: "Show the moments that a volume can go back to, or set for how long they are kept",
		Long: "A cached volume can go back to the moment at which each of its segments was sealed: under load several in\n" +
			"a second, else one for every few seconds in which something was written. They are kept for the volume's\n" +
			"recovery window, 24 hours unless something else is asked for; that takes as much room in the bucket as was\n" +
			"overwritten meanwhile. sluice volume clone NAME NEW --at TIME makes a volume of one.",
		Example:           "  sluice volume recovery-points demo\n  sluice volume recovery-points demo --moments 20\n  sluice volume recovery-points demo --keep 72h",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().IntVar(&moments, "moments", 0, "list so many of the newest moments one by one")
	cmd.Flags().DurationVar(&window, "keep", 0, "change the recovery window (0: keep no past)")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		var shown *api.RecoveryPoints
		var err error
		if cmd.Flags().Changed("keep") {
			if window < 0 || window%time.Second != 0 {
				return usagef("--keep %s: say whole seconds", window)
			}
			shown, err = daemon.SetRecoveryWindow(ctx, name, api.WindowRequest{Window: int64(window / time.Second)})
		} else {
			shown, err = daemon.RecoveryPoints(ctx, name, moments)
		}
		if err != nil {
			return err
		}
		return c.out.print(shown, func(w io.Writer) { printPast(w, shown) })
	})
	return cmd
}

func printPast(w io.Writer, p *api.RecoveryPoints) {
	if len(p.Points) == 0 {
		fmt.Fprintf(w, "Volume %s keeps no past.\n", p.Volume)
		return
	}
	fmt.Fprintf(w, "Volume %s keeps its past for %s, since %s.\n\n", p.Volume, time.Duration(p.Window)*time.Second, localTime(p.Points[0].Time))
	if len(p.Moments) > 0 {
		for _, t := range p.Moments {
			fmt.Fprintln(w, localTime(t))
		}
		return
	}
	t := newTable(w, "from", "moments")
	for _, point := range p.Points {
		t.AppendRow([]any{localTime(point.Time), point.Moments})
	}
	t.Render()
}

// localTime prints a time so that parseMoment reads it again.
func localTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

// parseMoment reads a moment of the past: with date or without, or how long ago it was.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(s); err == nil {
		return now.Add(-ago.Abs()), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			t = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), now.Location())
			if t.After(now) {
				t = t.AddDate(0, 0, -1)
			}
			return t, nil
		}
	}
	return time.Time{}, usagef("%q is no time: say 2026-11-23 14:05, 14:05:30, 2026-11-23T14:05:00Z or how long ago it was, 90m", s)
}

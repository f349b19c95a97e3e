package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newStatus(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the gateway: its volumes, upload buffer, cache, upload queue and sessions",
		Args:  cobra.NoArgs,
		RunE: c.verb(func(ctx context.Context, daemon *api.Client, _ []string) error {
			s, err := daemon.Status(ctx)
			if err != nil {
				return err
			}
			return c.out.print(s, func(w io.Writer) { printStatus(w, s) })
		}),
	}
}

func printStatus(w io.Writer, s *api.Status) {
	queue := fmt.Sprintf("%s in %d segments", about(s.Queue.Bytes), s.Queue.Segments)
	if s.Queue.Oldest != nil {
		queue += fmt.Sprintf(", the oldest accepted %s ago", ago(*s.Queue.Oldest))
	}
	fields(w,
		"gateway", fmt.Sprintf("%s on %s, sluice %s, up %s", s.Gateway.ID, s.Gateway.Host, s.Gateway.Version,
			(time.Duration(s.Gateway.Uptime)*time.Second).String()),
		"data directory", s.Gateway.DataDir,
		"portal", s.Gateway.Portal,
		"store", s.Store.URL,
		"requests", fmt.Sprintf("%d to the store, %d failed or found nothing; sent %s, received %s",
			s.Store.Requests, s.Store.Errors, about(s.Store.Sent), about(s.Store.Received)),
		"upload buffer", fmt.Sprintf("%s of %s used", about(s.Buffer.Used), api.Size(s.Buffer.Size)),
		"upload queue", queue,
		"cache", fmt.Sprintf("%s of %s used, %.1f %% of reads found all they wanted", about(s.Cache.Used), api.Size(s.Cache.Size), 100*s.Cache.HitRate),
		"collector", describeCollection(&s.Collection),
		"sessions", fmt.Sprint(s.Sessions),
	)
	if len(s.Volumes) > 0 {
		fmt.Fprintln(w)
		printVolumes(w, s.Volumes)
	}
	printSpace(w, s.Volumes)
	printStandby(w, s.Standby)
	if n := s.Schedules; n.Error != "" {
		fmt.Fprintf(w, "\nsnapshot schedules: %d of %d fail: %s\n", n.Failing, n.Schedules, n.Error)
	}
	for _, v := range s.Volumes {
		switch {
		case v.Error != "":
			fmt.Fprintf(w, "\nvolume %s has failed: %s\n", v.Name, v.Error)
		case v.Lease != nil && !v.Lease.Held:
			fmt.Fprintf(w, "\nvolume %s answers no I/O: its lease has run out and cannot be renewed; it goes on when the bucket can be reached, unless another gateway has taken it over\n", v.Name)
		case len(v.Waiting) > 0:
			for _, wait := range v.Waiting {
				fmt.Fprintf(w, "\nvolume %s: %s\n", v.Name, describeWaiting(wait))
			}
		case v.UploadError != "":
			fmt.Fprintf(w, "\nvolume %s cannot be uploaded now; it is tried again: %s\n", v.Name, v.UploadError)
		}
	}
}

// describeWaiting tells what is held up, since when, why, and what comes next.
func describeWaiting(w api.Waiting) string {
	if w.Work == "write" {
		return fmt.Sprintf("writes fail since %s ago, and go on when the local disk has room again: %s", ago(w.Since), w.Error)
	}
	what := "reads of what is not on local disk wait"
	switch w.Work {
	case "upload":
		what = "uploads wait, writes go on until the upload buffer is full"
	case "mirror":
		what = "flushes wait for the peer, or for the bucket instead"
	}
	next := "nothing is lost, and it goes on when the answer comes"
	if w.Next != nil {
		next = "it is being tried again"
		if in := time.Until(*w.Next); in > 0 {
			next += fmt.Sprintf(" in %.0f s", in.Seconds())
		}
	}
	return fmt.Sprintf("%s, for %s already; %s: %s", what, ago(w.Since), next, w.Error)
}

// printStandby prints what would be taken over.
func printStandby(w io.Writer, s *api.StandbyStatus) {
	if s == nil {
		return
	}
	fmt.Fprintf(w, "\nstands by for group %s: %d volumes\n", s.Group, len(s.Volumes))
	if len(s.Volumes) == 0 {
		return
	}
	t := newTable(w, "name", "served on", "not uploaded", "last sign of life", "taken over after")
	for _, v := range s.Volumes {
		t.AppendRow([]any{v.Name, v.Host, about(v.Queued), fmt.Sprintf("%.0f s ago", v.Silent), fmt.Sprintf("%.0f s", v.Patience)})
	}
	t.Render()
}

func describeCollection(c *api.CollectionStatus) string {
	if c.At == nil {
		return "has not looked over the bucket since the start"
	}
	if c.Error != "" {
		return fmt.Sprintf("failed %s ago, and deletes nothing in doubt: %s", ago(*c.At), c.Error)
	}
	return fmt.Sprintf("%s ago: %s in %d objects, %s of it garbage that is deleted soon; freed %s since the start",
		ago(*c.At), about(c.Bytes), c.Objects, about(c.Garbage), about(c.Freed))
}

// printSpace prints what volumes take in the bucket, where that is known.
func printSpace(w io.Writer, volumes []api.Volume) {
	t, known := newTable(w, "in the bucket", "live", "shared", "dead"), false
	for _, v := range volumes {
		if v.Space != nil {
			t.AppendRow([]any{v.Name, about(v.Space.Live), about(v.Space.Shared), about(v.Space.Dead)})
			known = true
		}
	}
	if known {
		fmt.Fprintln(w)
		t.Render()
	}
}

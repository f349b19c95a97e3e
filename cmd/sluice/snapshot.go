package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newSnapshot(c *client) *cobra.Command {
	return group("snapshot", "Create, show, compare, verify and delete snapshots of volumes",
		newSnapshotCreate(c), newSnapshotList(c), newSnapshotShow(c), newSnapshotDelete(c), newSnapshotDiff(c), newSnapshotVerify(c), newSnapshotSalvage(c), newSchedule(c),
		newSnapshotExport(c))
}

func newSnapshotCreate(c *client) *cobra.Command {
	var req api.SnapshotRequest
	var tags, more []string
	var noWait bool
	cmd := &cobra.Command{
		Use:   "create VOLUME...",
		Short: "Keep this moment of one or more volumes in the bucket",
		Long: "Notes one moment of all the volumes that are named, without stopping them, and waits until what it\n" +
			"needs is in the bucket. Only what changed since the last upload is sent.",
		Example: "  sluice snapshot create demo --description \"before the upgrade\"\n  sluice snapshot create db log --tag app=shop",
		Args:    cobra.ArbitraryArgs,
	}
	cmd.Flags().StringVar(&req.Description, "description", "", "a line for people")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "KEY=VALUE; may be given again")
	cmd.Flags().StringArrayVar(&more, "volume", nil, "a volume to take part; may be given again")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as the moment is noted; it is lost if the gateway stops before the upload ends")
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		for _, tag := range tags {
			key, value, ok := strings.Cut(tag, "=")
			if !ok || key == "" {
				return &usageError{fmt.Errorf("--tag %q is not KEY=VALUE", tag)}
			}
			if req.Tags == nil {
				req.Tags = map[string]string{}
			}
			req.Tags[key] = value
		}
		if req.Volumes = append(args, more...); len(req.Volumes) == 0 {
			return usagef("say which volumes")
		}
		list, err := daemon.CreateSnapshots(ctx, req)
		if err != nil {
			return err
		}
		if !noWait {
			if err := c.await(ctx, daemon, list); err != nil {
				return err
			}
		}
		return c.out.print(api.SnapshotList{Snapshots: list}, func(w io.Writer) { printSnapshots(w, list) })
	})
	return cmd
}

// pollEvery is how often a snapshot that is under way is asked for.
const pollEvery = 250 * time.Millisecond

// await returns when all snapshots are complete, and says how far they are meanwhile.
func (c *client) await(ctx context.Context, daemon *api.Client, list []api.Snapshot) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	said := time.Now()
	for {
		waiting := 0
		for i := range list {
			if list[i].State == api.SnapshotComplete {
				continue
			}
			s, err := daemon.ShowSnapshot(ctx, list[i].ID)
			if err != nil {
				return err
			}
			list[i] = *s
			switch s.State {
			case api.SnapshotFailed:
				return fmt.Errorf("snapshot of volume %s: %s", s.Volume, s.Error)
			case api.SnapshotUploading:
				waiting++
				if time.Since(said) >= 2*time.Second {
					said = time.Now()
					fmt.Fprintf(c.out.stderr, "%s: %s of %s in the bucket%s\n", s.Volume, about(s.Done), about(s.Total), timeLeft(s.Left))
				}
			case api.SnapshotComplete:
			}
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func timeLeft(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return ", about " + (time.Duration(seconds) * time.Second).String() + " left"
}

func newSnapshotList(c *client) *cobra.Command {
	var volume string
	cmd := &cobra.Command{Use: "list", Short: "List snapshots, the oldest first", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&volume, "volume", "", "only those of this volume (name or ID)")
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, _ []string) error {
		list, err := daemon.ListSnapshots(ctx, volume)
		if err != nil {
			return err
		}
		return c.out.print(api.SnapshotList{Snapshots: list}, func(w io.Writer) { printSnapshots(w, list) })
	})
	return cmd
}

func newSnapshotShow(c *client) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a snapshot; the beginning of its ID is enough", Args: cobra.ExactArgs(1),
		RunE: c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
			s, err := daemon.ShowSnapshot(ctx, args[0])
			if err != nil {
				return err
			}
			return c.out.print(s, func(w io.Writer) { printSnapshot(w, s) })
		}),
	}
}

func newSnapshotDelete(c *client) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{Use: "delete ID", Short: "Delete a snapshot; volumes made of it are not touched", Args: cobra.ExactArgs(1)}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		if !yes {
			if err := c.confirm("snapshot", args[0]); err != nil {
				return err
			}
		}
		if err := daemon.DeleteSnapshot(ctx, args[0]); err != nil {
			return err
		}
		return c.out.print(deletedDocument{Deleted: args[0]}, func(w io.Writer) { fmt.Fprintf(w, "Snapshot %s is deleted.\n", args[0]) })
	})
	return cmd
}

func printSnapshots(w io.Writer, list []api.Snapshot) {
	t := newTable(w, "ID", "volume", "moment", "size", "state", "description")
	for _, s := range list {
		state := string(s.State)
		if s.State == api.SnapshotUploading && s.Total > 0 {
			state = fmt.Sprintf("%s %d%%", state, 100*s.Done/s.Total)
		}
		t.AppendRow([]any{s.ID, s.Volume, s.Created.Format(time.RFC3339), api.Size(s.Size), state, s.Description})
	}
	t.Render()
}

func printSnapshot(w io.Writer, s *api.Snapshot) {
	pairs := []string{
		"ID", s.ID, "state", string(s.State), "volume", s.Volume + " (" + s.VolumeID + ")", "mode", s.Mode,
		"size", api.Size(s.Size).String(), "moment", s.Created.Format(time.RFC3339Nano),
		"uploaded", about(s.Done) + " of " + about(s.Total) + timeLeft(s.Left),
	}
	for _, p := range [][2]string{{"error", s.Error}, {"description", s.Description}, {"group", s.Group}} {
		if p[1] != "" {
			pairs = append(pairs, p[0], p[1])
		}
	}
	if s.Frees != nil {
		pairs = append(pairs, "to be freed", "about "+about(*s.Frees)+" before compression, if it is deleted")
	}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		pairs = append(pairs, "tag "+key, s.Tags[key])
	}
	fields(w, pairs...)
}

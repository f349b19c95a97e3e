package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

// durabilities are those that there are, and what they mean.
var durabilities = map[string]string{
	"local":  "wait for the disk of the gateway",
	"peer":   "wait for the disks of the gateway and of its peer",
	"bucket": "wait for the bucket",
}

func describeDurability(v *api.Volume) string {
	who := "flushes"
	if v.WriteThrough {
		who = "writes"
	}
	return who + " " + durabilities[v.Durability]
}

func writeThroughFlag(cmd *cobra.Command, on *bool) {
	cmd.Flags().BoolVar(on, "write-through", false, "each write waits for that, not only flushes, so that an initiator notices nothing when another gateway takes over; to be changed while no initiator is logged in")
}

func newVolumeDurability(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "durability NAME local|peer|bucket",
		Short: "Set what the flushes of a cached volume wait for",
		Long: "Set what the flushes of a cached volume wait for. With local, the default, that is the disk of the gateway: what is flushed\n" +
			"survives a loss of power, and what was not uploaded, of the last seconds, is lost if the gateway is. With peer it is also the\n" +
			"disk of the gateway that serve --peer names, which loses nothing that was flushed when it takes over. With bucket it is\n" +
			"the bucket: what is flushed survives the loss of the gateway. Each flush is an upload then, shared by all who flush at the\n" +
			"same time, and while the bucket cannot be reached flushes wait.",
		Example: "  sluice volume durability demo bucket\n  sluice volume durability db peer --write-through",
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return c.completeVolume(cmd, args, text)
			}
			return []string{"local", "peer", "bucket"}, cobra.ShellCompDirectiveNoFileComp
		},
	}
	var through bool
	writeThroughFlag(cmd, &through)
	cmd.RunE = c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		req := api.DurabilityRequest{Durability: args[1]}
		if cmd.Flags().Changed("write-through") {
			req.WriteThrough = &through
		}
		v, err := daemon.SetDurability(ctx, args[0], req)
		if err != nil {
			return err
		}
		return c.out.print(v, func(w io.Writer) { fmt.Fprintf(w, "Volume %s: %s.\n", v.Name, describeDurability(v)) })
	})
	return cmd
}

// settings are those of a new volume.
type settings struct {
	window     time.Duration
	durability string
	through    bool
}

func (s *settings) flags(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&s.window, "recovery-window", 24*time.Hour, "for how long the volume can go back to what it was (0: not at all)")
	cmd.Flags().StringVar(&s.durability, "durability", "local", "what flushes wait for: local (disk of this gateway), peer (and that of its peer) or bucket; with the last two losing the gateway loses nothing flushed")
	_ = cmd.RegisterFlagCompletionFunc("durability", cobra.FixedCompletions([]string{"local", "peer", "bucket"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	writeThroughFlag(cmd, &s.through)
}

// get returns what was said.
func (s *settings) get(cmd *cobra.Command) api.Settings {
	said := api.Settings{Durability: s.durability, WriteThrough: s.through}
	if cmd.Flags().Changed("recovery-window") {
		said.Window = new(int64(s.window / time.Second))
	}
	return said
}

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newInitiator(c *client) *cobra.Command {
	return group("initiator", "Say which initiators may log in to a volume",
		newInitiatorAllow(c), newInitiatorList(c), newInitiatorDeny(c))
}

// initiatorCommand returns a verb that changes the access list by one name.
func (c *client) initiatorCommand(use, short string,
	change func(ctx context.Context, daemon *api.Client, volume, iqn string) (*api.InitiatorList, error),
) *cobra.Command {
	var iqn string
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeVolume}
	cmd.Flags().StringVar(&iqn, "iqn", "", "the initiator's iSCSI name; on Linux it is in /etc/iscsi/initiatorname.iscsi")
	require(cmd, "iqn")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		if err := api.CheckInitiator(iqn); err != nil {
			return &usageError{err}
		}
		list, err := change(ctx, daemon, name, iqn)
		if err != nil {
			return err
		}
		return c.printInitiators(list)
	})
	return cmd
}

func newInitiatorAllow(c *client) *cobra.Command {
	return c.initiatorCommand("allow NAME --iqn IQN", "Put an initiator on a volume's access list; from then on only those on it may log in",
		func(ctx context.Context, daemon *api.Client, volume, iqn string) (*api.InitiatorList, error) {
			return daemon.AllowInitiator(ctx, volume, iqn)
		})
}

func newInitiatorDeny(c *client) *cobra.Command {
	return c.initiatorCommand("deny NAME --iqn IQN", "Take an initiator off a volume's access list and close its sessions",
		func(ctx context.Context, daemon *api.Client, volume, iqn string) (*api.InitiatorList, error) {
			return daemon.DenyInitiator(ctx, volume, iqn)
		})
}

func newInitiatorList(c *client) *cobra.Command {
	return &cobra.Command{
		Use:               "list NAME",
		Short:             "Print a volume's access list",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
		RunE: c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
			list, err := daemon.ListInitiators(ctx, name)
			if err != nil {
				return err
			}
			return c.printInitiators(list)
		}),
	}
}

func (c *client) printInitiators(list *api.InitiatorList) error {
	return c.out.print(list, func(w io.Writer) {
		if len(list.Initiators) == 0 {
			fmt.Fprintf(w, "Volume %s has no access list.\n", list.Volume)
		}
		for _, name := range list.Initiators {
			fmt.Fprintln(w, name)
		}
	})
}

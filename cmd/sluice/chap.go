package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

func newCHAP(c *client) *cobra.Command {
	return group("chap", "Ask initiators of a volume for a secret", newCHAPSet(c), newCHAPList(c), newCHAPDelete(c))
}

func newCHAPSet(c *client) *cobra.Command {
	var initiator, secretFile, mutualFile string
	var req api.CHAPRequest
	cmd := &cobra.Command{
		Use:   "set NAME --initiator IQN --user U --secret-file F [--mutual-user U --mutual-secret-file F]",
		Short: "Set the credentials of an initiator and close its sessions",
		Long: "Set the CHAP credentials of an initiator with a volume and close its sessions. From then on only\n" +
			"initiators with credentials may log in to the volume. Secrets are read from files that nobody\n" +
			"else may read (mode 0600); they have 12 to 255 bytes, and Windows initiators want 12 to 16.\n" +
			"With mutual credentials the gateway proves to the initiator who it is, too.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	flags := cmd.Flags()
	flags.StringVar(&initiator, "initiator", "", "the initiator's iSCSI name")
	flags.StringVar(&req.User, "user", "", "the user name that the initiator gives")
	flags.StringVar(&secretFile, "secret-file", "", "file with the initiator's secret")
	flags.StringVar(&req.MutualUser, "mutual-user", "", "the user name that the gateway gives")
	flags.StringVar(&mutualFile, "mutual-secret-file", "", "file with the gateway's secret")
	require(cmd, "initiator", "user", "secret-file")
	cmd.MarkFlagsRequiredTogether("mutual-user", "mutual-secret-file")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) (err error) {
		if err := api.CheckInitiator(initiator); err != nil {
			return &usageError{err}
		}
		if req.Secret, err = api.ReadSecretFile(secretFile); err != nil {
			return &usageError{err}
		}
		if mutualFile != "" {
			if req.MutualSecret, err = api.ReadSecretFile(mutualFile); err != nil {
				return &usageError{err}
			}
		}
		if err := req.Check(); err != nil {
			return &usageError{err}
		}
		list, err := daemon.SetCHAP(ctx, name, initiator, req)
		if err != nil {
			return err
		}
		return c.printCHAP(list)
	})
	return cmd
}

func newCHAPList(c *client) *cobra.Command {
	return &cobra.Command{
		Use:               "list NAME",
		Short:             "Print who has credentials with a volume; never the secrets",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
		RunE: c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
			list, err := daemon.ListCHAP(ctx, name)
			if err != nil {
				return err
			}
			return c.printCHAP(list)
		}),
	}
}

func newCHAPDelete(c *client) *cobra.Command {
	var initiator string
	cmd := &cobra.Command{
		Use:               "delete NAME --initiator IQN",
		Short:             "Delete the credentials of an initiator and close its sessions",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().StringVar(&initiator, "initiator", "", "the initiator's iSCSI name")
	require(cmd, "initiator")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		if err := api.CheckInitiator(initiator); err != nil {
			return &usageError{err}
		}
		list, err := daemon.DeleteCHAP(ctx, name, initiator)
		if err != nil {
			return err
		}
		return c.printCHAP(list)
	})
	return cmd
}

func (c *client) printCHAP(list *api.CHAPList) error {
	return c.out.print(list, func(w io.Writer) {
		if len(list.CHAP) == 0 {
			fmt.Fprintf(w, "Volume %s has no CHAP credentials.\n", list.Volume)
			return
		}
		t := newTable(w, "initiator", "user", "mutual user")
		for _, credentials := range list.CHAP {
			t.AppendRow([]any{credentials.Initiator, credentials.User, credentials.MutualUser})
		}
		t.Render()
	})
}

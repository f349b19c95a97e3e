package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sluice/appliance/api"
)

// deletedDocument is what "volume delete --json" prints.
type deletedDocument struct {
	Deleted string `json:"deleted"`
}

func newVolumeDelete(c *client) *cobra.Command {
	var yes, force bool
	cmd := &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a volume and all of its data",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeVolume,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "also while initiators are logged in")
	cmd.RunE = c.volumeVerb(func(ctx context.Context, daemon *api.Client, name string) error {
		if !yes {
			if err := c.confirm("volume", name); err != nil {
				return err
			}
		}
		if err := daemon.DeleteVolume(ctx, name, force); err != nil {
			return err
		}
		return c.out.print(deletedDocument{Deleted: name}, func(w io.Writer) { fmt.Fprintf(w, "Volume %s is deleted.\n", name) })
	})
	return cmd
}

// confirm asks for the name of what is to be deleted, if there is someone to ask.
func (c *client) confirm(what, name string) error {
	if !c.env.interactive || c.out.json {
		return usagef("deleting %s %s destroys its data: say --yes if that is meant", what, name)
	}
	fmt.Fprintf(c.env.stderr, "This destroys %s %s and all of its data. Type its name to go on: ", what, name)
	answer, err := bufio.NewReader(c.env.stdin).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(answer) != name {
		return usagef("that is not its name: nothing was deleted")
	}
	return nil
}

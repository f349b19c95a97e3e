package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sluice/appliance"
	"sluice/appliance/api"
)

// newRoot returns the whole command line.
func newRoot(env *environment, out *output) *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice",
		Short: "An iSCSI volume gateway: disks whose data lives in an S3 bucket",
		Long: "sluice serves disks over iSCSI. What is written goes to local disk at once and to an S3\n" +
			"bucket soon after; what is read often stays on local disk.\n\n" + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().BoolVar(&out.json, "json", out.json, "print one JSON document, also for a failure")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })

	c := &client{env: env, out: out}
	root.AddCommand(newServe(env, out), newVersion(out), newBucket(env, out),
		c.flags(newVolume(c)), c.flags(newInitiator(c)), c.flags(newSnapshot(c)), c.flags(newCHAP(c)), c.flags(newStatus(c)))
	return root
}

// client is what the verbs that speak to a daemon share.
type client struct {
	env *environment
	out *output

	api, dataDir, tokenFile string // flags
}

// flags adds the flags that say where the daemon is.
func (c *client) flags(cmd *cobra.Command) *cobra.Command {
	set := cmd.PersistentFlags()
	set.StringVar(&c.api, "api", "", "the daemon: unix:///path/to/api.sock or http://host:port [SLUICE_API] (default: the socket in the data directory)")
	set.StringVar(&c.dataDir, "data-dir", "", "the daemon's data directory [SLUICE_DATA_DIR] (default "+appliance.DefaultDataDir+")")
	set.StringVar(&c.tokenFile, "token-file", "", "file (mode 0600) with the API token [SLUICE_TOKEN_FILE]")
	return cmd
}

// connect returns a client for the daemon that the flags and the environment name.
func (c *client) connect() (*api.Client, error) {
	first := func(values ...string) string {
		for _, value := range values {
			if value != "" {
				return value
			}
		}
		return ""
	}
	socket := appliance.SocketPath(first(c.dataDir, c.env.getenv("SLUICE_DATA_DIR"), appliance.DefaultDataDir))
	address := first(c.api, c.env.getenv("SLUICE_API"), socket)
	var token api.Secret
	if file := first(c.tokenFile, c.env.getenv("SLUICE_TOKEN_FILE")); file != "" {
		var err error
		if token, err = api.ReadSecretFile(file); err != nil {
			return nil, &usageError{err}
		}
	}
	daemon, err := api.NewClient(address, token)
	if err != nil {
		return nil, &usageError{err}
	}
	return daemon, nil
}

// ran makes a verb's function one for cobra.
func ran(verb func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := verb(cmd, args); err != nil {
			return &ranError{err}
		}
		return nil
	}
}

// verb makes a function that speaks to the daemon one for cobra.
func (c *client) verb(do func(ctx context.Context, daemon *api.Client, args []string) error) func(*cobra.Command, []string) error {
	return ran(func(cmd *cobra.Command, args []string) error {
		daemon, err := c.connect()
		if err != nil {
			return err
		}
		return do(cmd.Context(), daemon, args)
	})
}

// volumeVerb is verb for one whose first argument is the name of a volume.
func (c *client) volumeVerb(do func(ctx context.Context, daemon *api.Client, name string) error) func(*cobra.Command, []string) error {
	return c.verb(func(ctx context.Context, daemon *api.Client, args []string) error {
		if err := api.CheckName(args[0]); err != nil {
			return &usageError{err}
		}
		return do(ctx, daemon, args[0])
	})
}

// completionTime is how long a shell may wait for the names of volumes.
const completionTime = 2 * time.Second

// completeVolume offers the names of volumes for a first argument.
func (c *client) completeVolume(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	daemon, err := c.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	volumes, err := daemon.ListVolumes(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// group returns a command that only has verbs.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("%q needs a verb: see %[1]s --help", cmd.CommandPath())
		},
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// require marks flags that must be given.
func require(cmd *cobra.Command, names ...string) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		for _, name := range names {
			if f.Name == name {
				f.Usage += " (required)"
			}
		}
	})
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // there is no such flag: a mistake in this program
		}
	}
}

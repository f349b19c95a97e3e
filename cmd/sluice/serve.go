package main

import (
	"context"
	"io"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sluice/appliance"
)

func newServe(env *environment, out *output) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a gateway",
		Long: "Run a gateway until SIGTERM or SIGINT. It then lets initiators log out, makes all that was\n" +
			"accepted durable on local disk, and ends; a second signal ends it at once.\n\n" +
			"Every flag is also a key of the file that --config names (data-dir: /var/lib/sluice) and a\n" +
			"variable of the environment (SLUICE_DATA_DIR). Flags win over the environment, that over the file.\n\n" +
			"S3 credentials come by the AWS SDK's usual chain: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,\n" +
			"a profile, a role.",
		Example: "  sluice serve --data-dir /var/lib/sluice --store 's3://bucket/prefix?region=eu-central-1'",
		Args:    cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "YAML file with settings [SLUICE_CONFIG]")
	cfg := appliance.DefaultConfig() // takes the values of flags, and shows the defaults
	settings := cfg.Settings()
	for _, s := range settings {
		flags.Var(s.Value, s.Name, s.Usage+" ["+s.Env()+"]")
	}
	cmd.RunE = ran(func(cmd *cobra.Command, _ []string) error {
		given := map[string]string{}
		for _, s := range settings {
			if flags.Changed(s.Name) {
				given[s.Name] = s.Value.String()
			}
		}
		if file == "" {
			file = env.getenv("SLUICE_CONFIG")
		}
		loaded, err := appliance.Load(file, env.getenv, given)
		if err != nil {
			return &usageError{err}
		}
		loaded.Version = programVersion().Version
		if err := loaded.Validate(); err != nil {
			return &usageError{err}
		}
		return serve(cmd.Context(), loaded, newLogger(env.stderr, env.logTerminal && !out.json, loaded.LogLevel))
	})
	return cmd
}

func serve(ctx context.Context, cfg appliance.Config, log *slog.Logger) error {
	gateway, err := appliance.New(cfg, log)
	if err != nil {
		return err
	}
	ctx, restore := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer restore()
	context.AfterFunc(ctx, restore) // a second signal ends the process
	return gateway.Run(ctx)
}

// newLogger returns a logger that writes text for people or JSON for machines.
func newLogger(w io.Writer, people bool, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if people {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

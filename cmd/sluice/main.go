package main

import (
	"context"
	"io"
	"os"
	"slices"
	_ "time/tzdata" // schedules are in time zones, of which a small host may know none

	"golang.org/x/term"
)

func main() {
	env := &environment{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
		interactive: term.IsTerminal(int(os.Stdin.Fd())),
		logTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
	os.Exit(run(context.Background(), env, os.Args[1:]))
}

// environment is what the program has of its surroundings.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	interactive    bool // somebody can answer a question
	logTerminal    bool // the log goes to a terminal
}

// run executes a command line and returns the exit status.
func run(ctx context.Context, env *environment, args []string) int {
	out := &output{stdout: env.stdout, stderr: env.stderr, json: asksForJSON(args)}
	root := newRoot(env, out) //nolint:contextcheck // cobra hands it to the verbs
	root.SetArgs(args)
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		out.fail(err)
		return exitCode(err)
	}
	return exitDone
}

// asksForJSON looks for --json ahead of the parser, so that what the parser has to complain
// about is JSON, too.
func asksForJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

package desktop_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/guest"
	"sluice/test/harness"
)

var (
	//go:embed testdata/common.sh
	commonScript string
	//go:embed testdata/first.sh
	firstScript string
	//go:embed testdata/second.sh
	secondScript string
)

const (
	volume     = "drive"
	initiator  = "iqn.1993-08.org.debian:01:files"
	chapUser   = "files"
	chapSecret = "a-secret-of-16-b"

	// The recipe's portal is written as this one (RFC 5737) in docs/DESKTOP.md.
	documented = "192.0.2.10:3260"
)

// server is the Linux server that shares the drive, over its boots.
type server struct {
	t        *testing.T
	gw       *harness.Gateway
	port     int
	backends []guest.Backend // the ways to boot it that have not failed
	cache    string

	kept       string   // its own disk: the last boot's archive, in base64
	transcript []string // commands after "# ", and what they printed
}

// TestSharedDrive runs the recipe of docs/DESKTOP.md; files written by clients of the share
// outlast a gateway that is stopped, killed and away, the server's reboot, and the loss of
// the gateway's disk.
func TestSharedDrive(t *testing.T) {
	backends, cache := guest.Available(t, "desktop")
	s := &server{t: t, gw: harness.Start(t, harness.Options{Args: []string{"--drain-timeout", "5s"}}), backends: backends, cache: cache}
	_, port, _ := strings.Cut(s.gw.Portal, ":")
	var err error
	if s.port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	s.gw.CreateVolume(volume, "2GiB")
	s.admit()

	if !s.boot("first boot", firstScript, 32) {
		return
	}
	s.gw.CLI("volume", "detach", volume)
	s.gw.LoseDisk(volume)
	s.admit()
	s.boot("second boot", secondScript, 13)
	t.Logf("the session:\n%s", strings.Join(s.transcript, "\n"))
	s.compareWithDocument()
}

// admit lets the server log in, and asks for a secret.
func (s *server) admit() {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(chapSecret+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.gw.CLI("initiator", "allow", volume, "--iqn", initiator)
	s.gw.CLI("chap", "set", volume, "--initiator", initiator, "--user", chapUser, "--secret-file", file)
}

// boot runs a script in the server, whose checks become subtests, and tells whether all of
// them have passed. A script that makes fewer than least checks has ended early.
func (s *server) boot(name, script string, least int) bool {
	return s.t.Run(name, func(t *testing.T) {
		script := fmt.Sprintf("PORT=%d TARGET=%s INITIATOR=%s CHAP_USER=%s CHAP_SECRET=%s DOCUMENTED=%s KEPT=%s\n",
			s.port, s.gw.IQN(volume), initiator, chapUser, chapSecret, documented, s.kept) + commonScript + script
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		checks := &guest.Checks{T: t, Event: s.event, Line: s.line}
		console := &guest.Tail{}
		var err error
		for {
			err = guest.Guest{Backend: s.backends[0], CacheDir: s.cache, Memory: 2048, Forward: []int{s.port}, Console: console}.Run(ctx, script, checks)
			if !errors.Is(err, guest.ErrNotStarted) || len(s.backends) == 1 {
				break
			}
			t.Logf("backend %s: %v\n%s", s.backends[0], err, console)
			s.backends = s.backends[1:]
		}
		checks.Report()
		if err != nil && (!errors.As(err, new(*guest.ExitError)) || !t.Failed()) {
			t.Errorf("%v (%v)\nthe end of the guest's console:\n%s", err, ctx.Err(), console)
		}
		if checks.Passed < least {
			t.Errorf("only %d of at least %d checks passed: the script ended early", checks.Passed, least)
		}
	})
}

// event does to the gateway what the script asks for.
func (s *server) event(name string) {
	switch name {
	case "stop":
		s.gw.Stop()
	case "kill":
		s.gw.Kill()
	case "start":
		s.gw.Restart()
	default:
		s.t.Errorf("the guest asks for %q", name)
	}
}

// line takes the transcript and what is to be kept.
func (s *server) line(word, rest string) bool {
	switch word {
	case "run":
		s.transcript = append(s.transcript, "# "+rest)
	case "out":
		s.transcript = append(s.transcript, rest)
	case "keep":
		s.kept = rest
	default:
		return false
	}
	return true
}

// compareWithDocument holds docs/DESKTOP.md to what was run: each command of its sessions, in
// fences marked "console", is one of the transcript.
func (s *server) compareWithDocument() {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(s.t), "docs", "DESKTOP.md"))
	if err != nil {
		s.t.Fatal(err)
	}
	session, commands := false, 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			session = line == "```console"
		case session && strings.HasPrefix(line, "# "):
			commands++
			if !slices.Contains(s.transcript, line) {
				s.t.Errorf("docs/DESKTOP.md shows a command that was not run:\n%s", line)
			}
		}
	}
	if commands < 10 {
		s.t.Errorf("docs/DESKTOP.md shows %d commands; there should be the whole recipe", commands)
	}
}

package sessions

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/test/guest"
	"sluice/test/harness"
	"sluice/test/s3server"
)

//go:embed testdata/recovery.sh
var recoveryScript string

// lab is a guest, a gateway, its bucket, and the paths between them.
type lab struct {
	t     *testing.T
	gw    *harness.Gateway
	store *s3server.Server
	paths []*Path

	standby *harness.Gateway // takes over from gw; nil: there is none
	apart   bool             // each path leads to one of the two for ever
}

const volume = "recovery"

// newLab starts a gateway whose cache and upload buffer are so small that neither holds what
// the guest writes.
func newLab(t *testing.T, paths int) *lab {
	t.Helper()
	l := &lab{t: t, store: s3server.Start(t)}
	l.gw = l.start()
	l.gw.CreateVolume(volume, "1GiB")
	for range paths {
		l.paths = append(l.paths, NewPath(t, l.gw.Portal))
	}
	return l
}

func (l *lab) start(more ...string) *harness.Gateway {
	return harness.Start(l.t, harness.Options{
		Store: l.store.URL("gateway"), Env: l.store.Env(),
		Args: append([]string{"--cache", "64MiB", "--upload-buffer", "64MiB", "--drain-timeout", "5s"}, more...),
	})
}

// newPair starts a gateway and its standby. Initiators reach them at one address that moves or, apart, at one each.
func newPair(t *testing.T, apart bool) *lab {
	t.Helper()
	l := &lab{t: t, store: s3server.Start(t), apart: apart}
	more := []string{"--standby-for", "pair", "--lease", "5s"}
	l.gw = l.start(more...)
	l.gw.CreateVolume(volume, "1GiB")
	l.standby = l.start(more...)
	l.paths = []*Path{NewPath(t, l.gw.Portal)}
	if apart {
		l.paths = append(l.paths, NewPath(t, l.standby.Portal))
	}
	return l
}

// event does what an event's name says: WHAT, or WHAT-SECONDS.
func (l *lab) event(name string) {
	what, seconds, _ := strings.Cut(name, "-")
	n, _ := strconv.Atoi(seconds) // none is 0
	lasting := time.Duration(n) * time.Second
	switch what {
	case "cut":
		for _, p := range l.paths {
			p.Cut()
		}
		time.Sleep(lasting) // this is what the test is about
		for _, p := range l.paths {
			p.Mend()
		}
	case "half": // one path of several
		l.paths[0].Cut()
		time.Sleep(lasting)
		l.paths[0].Mend()
	case "stop":
		l.gw.Stop()
		l.gw.Restart()
	case "kill":
		l.gw.Kill()
		l.gw.Restart()
	case "grow":
		l.gw.CLI("volume", "resize", volume, "--size", "2GiB")
	case "move": // the gateway is stopped, and its standby takes over
		l.gw.Stop()
		l.awaitTakeover()
		for _, p := range l.paths {
			if !l.apart {
				p.Move(l.standby.Portal)
			}
		}
		l.gw.Restart()
		l.gw, l.standby = l.standby, l.gw
	case "detach":
		l.gw.CLI("volume", "detach", volume, "--force")
	case "freeze":
		l.store.Freeze()
		time.Sleep(lasting)
		l.store.Thaw()
	default:
		l.t.Errorf("the guest asks for %q", name)
	}
}

// awaitTakeover waits until the standby serves the volume.
func (l *lab) awaitTakeover() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(2 * time.Minute); ; {
		if strings.Contains(string(l.standby.CLI("volume", "show", volume, "--json")), `"state": "attached"`) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Errorf("nobody takes over:\n%s", l.standby.LogTail(20))
			return
		}
	}
}

// run boots the guest and lets it go through troubles. Every check of its script is a
// subtest.
func (l *lab) run(size string, troubles ...string) {
	t := l.t
	t.Helper()
	backends, cache := guest.Available(t, "")
	var ports []string
	forward := []int{}
	for _, p := range l.paths {
		ports = append(ports, strconv.Itoa(p.Port))
		forward = append(forward, p.Port)
	}
	policy := "multibus"
	if l.apart {
		policy = "failover"
	}
	script := fmt.Sprintf("PORTS='%s' TARGET=%s SIZE=%s COLD=96m TROUBLES='%s' POLICY=%s\n",
		strings.Join(ports, " "), l.gw.IQN(volume), size, strings.Join(troubles, " "), policy) + recoveryScript
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	checks := &guest.Checks{T: t, Event: l.event, Line: func(word, rest string) bool {
		if word == "note" {
			t.Log(rest)
		}
		return word == "note"
	}}
	var err error
	for _, backend := range backends {
		err = guest.Guest{Backend: backend, CacheDir: cache, Forward: forward, Memory: 1400}.Run(ctx, script, checks)
		if !errors.Is(err, guest.ErrNotStarted) {
			break
		}
	}
	checks.Report()
	if err != nil && (!errors.As(err, new(*guest.ExitError)) || !t.Failed()) {
		t.Errorf("%v (%v)", err, ctx.Err())
	}
	functions := strings.Count(l.gw.LogTail(1<<20), `"msg":"task management"`)
	t.Logf("the initiator has asked for %d task management functions", functions)
	if long() && functions == 0 && slices.ContainsFunc(troubles, func(name string) bool { return strings.HasPrefix(name, "freeze") }) {
		t.Error("no command has timed out: the store was not frozen for long enough, or nothing was read from it")
	}
	if want := 3*len(troubles) + 5; checks.Passed < want {
		t.Errorf("only %d of at least %d checks passed: the script ended early", checks.Passed, want)
	}
}

func long() bool { return os.Getenv("SLUICE_RECOVERY") == "long" }

// TestRecovery: over one path.
func TestRecovery(t *testing.T) {
	if long() {
		newLab(t, 1).run("96m", "cut-5", "grow", "stop", "kill", "cut-30", "freeze-10", "cut-100", "freeze-70")
		return
	}
	newLab(t, 1).run("40m", "cut-5", "grow", "stop", "kill", "freeze-5")
}

// TestRecoveryMultipath: over two paths with dm-multipath.
func TestRecoveryMultipath(t *testing.T) {
	if !long() {
		t.Skip("takes minutes: make recovery")
	}
	newLab(t, 2).run("96m", "half-30", "cut-5", "grow", "stop", "half-30", "kill", "cut-30", "freeze-70", "cut-100")
}

// TestStandby has a standby take over under a mounted file system, back and forth, while it is written; its address moves, or the initiator
// has a path to both.
func TestStandby(t *testing.T) {
	for name, apart := range map[string]bool{"address": false, "multipath": true} {
		t.Run(name, func(t *testing.T) {
			if apart && !long() {
				t.Skip("takes minutes: make recovery")
			}
			newPair(t, apart).run("40m", "move", "move")
		})
	}
}

package hostile

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"sluice/test/harness"
)

// Attackers and the initiator whose patience is measured are processes of their own, made
// from the test's binary: in one process they would wait for each other, and not for the
// daemon. Attackers run at the lowest priority: as if on machines of their own, they take
// nothing from the daemon but what it spends on them.
const (
	roleEnv     = "SLUICE_HOSTILE_ROLE" // attack or observe
	roleArgsEnv = "SLUICE_HOSTILE_ARGS" // roleArgs in JSON
	lowest      = 19
)

// roleArgs tell such a process what to do. It ends when its standard input does.
type roleArgs struct {
	Portal  string
	Victim  string // target names
	Guarded string
	Attack  string
	N       int // acts, or reads at least
}

// report is what it prints when it has done so.
type report struct {
	Acts     int64
	Took     time.Duration
	P50, P99 time.Duration
	Failed   string
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		play(role)
		return
	}
	os.Exit(m.Run())
}

// play is the main function of such a process.
func play(role string) {
	var args roleArgs
	if err := json.Unmarshal([]byte(os.Getenv(roleArgsEnv)), &args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	t := new(lone)
	s := &scene{portal: args.Portal, victim: args.Victim, guarded: args.Guarded}
	stop := make(chan struct{})
	var r report
	first := make([]byte, 1)
	begin := func() { // when everybody is ready
		fmt.Println("{}")
		_, _ = os.Stdin.Read(first)
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(stop)
		}()
	}
	switch role {
	case "attack":
		for _, a := range assaults() {
			if a.name == args.Attack {
				var did atomic.Int64
				begin()
				since := time.Now()
				held := s.unleash(t, a, args.N, &did)
				r.Acts, r.Took, r.Failed = did.Load(), time.Since(since), t.failed
				defer func() { _ = held }() // they stay open until this process ends
			}
		}
	case "observe":
		p := s.peer(t, net.IPv4(127, 0, 0, 2))
		p.name = "iqn.2026-11.test:observer"
		p.connect()
		p.login(p.identity())
		settled(p)
		begin()
		l := observe(p, stop, args.N)
		r.P50, r.P99, r.Failed = l.p50, l.p99, t.failed
	}
	_ = json.NewEncoder(os.Stdout).Encode(r) // whoever reads it knows if it is missing
	<-stop
}

// actor is a process that plays a role.
type actor struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *json.Decoder
}

// cast starts a process that plays a role. It ends with the test.
func (s *scene) cast(t testing.TB, role, attack string, n int) *actor {
	t.Helper()
	args, err := json.Marshal(roleArgs{s.portal, s.victim, s.guarded, attack, n})
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	if role == "attack" {
		harness.NeedTools(t, "nice")
		cmd = exec.Command("nice", "-n", strconv.Itoa(lowest), exe)
	}
	cmd.Env = append(os.Environ(), roleEnv+"="+role, roleArgsEnv+"="+string(args))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &actor{t, cmd, stdin, json.NewDecoder(stdout)}
	a.report() // that it is ready
	return a
}

// begin lets a process do what it has to do.
func (a *actor) begin() {
	a.t.Helper()
	if _, err := a.stdin.Write([]byte("!")); err != nil {
		a.t.Error(err)
	}
}

// stop tells a process that it may end as soon as it has enough.
func (a *actor) stop() { _ = a.stdin.Close() }

// report waits for what the process has to say next.
func (a *actor) report() (r report) {
	a.t.Helper()
	if err := a.out.Decode(&r); err != nil {
		a.t.Errorf("the report of %v: %v", a.cmd.Env[len(a.cmd.Env)-2:], err)
	}
	if r.Failed != "" {
		a.t.Error(r.Failed)
	}
	return r
}

// end waits for the end of the process.
func (a *actor) end() {
	a.stop()
	_ = a.cmd.Wait() // its report says how it went
}

// lone is a testing.TB for a process that is no test.
type lone struct {
	testing.TB
	failed string
}

func (*lone) Helper()                     {}
func (*lone) Cleanup(func())              {}
func (l *lone) Errorf(f string, a ...any) { l.failed += fmt.Sprintf(f, a...) + "\n" }
func (l *lone) Error(a ...any)            { l.failed += fmt.Sprintln(a...) }
func (l *lone) Fatalf(f string, a ...any) { l.Fatal(fmt.Sprintf(f, a...)) }
func (l *lone) Fatal(a ...any) {
	_ = json.NewEncoder(os.Stdout).Encode(report{Failed: fmt.Sprint(a...)})
	os.Exit(1)
}

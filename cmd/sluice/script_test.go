package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary the program, when a script calls it by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sluice": main})
}

// TestScripts runs sessions of the command line: real verbs against a real daemon on a store
// in a directory. See testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			portal, err := freeAddress()
			if err != nil {
				return err
			}
			tcp, err := freeAddress()
			if err != nil {
				return err
			}
			env.Setenv("SLUICE_DATA_DIR", env.WorkDir+"/data")
			env.Setenv("SLUICE_ISCSI_LISTEN", portal)
			env.Setenv("PORTAL", portal)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // under the race detector each process would end a second late
			env.Setenv("TCP", tcp)
			program, err := exec.LookPath("sluice") // this test binary
			if err != nil {
				return err
			}
			env.Setenv("BIN", filepath.Dir(program))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": cmdStatus, "await": cmdAwait, "json": cmdJSON, "mode": cmdMode, "sigterm": cmdSigterm,
		},
	})
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// cmdStatus runs the program and looks at its exit status: status 3 sluice volume show none
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d instead of %d", got, want)
	}
}

// cmdAwait waits until the daemon answers; it is started in the background before.
func cmdAwait(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("usage: await")
	}
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ts.Exec("sluice", "status"); err == nil {
			return
		}
	}
	ts.Fatalf("the daemon does not answer: %v", err)
}

// cmdJSON checks that the standard output is exactly one JSON document, and that a field
// of it has a value: json volumes.0.name demo
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args)%2 != 0 {
		ts.Fatalf("usage: json [PATH VALUE]...")
	}
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	decoder.UseNumber()
	var document any
	ts.Check(decoder.Decode(&document))
	if decoder.More() {
		ts.Fatalf("there is more than one document")
	}
	for i := 0; i < len(args); i += 2 {
		value := document
		for key := range strings.SplitSeq(args[i], ".") {
			switch v := value.(type) {
			case map[string]any:
				value = v[key]
			case []any:
				n, err := strconv.Atoi(key)
				if err != nil || n >= len(v) {
					ts.Fatalf("%s: there is no element %s of %d", args[i], key, len(v))
				}
				value = v[n]
			default:
				ts.Fatalf("%s: there is no %s in %v", args[i], key, value)
			}
		}
		if got := fmt.Sprint(value); !regexp.MustCompile("^(?:" + args[i+1] + ")$").MatchString(got) {
			ts.Fatalf("%s is %s, not %s", args[i], got, args[i+1])
		}
	}
}

// cmdMode checks the permissions of a file: mode 0600 data/api.sock
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

// cmdSigterm asks everything in the background to end, as systemd does.
func cmdSigterm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: sigterm")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// TestConfirm asks before it destroys.
func TestConfirm(t *testing.T) {
	for _, test := range []struct {
		name        string
		interactive bool
		json        bool
		answer      string
		want        int // exit status; -1 is yes
	}{
		{"its name", true, false, "demo\n", -1},
		{"without a line feed", true, false, "demo", -1},
		{"yes", true, false, "yes\n", exitUsage},
		{"nothing", true, false, "\n", exitUsage},
		{"end of file", true, false, "", exitOther},
		{"nobody there", false, false, "demo\n", exitUsage},
		{"a program", true, true, "demo\n", exitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			c := &client{
				env: &environment{stdin: strings.NewReader(test.answer), stderr: &stderr, interactive: test.interactive},
				out: &output{json: test.json},
			}
			err := c.confirm("volume", "demo")
			if test.want == -1 {
				if err != nil || !strings.Contains(stderr.String(), "demo") {
					t.Errorf("%v; asked %q", err, &stderr)
				}
				return
			}
			if err == nil || exitCode(&ranError{err}) != test.want {
				t.Errorf("%v", err)
			}
		})
	}
}

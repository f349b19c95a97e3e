package s3server

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// process is a child that does not outlive us, even if we are killed.
type process struct {
	cmd    *exec.Cmd
	output *bytes.Buffer // to be read once ended is closed
	ended  chan struct{}
}

func startProcess(binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), output: new(bytes.Buffer), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the *thread* that started the child
		// ends, so this thread must live as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is killed, so it always ends with an error
		}
	}()
	return p, <-started
}

// signal sends sig. That the process may be gone already does not matter to anyone.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// stopped reports whether every thread has stopped. A SIGSTOP takes effect thread by
// thread, after the call that sent it has returned.
func (p *process) stopped() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // the thread is gone
		}
		// proc(5): "pid (name) state ...", and the name may hold anything.
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || !bytes.HasPrefix(stat[i+1:], []byte(" T")) {
			return false
		}
	}
	return true
}

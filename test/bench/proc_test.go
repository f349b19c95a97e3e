package bench

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpuTime returns the CPU time that the processes have used so far.
func cpuTime(t *testing.T, pids []int) time.Duration {
	t.Helper()
	var ticks int64
	for _, pid := range pids {
		text := readProc(t, pid, "stat")
		// The name, in parentheses, may hold spaces. utime and stime are fields 14 and 15.
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		for _, field := range fields[11:13] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				t.Fatalf("/proc/%d/stat: %v", pid, err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on every Linux
}

// procField returns a number from a file of /proc/PID with lines of the form "name: n".
func procField(t *testing.T, pid int, file, name string) int64 {
	t.Helper()
	for line := range strings.Lines(readProc(t, pid, file)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatalf("/proc/%d/%s: %v", pid, file, err)
			}
			return n
		}
	}
	t.Fatalf("/proc/%d/%s has no %s", pid, file, name)
	return 0
}

func readProc(t *testing.T, pid int, file string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// machine describes where the figures are from.
func machine() string {
	model := "unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name\t: "); ok {
			model, _, _ = strings.Cut(rest, "\n")
		}
	}
	var info syscall.Sysinfo_t
	_ = syscall.Sysinfo(&info) // a missing figure is shown as 0
	var name syscall.Utsname
	_ = syscall.Uname(&name)
	var release []byte
	for _, c := range name.Release {
		if c == 0 {
			break
		}
		release = append(release, byte(c))
	}
	return fmt.Sprintf("%s, %d CPUs, %d GiB, Linux %s, %s", model, runtime.NumCPU(), info.Totalram*uint64(info.Unit)>>30, release, runtime.Version())
}

// syncDisks writes out what the page cache holds, so that it disturbs nobody later.
func syncDisks() { syscall.Sync() }

package hostile

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// resources are what a process holds.
type resources struct {
	rss         int64 // bytes of memory that are resident
	peak        int64 // and the most there ever were
	descriptors int
	threads     int64
}

func resourcesOf(t testing.TB, pid int) (r resources) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("the daemon's status: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			continue // a field that is no number
		}
		switch name {
		case "VmRSS":
			r.rss = n << 10
		case "VmHWM":
			r.peak = n << 10
		case "Threads":
			r.threads = n
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatalf("the daemon's descriptors: %v", err)
	}
	r.descriptors = len(open)
	return r
}

package guest

import (
	"strings"
	"testing"
)

// Checks makes subtests of what a script prints. It is the writer for [Guest.Run], which
// writes line by line:
//
//	ok NAME         a check that has passed
//	FAIL NAME       one that has failed; the lines that follow, up to the next of these, say how
//	event NAME      the test is to do something now: Event
//	other words     Line, if it wants them; else they are logged
type Checks struct {
	T      *testing.T
	Event  func(name string)
	Line   func(word, rest string) bool // tells whether the line was for it; may be nil
	Passed int

	failed string   // name of the check whose output is being read
	output []string // of that check, or of none
}

// Write takes one line. It never fails.
func (c *Checks) Write(line []byte) (int, error) {
	text := strings.TrimRight(string(line), "\r\n")
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "ok":
		c.Report()
		c.Passed++
		c.T.Run(rest, func(*testing.T) {})
	case "FAIL":
		c.Report()
		c.failed = rest
	case "event":
		c.Report()
		c.Event(rest)
	default:
		if c.Line == nil || !c.Line(word, rest) {
			c.output = append(c.output, text)
		}
	}
	return len(line), nil
}

// Report makes a failed check, all of whose output is there now, a failed subtest. It is to
// be called once more when the script has ended.
func (c *Checks) Report() {
	if c.failed != "" {
		c.T.Run(c.failed, func(t *testing.T) { t.Error(strings.Join(c.output, "\n")) })
	} else if len(c.output) > 0 {
		c.T.Logf("from the guest:\n%s", strings.Join(c.output, "\n"))
	}
	c.failed, c.output = "", nil
}

// Tail keeps the last 4 KiB that were written to it: the end of a guest's console.
type Tail struct{ data []byte }

// Write never fails.
func (w *Tail) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	w.data = w.data[max(0, len(w.data)-4096):]
	return len(p), nil
}

func (w *Tail) String() string { return string(w.data) }

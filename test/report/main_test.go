package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	events := `{"Action":"run","Package":"a","Test":"T"}
{"Action":"pass","Package":"a","Test":"T/one"}
{"Action":"output","Package":"a","Test":"T/two","Output":"    x_test.go:7: no root\n"}
{"Action":"skip","Package":"a","Test":"T/two"}
{"Action":"pass","Package":"a","Test":"T"}
{"Action":"output","Package":"a","Output":"ok  \ta\t0.1s\n"}
{"Action":"pass","Package":"a"}
{"Action":"output","Package":"b","Test":"U","Output":"    b.go:1: broken\n"}
{"Action":"fail","Package":"b","Test":"U"}
{"Action":"fail","Package":"b"}
{"ImportPath":"c","Action":"build-output","Output":"c.go:1: syntax error\n"}
{"Action":"fail","Package":"c"}
`
	var out bytes.Buffer
	r := report{out: &out, tests: map[test]*outcome{}}
	path := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(path, []byte(events), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.readFile(path); err != nil {
		t.Fatal(err)
	}
	r.note(test{"step", "lint"}, "fail", "")
	if !r.finish() {
		t.Error("nothing failed")
	}
	for _, want := range []string{
		"ok  \ta\t0.1s\n", "--- FAIL: b U\n    b.go:1: broken\n", "c.go:1: syntax error\n",
		"left out: a T/two: no root\n", "1 passed, 3 failed, 1 skipped\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
	r.note(test{"a", "T/two"}, "pass", "") // run again, with a better result
	out.Reset()
	r.finish()
	if want := "2 passed, 3 failed, 0 skipped\n"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
}

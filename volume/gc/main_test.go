package gc_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain keeps the model tests short unless more is asked for with -rapid.checks.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "15", "rapid.steps": "30"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	os.Exit(m.Run())
}

package object_test

import (
	"strings"
	"testing"

	"sluice/object"
)

func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{"a", "volumes/7f/head.json", "", "/", "a//b", "../a", "a/.b", strings.Repeat("k", 201), "ü", "a b"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if object.CheckKey(key) != nil {
			return
		}
		if len(key) > object.MaxKey || strings.Contains("/"+key+"/", "//") || strings.Contains("/"+key, "/.") {
			t.Fatalf("%q is accepted", key)
		}
		// Whatever begins a key can be listed.
		for i := range len(key) + 1 {
			if err := object.CheckPrefix(key[:i]); err != nil {
				t.Fatalf("key %q, prefix %q: %v", key, key[:i], err)
			}
		}
	})
}

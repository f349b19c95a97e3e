package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/object"
)

// listed holds keys whose order is easily got wrong: a slash sorts behind "-" and "." and
// before digits and letters, so a folder's objects are not where its name would be.
var listed = []string{
	"a+x", "a-b", "a-b-c/d", "a.b", "a/b", "a/b-c/d", "a/b.d", "a/c/1", "a/c/10", "a/c/2", "a/c0", "a0", "a=", "aa/x", "ab",
	"b", "B/z", "Z", "_", "c/d/e/f/g",
}

func testListOrder(t *testing.T, s object.Store) {
	for _, i := range []int{7, 3, 15, 0, 19, 11, 1, 13, 5, 9, 17, 2, 18, 4, 16, 6, 14, 8, 12, 10} {
		put(t, s, listed[i], []byte(listed[i]))
	}
	want := func(prefix, after string) []string {
		var keys []string
		for _, key := range slices.Sorted(slices.Values(listed)) {
			if strings.HasPrefix(key, prefix) && key > after {
				keys = append(keys, key)
			}
		}
		return keys
	}
	afters := append([]string{"", "a", "a/", "a0/", "a/c/", "a/c/1/x", "zzz", "A"}, listed...)
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/c/", "a/c/1", "a-b-c/d", "aa", "b", "c/d", "c/d/e/f/g", "zz", "zz/y", "a/b/"} {
		for _, after := range afters {
			if diff := cmp.Diff(want(prefix, after), keys(t, s, prefix, after)); diff != "" {
				t.Errorf("List(%q, %q): (-want +got)\n%s", prefix, after, diff)
			}
		}
	}
}

func testListPages(t *testing.T, s object.Store) {
	const n = 1100 // S3 lists a thousand at a time
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("pages/%02x/%04d", i/100, i))
	}
	together(8, func(worker int) {
		for i := worker; i < n; i += 8 {
			if _, err := s.Put(t.Context(), want[i], []byte("x")); err != nil {
				t.Error(err)
			}
		}
	})
	if diff := cmp.Diff(want, keys(t, s, "pages/", "")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(want[51:], keys(t, s, "", want[50])); diff != "" {
		t.Errorf("after %s (-want +got)\n%s", want[50], diff)
	}
	// The consumer may stop, and start again where it was.
	var first []string
	for info, err := range s.List(t.Context(), "pages/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if first = append(first, info.Key); len(first) == 5 {
			break
		}
	}
	if diff := cmp.Diff(want[:5], first); diff != "" {
		t.Errorf("the first five (-want +got)\n%s", diff)
	}
}

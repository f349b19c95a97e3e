package s3

import (
	"fmt"
	"testing"
)

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-99/1000", "bytes 0-0/1", "bytes */100", "bytes 5-4/10", "bytes 0-10/10", "bytes -1-5/10", "bytes 0-9223372036854775807/9223372036854775807", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, end, total, err := parseContentRange(s)
		if err != nil {
			return
		}
		if start < 0 || start >= end || end > total {
			t.Fatalf("%q: [%d, %d) of %d", s, start, end, total)
		}
		// What it says must be what it was made of, however written.
		again := fmt.Sprintf("bytes %d-%d/%d", start, end-1, total)
		if s2, e2, t2, err := parseContentRange(again); err != nil || s2 != start || e2 != end || t2 != total {
			t.Fatalf("%q is not the same as %q", s, again)
		}
	})
}

// FuzzLocate: whatever the headers say, a range that is accepted lies in the body, and is
// the part of the object that was asked for.
func FuzzLocate(f *testing.F) {
	f.Add(int64(2), int64(3), int64(10), int64(2), int64(3))
	f.Add(int64(0), int64(10), int64(10), int64(4), int64(-1))
	f.Add(int64(0), int64(5), int64(10), int64(4), int64(1<<62))
	f.Fuzz(func(t *testing.T, start, size, total, off, n int64) {
		if start < 0 || size < 0 || off < 0 || size > total || start > total-size {
			t.Skip() // newAnswer and GetRange let no such values pass
		}
		skip, got, err := answer{start: start, size: size, total: total}.locate(off, n)
		if err != nil {
			return
		}
		want := max(0, total-off)
		if n >= 0 {
			want = min(want, n)
		}
		if got != want {
			t.Fatalf("%d bytes, want %d", got, want)
		}
		if got > 0 && (start+skip != off || skip+got > size) {
			t.Fatalf("%d bytes at %d of a body of %d that begins at %d, for offset %d", got, skip, size, start, off)
		}
	})
}

func TestETagQuotes(t *testing.T) {
	for _, test := range []struct{ header, etag, condition, unquoted string }{
		{`"abc"`, "abc", `"abc"`, "abc"},
		{"abc", "abc", `"abc"`, "abc"},
		{`W/"abc"`, `W/"abc"`, `W/"abc"`, `W/"abc"`},
		{`""`, "", `""`, ""},
		{`"`, `"`, `"""`, `"`},
	} {
		etag := unquote(test.header)
		plain := (&Store{}).quote(etag)
		unquoted := (&Store{opts: Options{UnquotedETags: true}}).quote(etag)
		if etag != test.etag || plain != test.condition || unquoted != test.unquoted {
			t.Errorf("%s: read as %s, written as %s and %s", test.header, etag, plain, unquoted)
		}
	}
}

package s3_test

import (
	"net/http"
	"strconv"
	"testing"

	"sluice/object"
)

const content = "0123456789"

// TestAnswersToGet: whatever a server answers to a ranged read, the store returns the
// right bytes or an error.
func TestAnswersToGet(t *testing.T) {
	type header map[string]string
	for _, test := range []struct {
		name   string
		off, n int64
		status int
		header header
		body   string
		want   string // of the content; "" for an error
		passes bool   // the error is transient
	}{
		{"as asked", 2, 3, 206, header{"Content-Range": "bytes 2-4/10"}, "234", "234", false},
		{"up to the end", 8, 5, 206, header{"Content-Range": "bytes 8-9/10"}, "89", "89", false},
		{"from the middle", 7, -1, 206, header{"Content-Range": "bytes 7-9/10"}, "789", "789", false},
		{"the whole", 0, -1, 200, nil, content, content, false},
		{"the whole though asked for a part", 2, 3, 200, nil, content, "234", false},
		{"the whole though asked for its end", 7, -1, 200, nil, content, "789", false},
		{"more than asked for", 2, 3, 206, header{"Content-Range": "bytes 1-6/10"}, "123456", "234", false},
		{"less than asked for", 2, 3, 206, header{"Content-Range": "bytes 2-3/10"}, "23", "", false},
		{"another part", 2, 3, 206, header{"Content-Range": "bytes 3-5/10"}, "345", "", false},
		{"no Content-Range", 2, 3, 206, nil, "234", "", false},
		{"nonsense for Content-Range", 2, 3, 206, header{"Content-Range": "bytes 2-4/*"}, "234", "", false},
		{"Content-Range of another length", 2, 3, 206, header{"Content-Range": "bytes 2-4/10"}, "23", "", true},
		{"cut short", 2, 3, 206, header{"Content-Range": "bytes 2-4/10", "Content-Length": "3"}, "23", "", true},
		{"cut short before it begins", 2, 3, 206, header{"Content-Range": "bytes 2-4/10", "Content-Length": "3"}, "", "", true},
		{"the whole, cut short", 2, 3, 200, header{"Content-Length": "10"}, "0123", "", true},
		{"the whole, cut short before the part", 5, 3, 200, header{"Content-Length": "10"}, "0123", "", true},
		{"no length", 0, -1, 200, header{"Transfer-Encoding": "chunked"}, content, "", false},
		{"no ETag", 0, -1, 200, header{"ETag": ""}, content, "", false},
		{"larger than can be", 0, -1, 200, header{"Content-Length": "1000000000000"}, content, "", false},
		{"another success", 0, -1, 204, nil, "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := fake(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", `"tag"`)
				w.Header().Set("Content-Length", strconv.Itoa(len(test.body)))
				if test.header["Transfer-Encoding"] != "" {
					w.Header().Del("Content-Length")
				}
				for name, value := range test.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
			})
			got, etag, err := s.GetRange(t.Context(), "key", test.off, test.n)
			if test.want == "" {
				if err == nil || object.Transient(err) != test.passes {
					t.Errorf("got %q, %v; want an error, transient: %v", got, err, test.passes)
				}
				return
			}
			if err != nil || string(got) != test.want || etag != "tag" {
				t.Errorf("got %q, %q, %v; want %q, tag", got, etag, err, test.want)
			}
		})
	}
}

// TestUnsatisfiableRange: a server that says that a range is behind the end must be borne
// out by the size of the object.
func TestUnsatisfiableRange(t *testing.T) {
	for size, good := range map[int]bool{10: true, 7: true, 11: false} {
		s := fake(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				answerError(w, http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
				return
			}
			w.Header().Set("ETag", "unquoted")
			w.Header().Set("Content-Length", strconv.Itoa(size))
		})
		got, etag, err := s.GetRange(t.Context(), "key", 10, 5)
		if good && (err != nil || len(got) != 0 || etag != "unquoted") {
			t.Errorf("object of %d bytes: %q, %q, %v", size, got, etag, err)
		}
		if !good && !object.Transient(err) {
			t.Errorf("object of %d bytes: %q, %v; want a transient error", size, got, err)
		}
	}
}

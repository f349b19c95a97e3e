package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/object"
	"sluice/object/s3"
)

// fake returns a store whose server is the handler.
func fake(t *testing.T, handler http.HandlerFunc) *s3.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	s, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Prefix: "p", Endpoint: srv.URL, Region: "r", PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// answerError answers as S3 does when it fails: an XML document, or nothing to a HEAD.
func answerError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if code != "" {
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>told so</Message></Error>", code)
	}
}

var operations = map[object.Op]func(context.Context, object.Store) error{
	object.OpPut:   func(ctx context.Context, s object.Store) error { _, err := s.Put(ctx, "k", []byte("x")); return err },
	object.OpPutIf: func(ctx context.Context, s object.Store) error { _, err := s.PutIf(ctx, "k", nil, "e"); return err },
	object.OpGetRange: func(ctx context.Context, s object.Store) error {
		_, _, err := s.GetRange(ctx, "k", 0, 10)
		return err
	},
	object.OpStat: func(ctx context.Context, s object.Store) error { _, err := s.Stat(ctx, "k"); return err },
	object.OpList: func(ctx context.Context, s object.Store) (last error) {
		for _, err := range s.List(ctx, "", "") {
			last = err
		}
		return last
	},
	object.OpDelete: func(ctx context.Context, s object.Store) error { return s.Delete(ctx, "k") },
}

// What the caller of a Store makes of a failure.
const (
	passing = "transient"
	final   = "final"
)

func meaning(err error) string {
	switch {
	case err == nil:
		return "none"
	case object.Transient(err):
		return passing
	case errors.Is(err, object.ErrNotFound):
		return "not found"
	case errors.Is(err, object.ErrPrecondition):
		return "precondition"
	case errors.Is(err, object.ErrRefused):
		return "refused"
	}
	return final
}

type exceptions map[object.Op]string

// answers lists what servers answer when they fail, and what it means.
var answers = []struct {
	status int
	code   string
	want   string
	but    exceptions
}{
	{500, "InternalError", passing, nil},
	{502, "", passing, nil},
	{503, "SlowDown", passing, nil},
	{504, "", passing, nil},
	{429, "TooManyRequests", passing, nil},
	{408, "", passing, nil},
	{400, "RequestTimeout", passing, exceptions{object.OpStat: "refused"}}, // a HEAD gets no code
	{400, "BadDigest", passing, exceptions{object.OpStat: "refused"}},
	{400, "ExpiredToken", passing, exceptions{object.OpStat: "refused"}},
	{400, "InvalidArgument", final, exceptions{object.OpStat: "refused"}},
	{400, "", final, exceptions{object.OpStat: "refused"}},
	{501, "NotImplemented", final, nil},
	{401, "", "refused", nil},
	{403, "AccessDenied", "refused", nil},
	{403, "InvalidAccessKeyId", "refused", nil},
	{403, "SignatureDoesNotMatch", "refused", nil},
	{403, "RequestTimeTooSkewed", passing, exceptions{object.OpStat: "refused"}},
	{301, "PermanentRedirect", "refused", nil},
	{307, "TemporaryRedirect", passing, nil},
	{404, "NoSuchKey", "not found", exceptions{
		object.OpPutIf: "precondition", object.OpDelete: "none",
		object.OpStat: "refused", // since this server has no bucket, either
	}},
	{404, "NoSuchBucket", "refused", nil},
	{404, "", passing, exceptions{object.OpStat: "refused"}},
	{412, "PreconditionFailed", "precondition", nil},
	{409, "ConditionalRequestConflict", passing, exceptions{object.OpPutIf: "precondition"}},
	{409, "OperationAborted", passing, exceptions{object.OpPutIf: "precondition"}},
}

func TestErrors(t *testing.T) {
	for _, test := range answers {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			requests := 0
			s := fake(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				code := test.code
				if r.Method == http.MethodHead {
					code = ""
				}
				answerError(w, test.status, code)
			})
			for op, call := range operations {
				want := test.want
				if other, ok := test.but[op]; ok {
					want = other
				}
				requests = 0
				err := call(t.Context(), s)
				if got := meaning(err); got != want {
					t.Errorf("%s: %v: %s, want %s", op, err, got, want)
				}
				if requests > 1 && op != object.OpStat {
					t.Errorf("%s: %d requests, want one", op, requests)
				}
				if e, ok := errors.AsType[*object.Error](err); err != nil && (!ok || e.Op != op) {
					t.Errorf("%s: %v is not its *object.Error", op, err)
				}
			}
		})
	}
}

func TestConnectionsThatBreak(t *testing.T) {
	s := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	for op, call := range operations {
		if err := call(t.Context(), s); !object.Transient(err) {
			t.Errorf("%s: %v, want a transient error", op, err)
		}
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	srv := httptest.NewServer(nil)
	srv.Close() // the port is free again
	s, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: srv.URL, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	for op, call := range operations {
		if err := call(t.Context(), s); !object.Transient(err) {
			t.Errorf("%s: %v, want a transient error", op, err)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: "http://127.0.0.1:1", PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Put(t.Context(), "key", nil)
	if !errors.Is(err, object.ErrRefused) || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("got %v, want it to say how to give credentials", err)
	}
}

func TestMissingObjectInAnExistingBucket(t *testing.T) {
	s := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.TrimSuffix(r.URL.Path, "/") != "/bucket" {
			answerError(w, http.StatusNotFound, "")
		}
	})
	if _, err := s.Stat(t.Context(), "key"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestErrorText(t *testing.T) {
	s := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Request-Id", "R1")
		answerError(w, http.StatusForbidden, "AccessDenied")
	})
	_, err := s.Put(t.Context(), "key", nil)
	const want = `object put "key": the object store refuses us: AccessDenied (HTTP status 403, request R1): told so`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

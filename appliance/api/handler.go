package api

import (
	"context"
	_ "embed" // the description below
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"time"
)

const (
	maxBody   = 64 << 10         // bytes of a request
	quickTime = 30 * time.Second // for what asks the object store a question or two
	longTime  = 24 * time.Hour   // for what uploads a backlog first: the client gives up, not we
)

//go:embed openapi.yaml
var description []byte

// Handler serves the API for a backend. Requests that fail by a fault of ours are logged.
func Handler(backend Backend, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes(backend) {
		mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) {
			ctx, cancel := context.WithTimeout(req.Context(), r.limit)
			defer cancel()
			req.Body = http.MaxBytesReader(w, req.Body, maxBody)
			answer, err := r.serve(req.WithContext(ctx))
			if err != nil {
				fail(w, req, err, logger)
				return
			}
			reply(w, http.StatusOK, answer)
		})
	}
	for _, r := range dataRoutes(backend) {
		mux.HandleFunc(r.pattern, serveData(r, logger))
	}
	mux.HandleFunc("GET /v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(description) // the client may be gone
	})
	// Profiles of the daemon, for go tool pprof; see docs/PERFORMANCE.md.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		fail(w, req, Errorf(CodeNotFound, "there is no %s %s", req.Method, req.URL.Path), logger)
	})
	return mux
}

// route is one method of one path.
type route struct {
	pattern string
	limit   time.Duration // until the request's context ends
	serve   func(*http.Request) (any, error)
}

func routes(b Backend) []route {
	name := func(r *http.Request) string { return r.PathValue("name") }
	iqn := func(r *http.Request) string { return r.PathValue("iqn") }
	return append(slices.Concat(snapshotRoutes(b), pastRoutes(b), inspectRoutes(b), extentRoutes(b), scheduleRoutes(b), scrubRoutes(b)), []route{
		{"GET /v1/status", quickTime, func(r *http.Request) (any, error) { return b.Status(r.Context()) }},

		{"GET /v1/volumes", quickTime, func(r *http.Request) (any, error) {
			volumes, err := b.ListVolumes(r.Context())
			return VolumeList{Volumes: volumes}, err
		}},
		{"POST /v1/volumes", quickTime, withBody(func(r *http.Request, body CreateRequest) (any, error) {
			return b.CreateVolume(r.Context(), body)
		})},
		{"GET /v1/volumes/{name}", quickTime, func(r *http.Request) (any, error) { return b.ShowVolume(r.Context(), name(r)) }},
		{"PATCH /v1/volumes/{name}", quickTime, withBody(func(r *http.Request, body ResizeRequest) (any, error) {
			return b.ResizeVolume(r.Context(), name(r), body)
		})},
		{"PUT /v1/volumes/{name}/durability", longTime, withBody(func(r *http.Request, body DurabilityRequest) (any, error) {
			return b.SetDurability(r.Context(), name(r), body)
		})},
		{"DELETE /v1/volumes/{name}", longTime, func(r *http.Request) (any, error) {
			force, err := flag(r, "force")
			if err != nil {
				return nil, err
			}
			return struct{}{}, b.DeleteVolume(r.Context(), name(r), force)
		}},
		{"POST /v1/volumes/{name}/attach", longTime, withBody(func(r *http.Request, body AttachRequest) (any, error) {
			return b.AttachVolume(r.Context(), name(r), body)
		})},
		{"POST /v1/volumes/{name}/detach", longTime, withBody(func(r *http.Request, body DetachRequest) (any, error) {
			return b.DetachVolume(r.Context(), name(r), body)
		})},

		{"GET /v1/volumes/{name}/initiators", quickTime, func(r *http.Request) (any, error) { return b.ListInitiators(r.Context(), name(r)) }},
		{"PUT /v1/volumes/{name}/initiators/{iqn}", quickTime, func(r *http.Request) (any, error) {
			return b.AllowInitiator(r.Context(), name(r), iqn(r))
		}},
		{"DELETE /v1/volumes/{name}/initiators/{iqn}", quickTime, func(r *http.Request) (any, error) {
			return b.DenyInitiator(r.Context(), name(r), iqn(r))
		}},
		{"GET /v1/volumes/{name}/chap", quickTime, func(r *http.Request) (any, error) { return b.ListCHAP(r.Context(), name(r)) }},
		{"PUT /v1/volumes/{name}/chap/{iqn}", quickTime, withBody(func(r *http.Request, body CHAPRequest) (any, error) {
			return b.SetCHAP(r.Context(), name(r), iqn(r), body)
		})},
		{"DELETE /v1/volumes/{name}/chap/{iqn}", quickTime, func(r *http.Request) (any, error) {
			return b.DeleteCHAP(r.Context(), name(r), iqn(r))
		}},
	}...)
}

// flag reads an optional boolean of the query.
func flag(r *http.Request, key string) (bool, error) {
	text := r.URL.Query().Get(key)
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, Errorf(CodeInvalid, "%s=%q is neither true nor false", key, text)
	}
	return value, nil
}

// withBody decodes the body of a request, one JSON object without unknown keys. No error
// repeats any of it, since it may hold a secret.
func withBody[T any](serve func(*http.Request, T) (any, error)) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return nil, Errorf(CodeInvalid, "the body must have Content-Type application/json")
		}
		var body T
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil {
			return nil, badBody(err)
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return nil, Errorf(CodeInvalid, "the body must be one JSON object and nothing more")
		}
		return serve(r, body)
	}
}

func badBody(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Errorf(CodeInvalid, "the body is longer than %d bytes", maxBody)
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return Errorf(CodeInvalid, "the body is not JSON, at byte %d", syntax.Offset)
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Errorf(CodeInvalid, "%q in the body should be of type %s", kind.Field, kind.Type.Kind())
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Errorf(CodeInvalid, "the body is empty or cut short")
	}
	return Errorf(CodeInvalid, "the body has a key that is unknown, or could not be read")
}

func fail(w http.ResponseWriter, r *http.Request, err error, logger *slog.Logger) {
	if errors.Is(err, context.DeadlineExceeded) && !errors.As(err, new(*Error)) {
		err = Errorf(CodeUnavailable, "it took too long: %w", err)
	}
	e := AsError(err)
	if e.Code == CodeInternal {
		logger.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	reply(w, status, ErrorDocument{Error: e})
}

func reply(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil { // a type of ours that cannot be encoded: a test would have found it
		status, body = http.StatusInternalServerError, fmt.Appendf(nil, `{"error":{"code":%q,"message":"encoding the answer"}}`, CodeInternal)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

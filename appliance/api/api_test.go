package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

// recorder is a Backend that writes down what it is asked, and answers or fails as it is told.
type recorder struct {
	calls []string
	err   error
}

func (r *recorder) did(format string, args ...any) error {
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
	return r.err
}

func (r *recorder) Status(context.Context) (*Status, error) {
	return &Status{Puts: 3, Volumes: []Volume{{Name: "demo", Queued: 7}}}, r.did("status")
}

func (r *recorder) CreateVolume(_ context.Context, q CreateRequest) (*Volume, error) {
	return &Volume{Name: q.Name}, r.did("create %s %d %s", q.Name, q.Size, q.Mode)
}

func (r *recorder) ListVolumes(context.Context) ([]Volume, error) {
	return []Volume{{Name: "a"}, {Name: "b"}}, r.did("list")
}

func (r *recorder) ShowVolume(_ context.Context, name string) (*Volume, error) {
	return &Volume{Name: name}, r.did("show %s", name)
}

func (r *recorder) SetDurability(_ context.Context, name string, q DurabilityRequest) (*Volume, error) {
	return &Volume{Name: name}, r.did("durability %s %+v", name, q)
}

func (r *recorder) ResizeVolume(_ context.Context, name string, q ResizeRequest) (*Volume, error) {
	return &Volume{Name: name, Size: q.Size}, r.did("resize %s %d", name, q.Size)
}

func (r *recorder) DeleteVolume(_ context.Context, name string, force bool) error {
	return r.did("delete %s %v", name, force)
}

func (r *recorder) AttachVolume(_ context.Context, name string, q AttachRequest) (*Volume, error) {
	return &Volume{Name: name}, r.did("attach %s %v", name, q.Force)
}

func (r *recorder) DetachVolume(_ context.Context, name string, q DetachRequest) (*Volume, error) {
	return &Volume{Name: name}, r.did("detach %s %v", name, q.Force)
}

func (r *recorder) ListInitiators(_ context.Context, volume string) (*InitiatorList, error) {
	return &InitiatorList{Volume: volume}, r.did("initiators %s", volume)
}

func (r *recorder) AllowInitiator(_ context.Context, volume, initiator string) (*InitiatorList, error) {
	return &InitiatorList{Volume: volume}, r.did("allow %s %s", volume, initiator)
}

func (r *recorder) DenyInitiator(_ context.Context, volume, initiator string) (*InitiatorList, error) {
	return &InitiatorList{Volume: volume}, r.did("deny %s %s", volume, initiator)
}

func (r *recorder) ListCHAP(_ context.Context, volume string) (*CHAPList, error) {
	return &CHAPList{Volume: volume}, r.did("chap %s", volume)
}

func (r *recorder) SetCHAP(_ context.Context, volume, initiator string, q CHAPRequest) (*CHAPList, error) {
	return &CHAPList{Volume: volume}, r.did("chap set %s %s %s %d bytes", volume, initiator, q.User, len(q.Secret))
}

func (r *recorder) DeleteCHAP(_ context.Context, volume, initiator string) (*CHAPList, error) {
	return &CHAPList{Volume: volume}, r.did("chap delete %s %s", volume, initiator)
}

func (r *recorder) CreateSnapshots(_ context.Context, q SnapshotRequest) ([]Snapshot, error) {
	return []Snapshot{{ID: "1"}}, r.did("snapshot %v %s %v", q.Volumes, q.Description, q.Tags)
}

func (r *recorder) ListSnapshots(_ context.Context, volume string) ([]Snapshot, error) {
	return nil, r.did("snapshots %s", volume)
}

func (r *recorder) ShowSnapshot(_ context.Context, id string) (*Snapshot, error) {
	return &Snapshot{ID: id}, r.did("snapshot show %s", id)
}

func (r *recorder) DeleteSnapshot(_ context.Context, id string) error {
	return r.did("snapshot delete %s", id)
}

func (r *recorder) CloneVolume(_ context.Context, source string, q CloneRequest) (*Volume, error) {
	return &Volume{Name: q.Name}, r.did("clone %s %+v", source, q)
}

func (r *recorder) RecoveryPoints(_ context.Context, name string, limit int) (*RecoveryPoints, error) {
	return &RecoveryPoints{Volume: name}, r.did("recovery points %s %d", name, limit)
}

func (r *recorder) SetRecoveryWindow(_ context.Context, name string, q WindowRequest) (*RecoveryPoints, error) {
	return &RecoveryPoints{Volume: name}, r.did("recovery window %s %+v", name, q)
}

func (r *recorder) DiffSnapshots(_ context.Context, from, to string, offset int64) (*SnapshotDiff, error) {
	return &SnapshotDiff{From: from}, r.did("diff %s %s %d", from, to, offset)
}

func (r *recorder) VerifySnapshot(_ context.Context, id string, q VerifyRequest) (*Verification, error) {
	return &Verification{Snapshot: id}, r.did("verify %s %+v", id, q)
}

func (r *recorder) ShowVerification(_ context.Context, id string) (*Verification, error) {
	return &Verification{ID: id}, r.did("verification %s", id)
}

func (r *recorder) CancelVerification(_ context.Context, id string) error {
	return r.did("verification cancel %s", id)
}

func (r *recorder) SetSchedule(_ context.Context, volume string, q ScheduleRequest) (*Schedule, error) {
	return &Schedule{Volume: volume}, r.did("schedule %s %+v", volume, q)
}

func (r *recorder) ListSchedules(context.Context) ([]Schedule, error) { return nil, r.did("schedules") }

func (r *recorder) DeleteSchedule(_ context.Context, volume string) error {
	return r.did("schedule delete %s", volume)
}

func (r *recorder) SalvageVolume(_ context.Context, id string, q SalvageRequest) (*Volume, error) {
	return &Volume{Name: q.Name}, r.did("salvage %s %+v", id, q)
}

func (r *recorder) StartScrub(_ context.Context, q ScrubRequest) (*Scrub, error) {
	return &Scrub{Volume: q.Volume}, r.did("scrub %+v", q)
}

func (r *recorder) ShowScrub(_ context.Context, id string) (*Scrub, error) {
	return &Scrub{ID: id}, r.did("scrub show %s", id)
}

func (r *recorder) CancelScrub(_ context.Context, id string) error {
	return r.did("scrub cancel %s", id)
}

// everything makes one call of each kind.
func everything(ctx context.Context, b Backend) error {
	const iqn = "iqn.1993-08.org.debian:01:abc"
	_, e1 := b.Status(ctx)
	_, e2 := b.CreateVolume(ctx, CreateRequest{Name: "demo", Size: 1 << 30, Mode: "cached"})
	_, e3 := b.ListVolumes(ctx)
	_, e4 := b.ShowVolume(ctx, "demo")
	_, e5 := b.ResizeVolume(ctx, "demo", ResizeRequest{Size: 2 << 30})
	e6 := b.DeleteVolume(ctx, "demo", true)
	_, e7 := b.AttachVolume(ctx, "demo", AttachRequest{Force: true})
	_, e8 := b.DetachVolume(ctx, "demo", DetachRequest{})
	_, e9 := b.ListInitiators(ctx, "demo")
	_, e10 := b.AllowInitiator(ctx, "demo", iqn)
	_, e11 := b.DenyInitiator(ctx, "demo", iqn)
	_, e12 := b.ListCHAP(ctx, "demo")
	_, e13 := b.SetCHAP(ctx, "demo", iqn, CHAPRequest{User: "joe", Secret: testSecret})
	_, e14 := b.DeleteCHAP(ctx, "demo", iqn)
	_, e15 := b.CreateSnapshots(ctx, SnapshotRequest{Volumes: []string{"demo", "log"}, Description: "a b", Tags: map[string]string{"k": "v"}})
	_, e16 := b.ListSnapshots(ctx, "de&mo")
	_, e17 := b.ShowSnapshot(ctx, "12ab")
	e18 := b.DeleteSnapshot(ctx, "12ab")
	_, e19 := b.CloneVolume(ctx, "demo", CloneRequest{Name: "copy", Snapshot: "12ab", Size: 1 << 30})
	_, e20 := b.DiffSnapshots(ctx, "12ab", "34cd", 77)
	_, e21 := b.VerifySnapshot(ctx, "12ab", VerifyRequest{Quick: true})
	_, e22 := b.ShowVerification(ctx, "12ab")
	e23 := b.CancelVerification(ctx, "12ab")
	_, e24 := b.SetSchedule(ctx, "demo", ScheduleRequest{Every: "4h", At: "01:00", Zone: "UTC", Keep: "daily=7"})
	_, e25 := b.ListSchedules(ctx)
	e26 := b.DeleteSchedule(ctx, "demo")
	_, e27 := b.RecoveryPoints(ctx, "demo", 5)
	_, e28 := b.SetRecoveryWindow(ctx, "demo", WindowRequest{Window: 3600})
	_, e29 := b.SalvageVolume(ctx, "12ab", SalvageRequest{Name: "rest"})
	_, e30 := b.StartScrub(ctx, ScrubRequest{Volume: "demo", Quick: true, Rate: 1 << 20})
	_, e31 := b.ShowScrub(ctx, "12ab")
	e32 := b.CancelScrub(ctx, "12ab")
	_, e33 := b.SetDurability(ctx, "demo", DurabilityRequest{Durability: "bucket"})
	return errors.Join(e33, e30, e31, e32, e29, e27, e28, e1, e2, e3, e4, e5, e6, e7, e8, e9, e10, e11, e12, e13, e14, e15, e16, e17, e18, e19, e20, e21, e22, e23, e24, e25, e26)
}

// TestClientIsTransparent: to call the client is to call the backend behind the handlers.
func TestClientIsTransparent(t *testing.T) {
	direct, behind := &recorder{}, &recorder{}
	if err := everything(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	client := serve(t, Handler(behind, slog.New(slog.DiscardHandler)), "")
	if err := everything(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(direct.calls, behind.calls); diff != "" {
		t.Error(diff)
	}
	want, _ := direct.Status(t.Context())
	got, err := client.Status(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func serve(t *testing.T, handler http.Handler, token Secret) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	client, err := NewClient(server.URL, token)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestErrorsComeThrough(t *testing.T) {
	for code, status := range statuses {
		backend := &recorder{err: Errorf(code, "it is %s", code).WithHint("do so")}
		server := httptest.NewServer(Handler(backend, slog.New(slog.DiscardHandler)))
		defer server.Close()
		if got, _ := get(t, server.URL+"/v1/status", nil); got != status {
			t.Errorf("%s has status %d, not %d", code, got, status)
		}
		client, err := NewClient(server.URL, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Status(t.Context())
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != code || e.Hint != "do so" || e.Message != "it is "+string(code) {
			t.Errorf("%s became %#v", code, err)
		}
	}
	var log bytes.Buffer
	client := serve(t, Handler(&recorder{err: errors.New("the disk is gone")}, slog.New(slog.NewTextHandler(&log, nil))), "")
	_, err := client.Status(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeInternal || !strings.Contains(log.String(), "the disk is gone") {
		t.Errorf("an unknown error became %v; log: %s", err, &log)
	}
	client = serve(t, Handler(&recorder{err: context.DeadlineExceeded}, slog.New(slog.DiscardHandler)), "")
	if e, ok := errors.AsType[*Error](must(client.ListVolumes(t.Context()))); !ok || e.Code != CodeUnavailable {
		t.Errorf("a time-out became %v", e)
	}
}

func must[T any](_ T, err error) error { return err }

// get returns the status and the body of an answer.
func get(t *testing.T, url string, header http.Header) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	if header != nil {
		req.Header = header
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestBodiesAreChecked(t *testing.T) {
	backend := &recorder{}
	server := httptest.NewServer(Handler(backend, slog.New(slog.DiscardHandler)))
	defer server.Close()
	for name, test := range map[string]struct{ kind, body string }{
		"empty":       {"application/json", ""},
		"cut short":   {"application/json", `{"name":`},
		"not JSON":    {"application/json", "name=demo"},
		"unknown key": {"application/json", `{"name":"a","secret":"` + testSecret + `"}`},
		"wrong type":  {"application/json", `{"name":"a","size_bytes":"` + testSecret + `"}`},
		"too large":   {"application/json", `{"size_bytes":18446744073709551616}`},
		"two":         {"application/json", `{"name":"a"}{}`},
		"a form":      {"application/x-www-form-urlencoded", `{"name":"a"}`}, // what a browser sends without asking first
		"no type":     {"", `{"name":"a"}`},
		"too long":    {"application/json", `{"name":"` + strings.Repeat("a", maxBody) + `"}`},
		"deep":        {"application/json", strings.Repeat("[", maxBody-1)},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := http.Post(server.URL+"/v1/volumes", test.kind, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusBadRequest || !bytes.Contains(answer, []byte(`"code":"invalid"`)) {
				t.Errorf("%s %s %v", resp.Status, answer, err)
			}
			if bytes.Contains(answer, []byte(testSecret)) {
				t.Errorf("the answer repeats what may be a secret: %s", answer)
			}
		})
	}
	if len(backend.calls) > 0 {
		t.Errorf("the backend was called: %v", backend.calls)
	}
}

func TestUnknownRoutes(t *testing.T) {
	server := httptest.NewServer(Handler(&recorder{}, slog.New(slog.DiscardHandler)))
	defer server.Close()
	for _, path := range []string{"/", "/v1", "/v2/status", "/v1/volumes/demo/other"} {
		status, body := get(t, server.URL+path, nil)
		if status != http.StatusNotFound || !bytes.Contains(body, []byte(`"code":"not_found"`)) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// TestDescription holds openapi.yaml to the routes, both ways.
func TestDescription(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(description, &doc); err != nil {
		t.Fatal(err)
	}
	described := []string{}
	for path, methods := range doc.Paths {
		for method := range methods {
			if method != "parameters" {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	served := []string{"GET /v1/openapi.yaml"}
	for _, r := range dataRoutes(&recorder{}) {
		served = append(served, r.pattern)
	}
	for _, r := range routes(&recorder{}) {
		served = append(served, r.pattern)
	}
	slices.Sort(described)
	slices.Sort(served)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("served and described routes differ:\n%s", diff)
	}
	server := httptest.NewServer(Handler(&recorder{}, slog.New(slog.DiscardHandler)))
	defer server.Close()
	if status, body := get(t, server.URL+"/v1/openapi.yaml", nil); status != http.StatusOK || !bytes.Equal(body, description) {
		t.Errorf("the served description is another one (status %d)", status)
	}
}

func TestGuard(t *testing.T) {
	const token = Secret("the-token-of-this-test")
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	tests := []struct {
		name   string
		token  Secret
		header http.Header
		want   int
	}{
		{"loopback", "", header(), 200},
		{"localhost", "", header("Host", "localhost:1234"), 200},
		{"IPv6 loopback", "", header("Host", "[::1]:1234"), 200},
		{"no port", "", header("Host", "127.0.0.1"), 200},
		{"DNS rebinding", "", header("Host", "evil.example:1234"), 403},
		{"a name that looks local", "", header("Host", "localhost.evil.example"), 403},
		{"a number that looks local", "", header("Host", "127.0.0.1.evil.example"), 403},
		{"another machine's page", "", header("Host", "localhost", "Origin", "http://evil.example"), 403},
		{"another port's page", "", header("Host", "localhost:1", "Origin", "http://localhost:2"), 403},
		{"a sandboxed page", "", header("Origin", "null"), 403},
		{"our own page", "", header("Host", "localhost:1", "Origin", "http://localhost:1"), 200},
		{"an image on another page", "", header("Sec-Fetch-Site", "cross-site"), 403},
		{"typed by hand", "", header("Sec-Fetch-Site", "none"), 200},
		{"no token", token, header(), 401},
		{"wrong token", token, header("Authorization", "Bearer the-token-of-this-tesT"), 401},
		{"part of it", token, header("Authorization", "Bearer the-token"), 401},
		{"other scheme", token, header("Authorization", "Basic "+string(token)), 401},
		{"only the token", token, header("Authorization", string(token)), 401},
		{"empty", token, header("Authorization", "Bearer "), 401},
		{"right token", token, header("Authorization", "Bearer "+string(token)), 200},
		{"right token by name", token, header("Authorization", "Bearer "+string(token), "Host", "gw.example"), 200},
		{"right token, other page", token, header("Authorization", "Bearer "+string(token), "Origin", "http://evil.example"), 403},
	}
	var log bytes.Buffer
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			server := httptest.NewServer(Guard(Handler(&recorder{}, logger), test.token, logger))
			defer server.Close()
			status, body := get(t, server.URL+"/v1/status", test.header)
			if status != test.want {
				t.Errorf("%d instead of %d", status, test.want)
			}
			if bytes.Contains(body, []byte(token)) {
				t.Errorf("the token is in the answer: %s", body)
			}
		})
	}
	if strings.Contains(log.String(), string(token)) {
		t.Error("the token is in the log")
	}
	client := serve(t, Guard(Handler(&recorder{}, slog.New(slog.DiscardHandler)), token, slog.New(slog.DiscardHandler)), token)
	if err := everything(t.Context(), client); err != nil {
		t.Error(err)
	}
}

func TestClientOverSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(t.Context(), Handler(&recorder{}, slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	go func() { _ = server.Serve(listener) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	for _, address := range []string{"unix://" + path, path} {
		client, err := NewClient(address, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := everything(t.Context(), client); err != nil {
			t.Error(err)
		}
	}
}

func TestClientAddresses(t *testing.T) {
	for _, address := range []string{"", "unix://relative/path", "unix:", "ftp://host", "127.0.0.1:80", "http://", "http://user:pw@host", "http://a b"} {
		if _, err := NewClient(address, ""); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
}

// TestUnreachable: nobody there, and somebody else there, are both not our daemon.
func TestUnreachable(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	teapot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer teapot.Close()
	for _, address := range []string{closed.URL, other.URL, teapot.URL, filepath.Join(t.TempDir(), "none.sock")} {
		client, err := NewClient(address, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Status(t.Context())
		if u, ok := errors.AsType[*UnreachableError](err); !ok || u.Address != address {
			t.Errorf("%s: %v", address, err)
		}
	}
}

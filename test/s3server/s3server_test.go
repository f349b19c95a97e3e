package s3server_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"sluice/test/s3server"
)

// get asks for the health page and returns the status, or 0 if there is no answer.
func get(t *testing.T, srv *s3server.Server, timeout time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.Endpoint+"/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestLife(t *testing.T) {
	srv := s3server.Start(t)
	if got := get(t, srv, time.Minute); got != http.StatusOK {
		t.Fatalf("after Start: status %d", got)
	}

	srv.Freeze()
	if got := get(t, srv, 100*time.Millisecond); got != 0 {
		t.Errorf("frozen, it still answers %d", got)
	}
	srv.Thaw()
	if got := get(t, srv, time.Minute); got != http.StatusOK {
		t.Errorf("after Thaw: status %d", got)
	}

	srv.Kill()
	if got := get(t, srv, time.Minute); got != 0 {
		t.Errorf("killed, it still answers %d", got)
	}
	srv.Restart()
	if got := get(t, srv, time.Minute); got != http.StatusOK {
		t.Errorf("after Restart: status %d", got)
	}
	srv.Freeze() // the end of the test must cope with a frozen server
}

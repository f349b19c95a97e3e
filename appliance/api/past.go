package api

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Past shows to which moments volumes can go back. CloneVolume goes back.
type Past interface {
	// RecoveryPoints lists the roots of a volume's past, and up to limit moments, the newest ones.
	RecoveryPoints(ctx context.Context, volume string, limit int) (*RecoveryPoints, error)
	// SetRecoveryWindow changes for how long the past of a volume is kept.
	SetRecoveryWindow(ctx context.Context, volume string, req WindowRequest) (*RecoveryPoints, error)
}

// RecoveryPoints are the moments that a volume can go back to.
type RecoveryPoints struct {
	Volume  string          `json:"volume"`
	Window  int64           `json:"window_seconds"`    // for how long its past is kept
	Points  []RecoveryPoint `json:"points"`            // the oldest first
	Moments []time.Time     `json:"moments,omitempty"` // if they were asked for: all, or the newest ones
}

// RecoveryPoint is a moment that others follow.
type RecoveryPoint struct {
	Time    time.Time `json:"time"`
	Moments int       `json:"moments"` // it and those up to the next
}

// WindowRequest asks for the past to be kept for some time.
type WindowRequest struct {
	Window int64 `json:"window_seconds"` // 0: not at all
}

func pastRoutes(b Backend) []route {
	return []route{
		{"GET /v1/volumes/{name}/recovery-points", longTime, func(r *http.Request) (any, error) {
			limit := 0
			if s := r.URL.Query().Get("moments"); s != "" {
				var err error
				if limit, err = strconv.Atoi(s); err != nil || limit < 0 {
					return nil, Errorf(CodeInvalid, "moments: %q is not a number", s)
				}
			}
			return b.RecoveryPoints(r.Context(), r.PathValue("name"), limit)
		}},
		{"PUT /v1/volumes/{name}/recovery-window", quickTime, withBody(func(r *http.Request, body WindowRequest) (any, error) {
			return b.SetRecoveryWindow(r.Context(), r.PathValue("name"), body)
		})},
	}
}

// RecoveryPoints implements Backend.
func (c *Client) RecoveryPoints(ctx context.Context, volume string, limit int) (*RecoveryPoints, error) {
	return call[RecoveryPoints](ctx, c, http.MethodGet, volumePath(volume, "recovery-points")+"?moments="+strconv.Itoa(limit), nil)
}

// SetRecoveryWindow implements Backend.
func (c *Client) SetRecoveryWindow(ctx context.Context, volume string, req WindowRequest) (*RecoveryPoints, error) {
	return call[RecoveryPoints](ctx, c, http.MethodPut, volumePath(volume, "recovery-window"), req)
}

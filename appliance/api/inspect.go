package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Inspections look into snapshots without restoring them.
type Inspections interface {
	// DiffSnapshots returns the ranges that changed from one snapshot to another, from a byte on. When there are many, more are to be asked
	// for, from Next on.
	DiffSnapshots(ctx context.Context, from, to string, offset int64) (*SnapshotDiff, error)
	// VerifySnapshot begins to look whether all of a snapshot is there. It returns at once.
	VerifySnapshot(ctx context.Context, id string, req VerifyRequest) (*Verification, error)
	// ShowVerification shows how far it is, and what it has found.
	ShowVerification(ctx context.Context, id string) (*Verification, error)
	// CancelVerification ends it.
	CancelVerification(ctx context.Context, id string) error
	// SalvageVolume makes a volume of what a verification found to be left of a damaged snapshot. What is lost reads as zeros.
	SalvageVolume(ctx context.Context, verification string, req SalvageRequest) (*Volume, error)
}

// SnapshotDiff is a part of what changed from one snapshot to another.
type SnapshotDiff struct {
	From     string         `json:"from"` // ID
	To       string         `json:"to"`   // ID
	FromSize int64          `json:"from_size_bytes"`
	ToSize   int64          `json:"to_size_bytes"`
	Ranges   []ChangedRange `json:"ranges"`
	Next     *int64         `json:"next,omitempty"` // there may be more from this byte on
}

// ChangedRange is a range of bytes that changed.
type ChangedRange struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
	Zeros  bool  `json:"zeros,omitempty"` // it reads as zeros in the later snapshot, and occupies no space there
}

// VerifyRequest says how a snapshot is verified.
type VerifyRequest struct {
	Quick bool `json:"quick,omitempty"` // only what objects say of themselves
}

// SalvageRequest asks for a volume of what is left of a snapshot.
type SalvageRequest struct {
	Name string `json:"name"`
}

// VerificationState says how far a verification is.
type VerificationState string

// The states of a verification.
const (
	VerificationRunning  VerificationState = "running"
	VerificationGood     VerificationState = "good"    // all of the snapshot is there
	VerificationDamaged  VerificationState = "damaged" // see Lost
	VerificationFailed   VerificationState = "failed"  // nothing is known: see Error
	VerificationCanceled VerificationState = "canceled"
)

// Verification is one verification of a snapshot.
type Verification struct {
	ID       string            `json:"id"`
	Snapshot string            `json:"snapshot"`
	Volume   string            `json:"volume"`
	Quick    bool              `json:"quick,omitempty"`
	State    VerificationState `json:"state"`
	Error    string            `json:"error,omitempty"`
	Started  time.Time         `json:"started"`
	Took     float64           `json:"took_seconds"` // up to now, or its end
	Done     int64             `json:"done_bytes"`   // of the volume
	Total    int64             `json:"total_bytes"`  // 0: not known yet
	Rate     int64             `json:"bytes_per_second"`
	Left     int64             `json:"left_seconds,omitempty"`

	Objects   int64       `json:"objects,omitempty"`    // of the bucket, that were looked at
	Read      int64       `json:"read_bytes,omitempty"` // from the bucket
	Blocks    int64       `json:"blocks,omitempty"`     // of 4096 bytes, that were looked for
	Damaged   int64       `json:"damaged_objects,omitempty"`
	LostBytes int64       `json:"lost_bytes,omitempty"`
	Lost      []LostRange `json:"lost,omitempty"`      // the first of them
	LostMore  int64       `json:"lost_more,omitempty"` // how many ranges are not in Lost
}

// LostRange is a range of bytes that can no longer be read.
type LostRange struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Object string `json:"object"` // the key of what is missing or damaged
	Reason string `json:"reason"`
}

func inspectRoutes(b Backend) []route {
	id := func(r *http.Request) string { return r.PathValue("id") }
	return []route{
		{"GET /v1/snapshots/{id}/diff/{to}", longTime, func(r *http.Request) (any, error) {
			offset := int64(0)
			if text := r.URL.Query().Get("offset"); text != "" {
				var err error
				if offset, err = strconv.ParseInt(text, 10, 64); err != nil || offset < 0 {
					return nil, Errorf(CodeInvalid, "offset=%q is not a number of bytes", text)
				}
			}
			return b.DiffSnapshots(r.Context(), id(r), r.PathValue("to"), offset)
		}},
		{"POST /v1/snapshots/{id}/verify", quickTime, withBody(func(r *http.Request, body VerifyRequest) (any, error) {
			return b.VerifySnapshot(r.Context(), id(r), body)
		})},
		{"GET /v1/verifications/{id}", quickTime, func(r *http.Request) (any, error) { return b.ShowVerification(r.Context(), id(r)) }},
		{"DELETE /v1/verifications/{id}", quickTime, func(r *http.Request) (any, error) {
			return struct{}{}, b.CancelVerification(r.Context(), id(r))
		}},
		{"POST /v1/verifications/{id}/salvage", longTime, withBody(func(r *http.Request, body SalvageRequest) (any, error) {
			return b.SalvageVolume(r.Context(), id(r), body)
		})},
	}
}

// DiffSnapshots implements Backend.
func (c *Client) DiffSnapshots(ctx context.Context, from, to string, offset int64) (*SnapshotDiff, error) {
	path := "/snapshots/" + url.PathEscape(from) + "/diff/" + url.PathEscape(to) + "?offset=" + strconv.FormatInt(offset, 10)
	return call[SnapshotDiff](ctx, c, http.MethodGet, path, nil)
}

// VerifySnapshot implements Backend.
func (c *Client) VerifySnapshot(ctx context.Context, id string, req VerifyRequest) (*Verification, error) {
	return call[Verification](ctx, c, http.MethodPost, "/snapshots/"+url.PathEscape(id)+"/verify", req)
}

// ShowVerification implements Backend.
func (c *Client) ShowVerification(ctx context.Context, id string) (*Verification, error) {
	return call[Verification](ctx, c, http.MethodGet, "/verifications/"+url.PathEscape(id), nil)
}

// CancelVerification implements Backend.
func (c *Client) CancelVerification(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/verifications/"+url.PathEscape(id), nil)
	return err
}

// SalvageVolume implements Backend.
func (c *Client) SalvageVolume(ctx context.Context, verification string, req SalvageRequest) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodPost, "/verifications/"+url.PathEscape(verification)+"/salvage", req)
}

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Scrubs read all that volumes need, and repair what is damaged.
type Scrubs interface {
	// StartScrub begins to read. It returns at once. There is one scrub at a time.
	StartScrub(ctx context.Context, req ScrubRequest) (*Scrub, error)
	// ShowScrub shows how far it is, and what it has found.
	ShowScrub(ctx context.Context, id string) (*Scrub, error)
	// CancelScrub ends it. To cancel one that has ended is no error.
	CancelScrub(ctx context.Context, id string) error
}

// ScrubRequest says what is scrubbed: a volume with its recovery points and snapshots, or everything.
type ScrubRequest struct {
	Volume string `json:"volume,omitempty"`
	All    bool   `json:"all,omitempty"`              // instead of a volume
	Quick  bool   `json:"quick,omitempty"`            // only what objects say of themselves
	Rate   int64  `json:"bytes_per_second,omitempty"` // that are read from the bucket, at most; 0: as many as it gives
}

// ScrubState says how far a scrub is.
type ScrubState string

// The states of a scrub.
const (
	ScrubRunning  ScrubState = "running"
	ScrubGood     ScrubState = "good"     // nothing was damaged
	ScrubRepaired ScrubState = "repaired" // nothing is damaged any more
	ScrubDamaged  ScrubState = "damaged"  // see Report.Damaged
	ScrubFailed   ScrubState = "failed"   // nothing is known: see Error
	ScrubCanceled ScrubState = "canceled"
)

// Scrub is one scrub.
type Scrub struct {
	ID      string       `json:"id"`
	Volume  string       `json:"volume,omitempty"` // empty: everything
	Quick   bool         `json:"quick,omitempty"`
	State   ScrubState   `json:"state"`
	Error   string       `json:"error,omitempty"`
	Started time.Time    `json:"started"`
	Took    float64      `json:"took_seconds"` // up to now, or its end
	Done    int64        `json:"done_bytes"`   // of blocks
	Total   int64        `json:"total_bytes"`  // 0: not known yet
	Rate    int64        `json:"bytes_per_second"`
	Left    int64        `json:"left_seconds,omitempty"`
	Report  *ScrubReport `json:"report,omitempty"` // when it has ended
}

// ScrubReport is what a scrub, or a check of a bucket, has found.
type ScrubReport struct {
	Volumes   int   `json:"volumes"`
	Points    int   `json:"recovery_roots"`
	Snapshots int   `json:"snapshots"`
	Objects   int64 `json:"objects"`    // of the bucket, that were looked at
	Read      int64 `json:"read_bytes"` // from the bucket
	Blocks    int64 `json:"blocks"`     // of 4096 bytes, that were looked for

	Repaired []ScrubObject `json:"repaired"`
	Damaged  []ScrubObject `json:"damaged"` // still
	Losses   []ScrubLoss   `json:"losses"`  // what is lost by that

	LocalDropped int64 `json:"local_blocks_dropped,omitempty"` // wrong, and to be fetched again
	LocalBad     int64 `json:"local_blocks_bad,omitempty"`     // wrong, and not in the bucket yet

	Orphans     int64    `json:"orphans,omitempty"` // objects that nothing refers to
	OrphanBytes int64    `json:"orphan_bytes,omitempty"`
	Notes       []string `json:"notes,omitempty"`
}

// OK tells whether nothing is damaged any more.
func (r *ScrubReport) OK() bool { return len(r.Damaged) == 0 && r.LocalBad == 0 }

// ScrubObject is an object that is, or was, missing or damaged.
type ScrubObject struct {
	Object  string   `json:"object"` // its key
	Reason  string   `json:"reason"`
	Effects []string `json:"effects,omitempty"` // what it means, beside the losses
}

// ScrubLoss is what is lost of a volume, a recovery point or a snapshot.
type ScrubLoss struct {
	Volume   string      `json:"volume"`
	Of       string      `json:"of"`                 // volume, recovery point or snapshot
	Snapshot string      `json:"snapshot,omitempty"` // ID
	Time     *time.Time  `json:"time,omitempty"`     // of a recovery point or a snapshot
	Bytes    int64       `json:"lost_bytes"`
	Lost     []LostRange `json:"lost"`                // the first of them
	More     int64       `json:"lost_more,omitempty"` // how many ranges are not in Lost
}

func scrubRoutes(b Backend) []route {
	id := func(r *http.Request) string { return r.PathValue("id") }
	return []route{
		{"POST /v1/scrubs", quickTime, withBody(func(r *http.Request, body ScrubRequest) (any, error) { return b.StartScrub(r.Context(), body) })},
		{"GET /v1/scrubs/{id}", quickTime, func(r *http.Request) (any, error) { return b.ShowScrub(r.Context(), id(r)) }},
		{"DELETE /v1/scrubs/{id}", quickTime, func(r *http.Request) (any, error) { return struct{}{}, b.CancelScrub(r.Context(), id(r)) }},
	}
}

// StartScrub implements Backend.
func (c *Client) StartScrub(ctx context.Context, req ScrubRequest) (*Scrub, error) {
	return call[Scrub](ctx, c, http.MethodPost, "/scrubs", req)
}

// ShowScrub implements Backend.
func (c *Client) ShowScrub(ctx context.Context, id string) (*Scrub, error) {
	return call[Scrub](ctx, c, http.MethodGet, "/scrubs/"+url.PathEscape(id), nil)
}

// CancelScrub implements Backend.
func (c *Client) CancelScrub(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/scrubs/"+url.PathEscape(id), nil)
	return err
}

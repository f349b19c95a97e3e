package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Snapshots makes, shows and deletes snapshots, and makes volumes of them.
type Snapshots interface {
	// CreateSnapshots notes one moment of all the volumes that are asked for. It returns at once;
	// the snapshots exist when their state is complete.
	CreateSnapshots(ctx context.Context, req SnapshotRequest) ([]Snapshot, error)
	// ListSnapshots lists those of one volume, by name or ID, or all, the oldest first.
	ListSnapshots(ctx context.Context, volume string) ([]Snapshot, error)
	// ShowSnapshot shows one; an unambiguous beginning of its ID is enough.
	ShowSnapshot(ctx context.Context, id string) (*Snapshot, error)
	DeleteSnapshot(ctx context.Context, id string) error
	// CloneVolume makes a volume that begins as a snapshot of another, or as the other is now.
	CloneVolume(ctx context.Context, source string, req CloneRequest) (*Volume, error)
}

// SnapshotState says how far a snapshot is.
type SnapshotState string

// The states of a snapshot.
const (
	SnapshotUploading SnapshotState = "uploading" // its moment is noted; what it needs is on its way to the bucket
	SnapshotComplete  SnapshotState = "complete"
	SnapshotFailed    SnapshotState = "failed" // it will never exist: see Error
)

// Snapshot describes a snapshot.
type Snapshot struct {
	ID          string            `json:"id"`
	State       SnapshotState     `json:"state"`
	Error       string            `json:"error,omitempty"`
	Volume      string            `json:"volume"` // its name when the snapshot was made
	VolumeID    string            `json:"volume_id"`
	Mode        string            `json:"mode"`
	Size        int64             `json:"size_bytes"`
	Created     time.Time         `json:"created"` // the moment that it holds
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Group       string            `json:"group,omitempty"` // what snapshots of one moment have in common
	Done        int64             `json:"uploaded_bytes"`  // of what was not in the bucket at that moment
	Total       int64             `json:"total_bytes"`
	Stalled     int64             `json:"stalled_microseconds,omitempty"` // writes of the volume stood still so long when the moment was noted
	Frees       *int64            `json:"frees_bytes,omitempty"`          // before compression, about so much, if it is deleted; only where one is shown
	Left        int64             `json:"left_seconds,omitempty"`         // at the present rate, while it is uploading
	Scheduled   *time.Time        `json:"scheduled,omitempty"`            // when a schedule wanted it; nil: somebody asked for it
}

// SnapshotList is the answer to a request for snapshots.
type SnapshotList struct {
	Snapshots []Snapshot `json:"snapshots"`
}

// SnapshotRequest asks for snapshots of one moment.
type SnapshotRequest struct {
	Volumes     []string          `json:"volumes"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// CloneRequest asks for a volume that begins as a copy.
type CloneRequest struct {
	Name     string     `json:"name"`
	Snapshot string     `json:"snapshot,omitempty"` // empty: the volume as it is now, or was At
	At       *time.Time `json:"at,omitempty"`       // a moment inside of the recovery window
	Mode     string     `json:"mode,omitempty"`     // as in CreateRequest, and what follows, too
	Path     string     `json:"path,omitempty"`
	Rate     int64      `json:"fill_bytes_per_second,omitempty"`
	Size     int64      `json:"size_bytes,omitempty"` // 0: that of the source; more grows the disk
	Settings
}

func snapshotRoutes(b Backend) []route {
	id := func(r *http.Request) string { return r.PathValue("id") }
	return []route{
		{"GET /v1/snapshots", quickTime, func(r *http.Request) (any, error) {
			list, err := b.ListSnapshots(r.Context(), r.URL.Query().Get("volume"))
			return SnapshotList{Snapshots: list}, err
		}},
		{"POST /v1/snapshots", quickTime, withBody(func(r *http.Request, body SnapshotRequest) (any, error) {
			list, err := b.CreateSnapshots(r.Context(), body)
			return SnapshotList{Snapshots: list}, err
		})},
		{"GET /v1/snapshots/{id}", quickTime, func(r *http.Request) (any, error) { return b.ShowSnapshot(r.Context(), id(r)) }},
		{"DELETE /v1/snapshots/{id}", quickTime, func(r *http.Request) (any, error) {
			return struct{}{}, b.DeleteSnapshot(r.Context(), id(r))
		}},
		{"POST /v1/volumes/{name}/clone", longTime, withBody(func(r *http.Request, body CloneRequest) (any, error) {
			return b.CloneVolume(r.Context(), r.PathValue("name"), body)
		})},
	}
}

// CreateSnapshots implements Backend.
func (c *Client) CreateSnapshots(ctx context.Context, req SnapshotRequest) ([]Snapshot, error) {
	list, err := call[SnapshotList](ctx, c, http.MethodPost, "/snapshots", req)
	if err != nil {
		return nil, err
	}
	return list.Snapshots, nil
}

// ListSnapshots implements Backend.
func (c *Client) ListSnapshots(ctx context.Context, volume string) ([]Snapshot, error) {
	path := "/snapshots"
	if volume != "" {
		path += "?volume=" + url.QueryEscape(volume)
	}
	list, err := call[SnapshotList](ctx, c, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	return list.Snapshots, nil
}

// ShowSnapshot implements Backend.
func (c *Client) ShowSnapshot(ctx context.Context, id string) (*Snapshot, error) {
	return call[Snapshot](ctx, c, http.MethodGet, "/snapshots/"+url.PathEscape(id), nil)
}

// DeleteSnapshot implements Backend.
func (c *Client) DeleteSnapshot(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, "/snapshots/"+url.PathEscape(id), nil)
	return err
}

// CloneVolume implements Backend.
func (c *Client) CloneVolume(ctx context.Context, source string, req CloneRequest) (*Volume, error) {
	return call[Volume](ctx, c, http.MethodPost, volumePath(source, "clone"), req)
}

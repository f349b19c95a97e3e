package api

import (
	"context"
	"net/http"
	"time"
)

// Schedules says when snapshots of volumes are made.
type Schedules interface {
	// SetSchedule gives a volume a schedule, in place of the one that it has.
	SetSchedule(ctx context.Context, volume string, req ScheduleRequest) (*Schedule, error)
	ListSchedules(ctx context.Context) ([]Schedule, error)
	// DeleteSchedule ends the schedule of a volume, by its name; one whose volume is gone, by the volume's ID. Snapshots stay.
	DeleteSchedule(ctx context.Context, volume string) error
}

// ScheduleRequest asks for a schedule.
type ScheduleRequest struct {
	Every string `json:"every"`          // such as 4h; it divides a day, or is whole days
	At    string `json:"at,omitempty"`   // time of day of one of the snapshots; 00:00 if it is left out
	Zone  string `json:"zone,omitempty"` // IANA name of a time zone; UTC if it is left out
	Keep  string `json:"keep,omitempty"` // such as hourly=24,daily=7,weekly=4,monthly=12; all if it is left out
}

// Schedule describes a schedule.
type Schedule struct {
	Volume   string     `json:"volume"` // empty: it was deleted
	VolumeID string     `json:"volume_id"`
	Every    string     `json:"every"`
	At       string     `json:"at"`
	Zone     string     `json:"zone"`
	Keep     string     `json:"keep,omitempty"`
	Created  time.Time  `json:"created"`
	Next     *time.Time `json:"next,omitempty"` // when the next snapshot is due
	Last     *time.Time `json:"last,omitempty"` // the moment that the last one holds
	LastID   string     `json:"last_snapshot,omitempty"`
	Making   bool       `json:"making,omitempty"` // one is being made here
	Error    string     `json:"error,omitempty"`  // why the last attempt of this gateway failed
}

// ScheduleList is the answer to a request for all schedules.
type ScheduleList struct {
	Schedules []Schedule `json:"schedules"`
}

// ScheduleStatus is how the schedules are, as far as this gateway is concerned.
type ScheduleStatus struct {
	Schedules int    `json:"schedules"`
	Failing   int    `json:"failing"`         // whose last attempt failed
	Error     string `json:"error,omitempty"` // of one of them
}

func scheduleRoutes(b Backend) []route {
	name := func(r *http.Request) string { return r.PathValue("name") }
	return []route{
		{"GET /v1/schedules", quickTime, func(r *http.Request) (any, error) {
			list, err := b.ListSchedules(r.Context())
			return ScheduleList{Schedules: list}, err
		}},
		{"PUT /v1/volumes/{name}/schedule", quickTime, withBody(func(r *http.Request, body ScheduleRequest) (any, error) {
			return b.SetSchedule(r.Context(), name(r), body)
		})},
		{"DELETE /v1/volumes/{name}/schedule", quickTime, func(r *http.Request) (any, error) {
			return struct{}{}, b.DeleteSchedule(r.Context(), name(r))
		}},
	}
}

// SetSchedule implements Backend.
func (c *Client) SetSchedule(ctx context.Context, volume string, req ScheduleRequest) (*Schedule, error) {
	return call[Schedule](ctx, c, http.MethodPut, volumePath(volume, "schedule"), req)
}

// ListSchedules implements Backend.
func (c *Client) ListSchedules(ctx context.Context) ([]Schedule, error) {
	list, err := call[ScheduleList](ctx, c, http.MethodGet, "/schedules", nil)
	if err != nil {
		return nil, err
	}
	return list.Schedules, nil
}

// DeleteSchedule implements Backend.
func (c *Client) DeleteSchedule(ctx context.Context, volume string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, volumePath(volume, "schedule"), nil)
	return err
}

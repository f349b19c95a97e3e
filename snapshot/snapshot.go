package snapshot

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"sluice/object/record"
	"sluice/volume/blockmap"
)

// format is the version of the record that this code writes. It refuses greater ones.
const format = 1

// Snapshot is the record of a snapshot.
type Snapshot struct {
	Format      int               `json:"format"`
	ID          uuid.UUID         `json:"id"`
	Volume      uuid.UUID         `json:"volume"`
	VolumeName  string            `json:"volume_name"` // at the moment
	Mode        string            `json:"mode"`        // of the volume
	Size        int64             `json:"size"`        // bytes
	Root        blockmap.Root     `json:"root"`
	Created     time.Time         `json:"created"` // the moment
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Group       uuid.UUID         `json:"group,omitzero"`     // that snapshots of one moment have in common
	Uploaded    int64             `json:"uploaded,omitempty"` // bytes that were not in the bucket at the moment, before compression
	// Stalled is for how long writes stood still when the moment was noted.
	Stalled time.Duration `json:"stalled_ns,omitempty"`
	Made    *Made         `json:"schedule,omitempty"` // by a schedule; nil: somebody asked for it
}

// Errors of the catalogue.
var (
	ErrNotFound  = errors.New("no such snapshot")
	ErrAmbiguous = errors.New("more than one snapshot has an ID that begins so")
	ErrDamaged   = errors.New("a record of snapshots is damaged")
)

const prefix = "snapshots/"

func key(id uuid.UUID) string { return prefix + id.String() + ".json" }

func decode(at string, body []byte) (*Snapshot, error) {
	var s Snapshot
	if err := record.Decode(body, &s); err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrDamaged, at, err)
	}
	if s.Format > format {
		return nil, fmt.Errorf("%s has format %d and this sluice knows formats up to %d: use a newer sluice", at, s.Format, format)
	}
	if s.Format < 1 || at != key(s.ID) || s.Size <= 0 || s.Root.Key == "" {
		return nil, fmt.Errorf("%w: %s is not the record of a snapshot", ErrDamaged, at)
	}
	return &s, nil
}

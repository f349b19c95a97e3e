package scrub

import (
	"time"

	"github.com/google/uuid"

	"sluice/volume/verify"
)

// Kind says what a moment of a volume is kept as.
type Kind string

// The kinds of moments.
const (
	Newest   Kind = "volume"         // the newest root
	Past     Kind = "recovery point" // a root of the past
	Snapshot Kind = "snapshot"
)

// Moment is a state of a volume that is kept.
type Moment struct {
	Volume   string
	Kind     Kind
	Snapshot uuid.UUID // of a snapshot
	Time     time.Time // of a recovery point and a snapshot
}

// Object is an object of the bucket that is missing or damaged, or was.
type Object struct {
	Key     string
	Reason  string
	Effects []string // what it means for whom, beside the losses
}

// Loss is what is lost of a moment.
type Loss struct {
	Moment
	Bytes  int64         // zeros that nobody knows of included
	Ranges []verify.Lost // the first of them, in order
	More   int64         // how many ranges are not in Ranges
}

// Report is the result of a scrub.
type Report struct {
	Volumes, Points, Snapshots int   // that were looked at
	Objects                    int64 // of the bucket: segments and parts of maps
	Bytes                      int64 // that were read from the bucket
	Blocks                     int64 // 4096 bytes each, that were looked for in segments

	Repaired []Object // that are as they should be again
	Damaged  []Object // that still are
	Losses   []Loss   // of moments that Damaged takes something from

	LocalDropped int64 // blocks of local copies that were wrong, and are fetched again when they are needed
	LocalBad     int64 // blocks of local copies that are wrong, and not in the bucket yet

	Orphans, OrphanBytes int64 // objects that nothing refers to, and what they take; of a check of the whole bucket
	Notes                []string
}

// OK tells whether nothing is damaged any more.
func (r *Report) OK() bool { return len(r.Damaged) == 0 && r.LocalBad == 0 }

package api

import "time"

// State says how a volume and this gateway stand to each other.
type State string

// The states of a volume.
const (
	StateAttached  State = "attached"  // this gateway serves it
	StateFailed    State = "failed"    // this gateway owns it but cannot serve it: see Error
	StateElsewhere State = "elsewhere" // another gateway serves it: see Owner
	StateDetached  State = "detached"  // no gateway serves it
)

// Volume describes a volume. What this gateway cannot know, because it does not serve the
// volume, is left out.
type Volume struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	State   State     `json:"state"`
	Error   string    `json:"error,omitempty"` // why it fails
	Mode    string    `json:"mode"`
	Size    int64     `json:"size_bytes"`
	Created time.Time `json:"created"`
	Epoch   uint64    `json:"epoch"` // raised by each attachment
	Owner   *Owner    `json:"owner,omitempty"`
	// Durability is what flushes of a cached volume wait for: "local" disk, that of the "peer" too, or the "bucket".
	Durability string `json:"durability,omitempty"`
	// WriteThrough: its writes wait for that, too.
	WriteThrough bool   `json:"write_through,omitempty"`
	Lease        *Lease `json:"lease,omitempty"` // of a volume that a standby may take over
	// Takeover is the last time that the volume was taken from a gateway by force.
	Takeover *Takeover `json:"takeover,omitempty"`
	Origin   *Origin   `json:"origin,omitempty"` // of a clone
	Space    *Space    `json:"space,omitempty"`  // as of the last pass over the bucket

	IQN    string `json:"iqn"`
	LUN    int    `json:"lun"`
	Portal string `json:"portal"` // where initiators find it

	Path    string `json:"path,omitempty"`          // of the data of a stored volume
	Changed int64  `json:"changed_bytes,omitempty"` // in a stored volume since its last snapshot
	Missing int64  `json:"missing_bytes,omitempty"` // in a stored volume that is still being filled

	Allocated      *int64     `json:"allocated_bytes,omitempty"` // only where one volume is shown, and if it is known soon
	Queued         int64      `json:"queued_bytes"`              // accepted and not yet in the bucket
	QueuedSegments int        `json:"queued_segments"`
	OldestQueued   *time.Time `json:"oldest_queued,omitempty"`     // when the oldest of them was accepted
	UploadError    string     `json:"upload_error,omitempty"`      // of the last upload, while it is tried again
	Waiting        []Waiting  `json:"waiting,omitempty"`           // what is held up
	Import         *int64     `json:"import_done_bytes,omitempty"` // how much of an image is there whose import is unfinished: initiators are not let in

	Counters *Counters `json:"counters,omitempty"`
	Sessions []Session `json:"sessions"`
	Access   *Access   `json:"access,omitempty"`
	Attach   []string  `json:"attach,omitempty"` // the commands that use it on Linux
}

// Waiting is work of a volume that the bucket or the local disk holds up, and that goes on by itself when that has an end.
type Waiting struct {
	Work  string     `json:"work"` // upload, read, or write: that fails for want of room on the local disk
	Error string     `json:"error"`
	Since time.Time  `json:"since"`
	Next  *time.Time `json:"next_attempt,omitempty"` // if it is in the past, it is being tried now; nil: only an answer is missing or, of writes, each one tries
}

// Lease is the ownership of a volume that ends by itself when it is not renewed.
type Lease struct {
	Group string  `json:"group"`
	Term  float64 `json:"term_seconds"`
	Held  bool    `json:"held"` // else I/O waits until it is renewed
}

// Takeover says from whom a volume was taken.
type Takeover struct {
	Time    time.Time `json:"time"`
	Gateway string    `json:"gateway"`
	Host    string    `json:"host"`
	Renewed time.Time `json:"renewed"`      // when that gateway last said that it lived
	Queued  int64     `json:"queued_bytes"` // what it had not uploaded then, and what is therefore missing, about
}

// Origin says what a clone began as.
type Origin struct {
	Volume   string    `json:"volume"`             // its name then
	Snapshot string    `json:"snapshot,omitempty"` // of which; empty: of a recovery point
	Time     time.Time `json:"time"`               // the moment
}

// Space is what a volume takes in the bucket.
type Space struct {
	Live   int64 `json:"live_bytes"`   // mapped in the volume, before compression
	Shared int64 `json:"shared_bytes"` // at least so much of it is also part of a snapshot or another volume
	Dead   int64 `json:"dead_bytes"`   // about so much of what it wrote is garbage that is still stored
}

// Owner is the gateway that serves a volume.
type Owner struct {
	Gateway string    `json:"gateway"`
	Host    string    `json:"host"`
	Renewed time.Time `json:"renewed"` // when it last said that it lives
}

// StandbyStatus says whose volumes a gateway stands by for.
type StandbyStatus struct {
	Group   string          `json:"group"`
	Volumes []StandbyVolume `json:"volumes"`
}

// StandbyVolume is a volume that another gateway serves and this one takes over when that one has been silent for too long.
type StandbyVolume struct {
	Name     string  `json:"name"`
	Gateway  string  `json:"gateway"` // that serves it
	Host     string  `json:"host"`
	Queued   int64   `json:"queued_bytes"`     // not in the bucket, as it said last
	Silent   float64 `json:"silent_seconds"`   // since its last sign of life
	Patience float64 `json:"patience_seconds"` // after which it is taken over
}

// Counters count since the volume was attached.
type Counters struct {
	ReadBytes        int64 `json:"read_bytes"`
	WriteBytes       int64 `json:"write_bytes"`
	ReadOps          int64 `json:"read_ops"`
	WriteOps         int64 `json:"write_ops"`
	Flushes          int64 `json:"flushes"`
	UploadedBytes    int64 `json:"uploaded_bytes"` // as stored, after compression
	UploadedSegments int64 `json:"uploaded_segments"`
	ChecksumErrors   int64 `json:"checksum_errors"`
	Roots            int64 `json:"roots"`
}

// Session is an initiator that is logged in.
type Session struct {
	Initiator string    `json:"initiator"`
	Remote    string    `json:"remote"`
	Since     time.Time `json:"since"`
	CHAPUser  string    `json:"chap_user,omitempty"`
	Mutual    bool      `json:"mutual,omitempty"`
	Commands  uint64    `json:"commands"`
	Received  uint64    `json:"received_bytes"`
	Sent      uint64    `json:"sent_bytes"`
}

// Access says who may log in to a volume through this gateway. With both lists empty,
// initiators on this machine may.
type Access struct {
	Initiators []string `json:"initiators"` // the access list; empty: any name
	CHAP       []CHAP   `json:"chap"`       // not empty: only these, and only with their secret
}

// CHAP shows credentials, without the secrets.
type CHAP struct {
	Initiator  string `json:"initiator"`
	User       string `json:"user"`
	MutualUser string `json:"mutual_user,omitempty"`
}

// VolumeList is the answer to a request for all volumes.
type VolumeList struct {
	Volumes []Volume `json:"volumes"`
}

// InitiatorList is a volume's access list.
type InitiatorList struct {
	Volume     string   `json:"volume"`
	Initiators []string `json:"initiators"`
}

// CHAPList is a volume's CHAP credentials, without the secrets.
type CHAPList struct {
	Volume string `json:"volume"`
	CHAP   []CHAP `json:"chap"`
}

// CreateRequest asks for a new volume.
type CreateRequest struct {
	Name string `json:"name"`
	Size int64  `json:"size_bytes"`
	Mode string `json:"mode,omitempty"` // "cached", the default, or "stored"
	// Snapshot is what the volume begins as, by the beginning of its ID; then the size may be 0: that of the snapshot.
	Snapshot string `json:"snapshot,omitempty"`
	// Path is where a stored volume has its data, a file or a block device; the default is a file in the data directory. Preserve takes
	// what is there as its first content.
	Path     string `json:"path,omitempty"`
	Preserve bool   `json:"preserve,omitempty"`
	// Rate bounds how fast a stored volume that begins as a snapshot is filled, in bytes a second; 0: not at all.
	Rate int64 `json:"fill_bytes_per_second,omitempty"`
	Settings
}

// Settings are those of a new volume, for which there are defaults.
type Settings struct {
	// Window is for how long the volume can go back, in seconds; the default is 24 hours, 0 is not at all.
	Window *int64 `json:"recovery_window_seconds,omitempty"`
	// Durability is what flushes of a cached volume wait for: "local" disk, the default, that of the "peer" too, or the "bucket".
	Durability string `json:"durability,omitempty"`
	// WriteThrough has its writes wait for that, too: there is no write cache.
	WriteThrough bool `json:"write_through,omitempty"`
}

// DurabilityRequest asks for flushes to wait for "local" disk, for that of the "peer" too, or for the "bucket"; and for writes to do so, or not to, while no
// initiator is logged in.
type DurabilityRequest struct {
	Durability   string `json:"durability"`
	WriteThrough *bool  `json:"write_through,omitempty"` // as it is, if it is left out
}

// ResizeRequest asks for a larger volume.
type ResizeRequest struct {
	Size int64 `json:"size_bytes"`
}

// AttachRequest asks the gateway to serve a volume.
type AttachRequest struct {
	Force bool `json:"force,omitempty"` // take it from another gateway; what that one did not upload is lost
}

// DetachRequest asks the gateway to give a volume up.
type DetachRequest struct {
	Force bool `json:"force,omitempty"` // also while initiators are logged in
}

// CHAPRequest sets the credentials of one initiator with one volume.
type CHAPRequest struct {
	User         string `json:"user"`
	Secret       Secret `json:"secret"`
	MutualUser   string `json:"mutual_user,omitempty"`
	MutualSecret Secret `json:"mutual_secret,omitempty"`
}

// Status describes a gateway. It never waits for the object store.
type Status struct {
	Gateway  GatewayStatus `json:"gateway"`
	Store    StoreStatus   `json:"store"`
	Buffer   BufferStatus  `json:"upload_buffer"`
	Cache    CacheStatus   `json:"cache"`
	Queue    QueueStatus   `json:"upload_queue"`
	Sessions int           `json:"sessions"`

	Collection CollectionStatus `json:"garbage_collection"`
	Schedules  ScheduleStatus   `json:"schedules"`
	Standby    *StandbyStatus   `json:"standby,omitempty"`
	Volumes    []Volume         `json:"volumes"` // attached and failed ones
	Puts       int64            `json:"puts"`    // write requests to the store since the start, repeated ones included
	Mallocs    uint64           `json:"mallocs"` // heap objects allocated since the start
}

// GatewayStatus says who and where the gateway is.
type GatewayStatus struct {
	ID      string    `json:"id"`
	Host    string    `json:"host"`
	Version string    `json:"version"`
	DataDir string    `json:"data_dir"`
	Portal  string    `json:"portal"`
	Started time.Time `json:"started"`
	Uptime  int64     `json:"uptime_seconds"`
}

// StoreStatus describes the object store and the requests to it since the start.
type StoreStatus struct {
	URL      string `json:"url"`
	Requests int64  `json:"requests"`
	Errors   int64  `json:"errors"` // requests that failed or found nothing; most are repeated
	Sent     int64  `json:"sent_bytes"`
	Received int64  `json:"received_bytes"`
}

// BufferStatus describes the upload buffer.
type BufferStatus struct {
	Used int64 `json:"used_bytes"`
	Size int64 `json:"size_bytes"`
}

// CacheStatus describes the cache.
type CacheStatus struct {
	Used     int64   `json:"used_bytes"`
	Size     int64   `json:"size_bytes"`
	Segments int     `json:"segments"`
	Hits     int64   `json:"hits"`
	Misses   int64   `json:"misses"`
	HitRate  float64 `json:"hit_rate"` // between 0 and 1; 0 before the first read
	Fetched  int64   `json:"fetched_bytes"`
	Evicted  int64   `json:"evicted_segments"`
}

// QueueStatus describes what waits to be uploaded, over all volumes.
type QueueStatus struct {
	Bytes    int64      `json:"bytes"`
	Segments int        `json:"segments"`
	Oldest   *time.Time `json:"oldest,omitempty"`
}

// CollectionStatus describes what the bucket holds, as the last look over all of it found.
type CollectionStatus struct {
	At      *time.Time `json:"at,omitempty"`    // when it ended; nil: there was none since the start
	Error   string     `json:"error,omitempty"` // why it failed: nothing was deleted then
	Objects int        `json:"objects"`
	Bytes   int64      `json:"bytes"`
	Garbage int64      `json:"garbage_bytes"`    // of them nothing needs these; they are deleted soon
	Freed   int64      `json:"freed_bytes"`      // since the start
	Thinned int        `json:"thinned_segments"` // since the start: they were written again without what nothing needs
}

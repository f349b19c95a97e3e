package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/record"
	"sluice/volume/blockmap"
	"sluice/volume/segment"
)

// The versions of head.json: the second has a durability other than Local, or writes that wait for it, the third what initiators asked the
// volume to keep. Who does not know one of these would not keep it. This code refuses greater ones.
const (
	headFormat        = 1
	headFormatDurable = 2
	headFormatKept    = 3
)

// format returns the least version that says all of h.
func (h *Head) format() int {
	if len(h.Kept) > 0 {
		return headFormatKept
	}
	if h.Durability != "" && h.Durability != Local || h.WriteThrough {
		return headFormatDurable
	}
	return headFormat
}

// Mode says where the whole of a volume's data is.
type Mode string

// Cached volumes have all data in the bucket and hot blocks on local disk.
const Cached Mode = "cached"

// Stored volumes have all data on local disk, and their snapshots in the bucket: see package stored.
const Stored Mode = "stored"

// Owner is the gateway that serves a volume.
type Owner struct {
	Gateway string    `json:"gateway"`                // the gateway's identity, a UUID
	Host    string    `json:"host"`                   // for people: where it ran
	Renewed time.Time `json:"renewed"`                // when it last said that it lives, by its clock: for people
	Queued  int64     `json:"queued_bytes,omitempty"` // what was not in the bucket then
	// Group is that of the standby gateways that may take the volume over, and Lease, in seconds, for how long
	// after a renewal none may; zero: it does not end by itself.
	Group string `json:"group,omitempty"`
	Lease int64  `json:"lease_seconds,omitempty"`
	// Stopped says that the gateway has uploaded all and serves the volume no more: none need wait.
	Stopped bool `json:"stopped,omitempty"`
}

// Takeover says from whom the volume was taken by force, and what that gateway last said that was not in the bucket.
type Takeover struct {
	Time    time.Time `json:"time"`
	Gateway string    `json:"gateway"`
	Host    string    `json:"host"`
	Renewed time.Time `json:"renewed"`      // when it had last said that it lived
	Queued  int64     `json:"queued_bytes"` // then
}

// Origin says which moment of which volume a clone began as. It is for people: nothing else
// of the origin is needed any more.
type Origin struct {
	Volume   string    `json:"volume"` // its name then
	Snapshot uuid.UUID `json:"snapshot"`
	Time     time.Time `json:"time"`
}

// Span is the part of one attachment in a volume's history: the segments 1 to To of a
// writer. While To is zero the attachment lasts, or its end is not known.
type Span struct {
	Writer uint32 `json:"writer"`
	To     uint32 `json:"to,omitempty"`
}

// Head is the one mutable object of a volume, volumes/<id>/head.json. It is changed
// only by compare-and-swap (If-Match).
type Head struct {
	Format  int       `json:"format"`
	ID      uuid.UUID `json:"id"`
	Name    string    `json:"name"`
	Size    int64     `json:"size"` // bytes
	Mode    Mode      `json:"mode"`
	Created time.Time `json:"created"`
	Origin  *Origin   `json:"origin,omitempty"` // what it began as a copy of

	Epoch uint64 `json:"epoch"` // raised by each attachment
	Owner *Owner `json:"owner,omitempty"`
	// Takeover is the last one.
	Takeover *Takeover `json:"takeover,omitempty"`

	// Spans are the attachments that wrote something, oldest first. Root is the newest root
	// of the block map; the segments behind its position are replayed on top of it.
	// Published is the last segment that was surely in the bucket,
	// with all before it, when the head was written: a gap before it is damage, a gap
	// behind it is where the history ends.
	Root      *blockmap.Root `json:"root,omitempty"`
	Spans     []Span         `json:"spans,omitempty"`
	Published segment.ID     `json:"published,omitempty"`

	// Durability is what flushes wait for; empty: Local. WriteThrough has each write wait for it, too: there is no write cache.
	Durability   Durability `json:"durability,omitempty"`
	WriteThrough bool       `json:"write_through,omitempty"`

	// Kept is what initiators asked the volume to keep, where that moves with it: see SetKept.
	Kept map[string]json.RawMessage `json:"kept,omitempty"`

	// Window is for how many seconds the volume's past is kept, and Points are the moments of
	// it, the oldest first, that are roots: see At.
	Window int64   `json:"recovery_window,omitempty"`
	Points []Point `json:"points,omitempty"`

	// Nonce makes each written head unlike any other, so that a writer whose answer was
	// lost can recognise its own success.
	Nonce string `json:"nonce"`
}

// Errors of the catalogue and of ownership.
var (
	ErrNotFound = errors.New("no such volume")
	ErrExists   = errors.New("a volume of that name exists")
	ErrOwned    = errors.New("the volume is attached to another gateway")
	ErrTwin     = errors.New("another process with this gateway's identity has served the volume since: one of the two has a copy of the other's data directory, or an old one")
	ErrLost     = errors.New("another gateway has taken the volume over")
	ErrDamaged  = errors.New("the volume's data in the bucket is damaged")
)

// clone returns a copy that shares nothing that is ever changed.
func (h *Head) clone() *Head {
	c := *h
	c.Spans, c.Points, c.Kept = slices.Clone(h.Spans), slices.Clone(h.Points), maps.Clone(h.Kept)
	if h.Owner != nil {
		c.Owner = new(*h.Owner)
	}
	return &c
}

const volumesPrefix = "volumes/"

func headKey(id uuid.UUID) string { return volumesPrefix + id.String() + "/head.json" }

func decodeHead(key string, body []byte) (*Head, error) {
	var h Head
	if err := record.Decode(body, &h); err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrDamaged, key, err)
	}
	if h.Format > headFormatKept {
		return nil, fmt.Errorf("%s has format %d and this sluice knows formats up to %d: use a newer sluice", key, h.Format, headFormatKept)
	}
	if h.Format < 1 || h.ID == uuid.Nil || h.Size <= 0 || h.Size%segment.BlockSize != 0 || key != headKey(h.ID) {
		return nil, fmt.Errorf("%w: %s is not a volume head", ErrDamaged, key)
	}
	return &h, nil
}

// HeadOf returns the head of the volume with an ID.
func HeadOf(ctx context.Context, store object.Store, id uuid.UUID) (*Head, error) {
	h, _, err := readHead(ctx, store, id)
	return h, err
}

func readHead(ctx context.Context, store object.Store, id uuid.UUID) (*Head, string, error) {
	key := headKey(id)
	body, etag, err := store.GetRange(ctx, key, 0, -1)
	if errors.Is(err, object.ErrNotFound) {
		return nil, "", fmt.Errorf("volume %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading %s: %w", key, err)
	}
	h, err := decodeHead(key, body)
	return h, etag, err
}

// writeHead stores h, whose nonce must be new, if the head in the bucket still has the ETag match (or does not
// exist, for an empty match).
func writeHead(ctx context.Context, store object.Store, h *Head, match string) (string, error) {
	h.Format = h.format()
	body, err := record.Encode(h)
	if err != nil {
		return "", fmt.Errorf("encoding head: %w", err)
	}
	etag, err := store.PutIf(ctx, headKey(h.ID), body, match)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", headKey(h.ID), err)
	}
	return etag, nil
}

const namesPrefix = "names/"

const writersKey = "writers.json"

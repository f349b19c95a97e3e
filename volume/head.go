package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

// New describes a volume to be created.
type New struct {
	Name   string
	Size   int64 // bytes
	Mode   Mode
	Root   *blockmap.Root // what it contains from the beginning; nil: nothing
	Origin *Origin        // whose moment Root is
	Past   *Past          // instead of Root: what it contains, as of At
	Window time.Duration  // for how long its own past is to be kept
	// Durability is what flushes of a cached volume wait for, and with WriteThrough its writes, too; empty: Local.
	Durability   Durability
	WriteThrough bool
}

// Create adds a volume to the bucket. Names are unique among the volumes
// of one bucket prefix: a name object, written only if it is not there, decides a race.
// Who gives a root makes sure afterwards that it was not deleted meanwhile.
func Create(ctx context.Context, store object.Store, n New) (*Head, error) {
	name := n.Name
	h := &Head{
		ID: uuid.New(), Name: name, Size: n.Size, Mode: n.Mode, Created: time.Now().UTC(),
		Root: n.Root, Origin: n.Origin, Window: int64(n.Window / time.Second), Durability: n.Durability, WriteThrough: n.WriteThrough, Nonce: uuid.NewString(),
	}
	if n.Past != nil {
		h.Root, h.Spans, h.Published = n.Past.base.root(), n.Past.spans, n.Past.Position
	}
	h.begin(n.Past)
	// The head first: a name that leads nowhere would be an obstacle, a head without a name is only litter.
	if _, err := writeHead(ctx, store, h, ""); err != nil {
		return nil, err
	}
	body, err := record.Encode(nameRecord{ID: h.ID})
	if err != nil {
		return nil, fmt.Errorf("encoding name: %w", err)
	}
	if _, err = store.PutIf(ctx, nameKey(name), body, ""); err != nil {
		if derr := store.Delete(ctx, headKey(h.ID)); derr != nil {
			err = errors.Join(err, derr)
		}
		if errors.Is(err, object.ErrPrecondition) {
			return nil, fmt.Errorf("creating volume %q: %w", name, ErrExists)
		}
		return nil, fmt.Errorf("creating volume %q: %w", name, err)
	}
	return h, nil
}

type nameRecord struct {
	ID uuid.UUID `json:"id"`
}

const namesPrefix = "names/"

func nameKey(name string) string { return namesPrefix + name + ".json" }

// Find returns the head of the volume called name.
func Find(ctx context.Context, store object.Store, name string) (*Head, error) {
	body, _, err := store.GetRange(ctx, nameKey(name), 0, -1)
	if errors.Is(err, object.ErrNotFound) {
		return nil, fmt.Errorf("volume %q: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("looking up volume %q: %w", name, err)
	}
	var rec nameRecord
	if err := record.Decode(body, &rec); err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrDamaged, nameKey(name), err)
	}
	h, _, err := readHead(ctx, store, rec.ID)
	if errors.Is(err, ErrNotFound) {
		// Never taken for a new volume: its data may still be there.
		return nil, fmt.Errorf("%w: volume %q has a name but no %s", ErrDamaged, name, headKey(rec.ID))
	}
	return h, err
}

// List returns the heads of all volumes in the bucket, in the order of their names.
func List(ctx context.Context, store object.Store) ([]*Head, error) {
	var heads []*Head
	for info, err := range store.List(ctx, namesPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("listing volumes: %w", err)
		}
		name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, namesPrefix), ".json")
		if !ok {
			continue
		}
		h, err := Find(ctx, store, name)
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// Heads returns the heads of all volumes in the bucket, also of those that have no name: they are just being created or
// deleted, or were left behind by a gateway that died while it did so.
func Heads(ctx context.Context, store object.Store) ([]*Head, error) {
	var heads []*Head
	for info, err := range store.List(ctx, volumesPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("listing volumes: %w", err)
		}
		if !strings.HasSuffix(info.Key, "/head.json") {
			continue
		}
		body, _, err := store.GetRange(ctx, info.Key, 0, -1)
		if errors.Is(err, object.ErrNotFound) {
			continue // deleted just now
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", info.Key, err)
		}
		h, err := decodeHead(info.Key, body)
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	return heads, nil
}

// Delete removes a volume that no gateway serves: its name, so that it is gone for everybody, then its
// head. Its data is garbage then, but for what snapshots and clones need: see package gc.
func Delete(ctx context.Context, store object.Store, name string) error {
	h, err := Find(ctx, store, name)
	if err != nil {
		return err
	}
	h, etag, err := readHead(ctx, store, h.ID)
	if err != nil {
		return err
	}
	if h.Owner != nil {
		return fmt.Errorf("deleting volume %q: %w (%s on %s): detach it there first", name, ErrOwned, h.Owner.Gateway, h.Owner.Host)
	}
	// The epoch goes up first: whoever attaches at the same time loses the race.
	h.Epoch, h.Nonce = h.Epoch+1, uuid.NewString()
	if _, err := writeHead(ctx, store, h, etag); err != nil {
		return fmt.Errorf("deleting volume %q: %w", name, err)
	}
	if err := store.Delete(ctx, nameKey(name)); err != nil {
		return fmt.Errorf("deleting volume %q: %w", name, err)
	}
	if err := store.Delete(ctx, headKey(h.ID)); err != nil {
		return fmt.Errorf("deleting volume %q: %w", name, err)
	}
	return nil
}

// nextWriter hands out a number that no attachment of any volume in the bucket has had.
func nextWriter(ctx context.Context, store object.Store) (uint32, error) {
	for {
		c, etag, err := readWriters(ctx, store)
		if err != nil {
			return 0, err
		}
		if c.Last >= segment.MaxWriter {
			return 0, fmt.Errorf("all %d writer numbers of this bucket are used: copy the volumes to a new prefix", segment.MaxWriter)
		}
		c.Last++
		c.Nonce = uuid.NewString()
		body, err := record.Encode(c)
		if err != nil {
			return 0, fmt.Errorf("encoding %s: %w", writersKey, err)
		}
		if _, err = store.PutIf(ctx, writersKey, body, etag); err == nil {
			return c.Last, nil
		}
		if !errors.Is(err, object.ErrPrecondition) {
			return 0, fmt.Errorf("writing %s: %w", writersKey, err)
		}
	}
}

const writersKey = "writers.json"

// writers is the content of writers.json.
type writers struct {
	Last  uint32 `json:"last"`
	Nonce string `json:"nonce"`
}

// readWriters reads writers.json. In a bucket without segments it may be missing: then the ETag is empty.
func readWriters(ctx context.Context, store object.Store) (w writers, etag string, err error) {
	body, etag, err := store.GetRange(ctx, writersKey, 0, -1)
	if errors.Is(err, object.ErrNotFound) {
		return w, "", refuseSegments(ctx, store)
	}
	if err != nil {
		return w, "", fmt.Errorf("reading %s: %w", writersKey, err)
	}
	if err := record.Decode(body, &w); err != nil {
		return w, "", fmt.Errorf("%w: reading %s: %w", ErrDamaged, writersKey, err)
	}
	return w, etag, nil
}

// LastWriter returns the writer number that was given out last: no segment has a greater one. A counter that is damaged or missing is
// ErrDamaged.
func LastWriter(ctx context.Context, store object.Store) (uint32, error) {
	w, _, err := readWriters(ctx, store)
	return w.Last, err
}

// refuseSegments returns an error if the bucket has segments: with the counter of writers
// gone, new segments could take the names of old ones.
func refuseSegments(ctx context.Context, store object.Store) error {
	for info, err := range store.List(ctx, "segments/", "") {
		if err != nil {
			return fmt.Errorf("listing segments: %w", err)
		}
		return fmt.Errorf("%w: writers.json is missing although there are segments (%s)", ErrDamaged, info.Key)
	}
	return nil
}

package snapshot

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/record"
)

// ErrNoSchedule says that a volume has no schedule.
var ErrNoSchedule = errors.New("the volume has no schedule")

const schedulePrefix = "schedules/"

func scheduleKey(volume uuid.UUID) string { return schedulePrefix + volume.String() + ".json" }

// Schedules are those of a bucket. It remembers what it has read, and reads only what changed. It is for one
// user at a time; other gateways may change schedules meanwhile.
type Schedules struct {
	store object.Store
	known map[string]known // by key
}

type known struct {
	etag     string
	schedule *Schedule
}

// NewSchedules returns the schedules of the volumes in store.
func NewSchedules(store object.Store) *Schedules {
	return &Schedules{store: store, known: map[string]known{}}
}

// List returns all schedules, in the order of the volumes' IDs. They are shared: do not change them. A record that cannot
// be read is in err, which joins one error for each; the others are in the list all the same, unless the
// bucket cannot be asked.
func (l *Schedules) List(ctx context.Context) (list []*Schedule, err error) {
	found := map[string]known{}
	for info, failed := range l.store.List(ctx, schedulePrefix, "") {
		if failed != nil {
			return nil, fmt.Errorf("listing schedules: %w", failed)
		}
		k := l.known[info.Key]
		if k.schedule == nil || info.ETag == "" || k.etag != info.ETag {
			var one error
			k.schedule, k.etag, one = l.read(ctx, info.Key)
			if errors.Is(one, object.ErrNotFound) {
				continue // deleted just now
			}
			if one != nil {
				err = errors.Join(err, one)
				continue
			}
		}
		found[info.Key] = k
		list = append(list, k.schedule)
	}
	l.known = found
	return list, err
}

func (l *Schedules) read(ctx context.Context, key string) (*Schedule, string, error) {
	body, etag, err := l.store.GetRange(ctx, key, 0, -1)
	if err != nil {
		return nil, "", fmt.Errorf("reading %s: %w", key, err)
	}
	s, err := decodeSchedule(key, body)
	return s, etag, err
}

// Get returns the schedule of a volume, or ErrNoSchedule.
func (l *Schedules) Get(ctx context.Context, volume uuid.UUID) (*Schedule, error) {
	s, _, err := l.read(ctx, scheduleKey(volume))
	if errors.Is(err, object.ErrNotFound) {
		return nil, fmt.Errorf("volume %s: %w", volume, ErrNoSchedule)
	}
	return s, err
}

// Put stores a schedule in place of the one that the volume has. The snapshots that the old one made are the new one's: it
// takes its ID. Of two who do so at one time one gets object.ErrPrecondition.
func (l *Schedules) Put(ctx context.Context, s *Schedule) error {
	if err := s.Check(); err != nil {
		return err
	}
	key := scheduleKey(s.Volume)
	old, etag, err := l.read(ctx, key)
	switch {
	case err == nil:
		s.ID = old.ID
	case errors.Is(err, object.ErrNotFound):
		s.ID, etag = uuid.New(), ""
	default:
		return err
	}
	s.Format, s.Nonce = scheduleFormat, uuid.New()
	body, err := record.Encode(s)
	if err != nil {
		return fmt.Errorf("encoding the schedule of volume %s: %w", s.Volume, err)
	}
	if _, err := l.store.PutIf(ctx, key, body, etag); err != nil {
		// It may be there all the same: an answer can be lost.
		if now, _, rerr := l.read(ctx, key); rerr == nil && now.Nonce == s.Nonce {
			return nil
		}
		return fmt.Errorf("writing the schedule of volume %s: %w", s.Volume, err)
	}
	return nil
}

// Delete removes the schedule of a volume, if there is one. Snapshots that it made stay.
func (l *Schedules) Delete(ctx context.Context, volume uuid.UUID) error {
	if err := l.store.Delete(ctx, scheduleKey(volume)); err != nil {
		return fmt.Errorf("deleting the schedule of volume %s: %w", volume, err)
	}
	return nil
}

func decodeSchedule(key string, body []byte) (*Schedule, error) {
	var s Schedule
	if err := record.Decode(body, &s); err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrDamaged, key, err)
	}
	if s.Format > scheduleFormat {
		return nil, fmt.Errorf("%s has format %d and this sluice knows formats up to %d: use a newer sluice", key, s.Format, scheduleFormat)
	}
	if s.Format < 1 || key != scheduleKey(s.Volume) || s.ID == uuid.Nil {
		return nil, fmt.Errorf("%w: %s is not a schedule", ErrDamaged, key)
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	}
	return &s, nil
}

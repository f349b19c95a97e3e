package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/object"
	"sluice/object/record"
)

// bucketFormat is the version of the bucket as a whole: which kinds of objects there are, and what they mean to each other. It is raised
// when an older program must not touch the bucket at all; a new version of one kind of object is that object's own affair.
const bucketFormat = 1

const formatKey = "format.json"

// format is the content of format.json.
type format struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	By      string    `json:"created_by"` // for people: the program
}

// CheckFormat refuses a bucket that a later version of the program made what it is. One without format.json is new, or of before
// there was that object: that is no error.
func CheckFormat(ctx context.Context, store object.Store) error {
	body, _, err := store.GetRange(ctx, formatKey, 0, -1)
	if errors.Is(err, object.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", formatKey, err)
	}
	var f format
	if err := record.Decode(body, &f); err != nil {
		return fmt.Errorf("%w: reading %s: %w", ErrDamaged, formatKey, err)
	}
	if f.Format > bucketFormat {
		return fmt.Errorf("%s has format %d and this sluice knows formats up to %d: use a newer sluice", formatKey, f.Format, bucketFormat)
	}
	if f.Format < 1 {
		return fmt.Errorf("%w: %s does not say which format the bucket has", ErrDamaged, formatKey)
	}
	return nil
}

// ClaimFormat is CheckFormat for who is about to write: it writes format.json where there is none. By says which program does so.
func ClaimFormat(ctx context.Context, store object.Store, by string) error {
	body, err := record.Encode(format{Format: bucketFormat, Created: time.Now().UTC(), By: by})
	if err != nil {
		return fmt.Errorf("encoding %s: %w", formatKey, err)
	}
	_, err = store.PutIf(ctx, formatKey, body, "")
	if err != nil && !errors.Is(err, object.ErrPrecondition) {
		return fmt.Errorf("writing %s: %w", formatKey, err)
	}
	return CheckFormat(ctx, store)
}

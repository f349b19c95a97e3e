package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"sluice/object"
	"sluice/object/record"
	"sluice/volume/segment"
)

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

package segment

import (
	"context"
	"errors"
	"fmt"
)

// Source is where objects are read: the bucket.
type Source interface {
	// GetRange returns n bytes of an object from offset off, fewer if it ends before.
	GetRange(ctx context.Context, key string, off, n int64) (data []byte, etag string, err error)
}

// FetchHeader reads the header of a segment's object, nearly always with one request of
// HeaderProbe bytes. It returns the source's error if there is no such object, and ErrObject
// if the object is not that segment's.
func FetchHeader(ctx context.Context, src Source, id ID) (*ObjectHeader, error) {
	need := int64(HeaderProbe)
	for {
		data, _, err := src.GetRange(ctx, id.Key(), 0, need)
		if err != nil {
			return nil, fmt.Errorf("fetching the header of segment %s: %w", id, err)
		}
		h, err := ParseHeader(data)
		var short *ErrShortHeader
		switch {
		case errors.As(err, &short) && int64(len(data)) < need:
			return nil, fmt.Errorf("object %s: %w: it ends after %d of %d bytes of its header", id.Key(), ErrObject, len(data), short.Need)
		case errors.As(err, &short):
			need = int64(short.Need) // more than before, so this ends
		case err != nil:
			return nil, fmt.Errorf("object %s: %w", id.Key(), err)
		case h.ID != id:
			return nil, fmt.Errorf("object %s: %w: it holds segment %s", id.Key(), ErrObject, h.ID)
		default:
			return h, nil
		}
	}
}

package object

import (
	"context"
	"iter"
	"time"
)

// Info describes one stored object.
type Info struct {
	Key     string
	Size    int64 // bytes
	ETag    string
	ModTime time.Time
}

// Store is a flat set of immutable-by-convention objects under one prefix of a
// bucket or a directory. All methods may be called concurrently. Keys are those
// that CheckKey accepts, and no key may be a path prefix of another ("a" and "a/b"),
// since not every backend can hold both. Errors are *Error; Transient tells those
// that may pass from those that will not, and a missing key is ErrNotFound.
type Store interface {
	// Put stores body under key, replacing what was there. When it returns nil the
	// object is durable. It returns the new ETag.
	Put(ctx context.Context, key string, body []byte) (etag string, err error)

	// PutIf stores body only if the object's present ETag is match; an empty match
	// means that the key must not exist. Otherwise it returns ErrPrecondition. After
	// any other error the write may or may not have taken effect. Put a nonce into body:
	// only then can it be told whose it is, and only then is its ETag new (many
	// stores make ETags of the content, so old content brings its old ETag back).
	PutIf(ctx context.Context, key string, body []byte, match string) (etag string, err error)

	// GetRange returns n bytes from offset off (all of the rest if n < 0) and the
	// ETag of the object that they came from. Fewer bytes than asked for is an error
	// unless the object ends inside the range; a range that starts at or behind the
	// end of the object returns no bytes and no error. If the object is replaced
	// meanwhile, the ETag may be that of the version before the bytes', never of one
	// after: a PutIf with it fails rather than replace what its writer has not seen.
	GetRange(ctx context.Context, key string, off, n int64) (data []byte, etag string, err error)

	// Stat describes the object.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose key begins with prefix and sorts after after, in
	// key order. It ends at the first error.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]

	// Delete removes the object. Deleting a missing key is no error.
	Delete(ctx context.Context, key string) error
}

package power

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"

	"sluice/object"
	"sluice/object/memory"
	"sluice/test/crashfs"
)

// bucket is a directory that holds the objects of one moment, for a process that starts then.
type bucket string

func (b bucket) path(key string) string { return filepath.Join(string(b), url.PathEscape(key)) }

func (b bucket) has(key string) bool {
	_, err := os.Stat(b.path(key))
	return err == nil
}

// apply brings the bucket on by an event.
func (b bucket) apply(e event) error {
	switch e.Kind {
	case "put": // in place of the old object, which copies of the bucket may still have
		if err := os.Remove(b.path(e.Key)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return os.WriteFile(b.path(e.Key), e.body, 0o600)
	case "delete":
		return os.Remove(b.path(e.Key))
	}
	return nil
}

// bring applies what a log says of the bucket.
func (b bucket) bring(log []crashfs.Op) error {
	for _, op := range log {
		if op.Kind != crashfs.Mark {
			continue
		}
		e, err := decode(op.Data)
		if err == nil {
			err = b.apply(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTo makes a copy in an empty directory.
func (b bucket) copyTo(to bucket) error {
	files, err := os.ReadDir(string(b))
	for _, f := range files {
		err = errors.Join(err, os.Link(filepath.Join(string(b), f.Name()), filepath.Join(string(to), f.Name())))
	}
	return err
}

// load returns a store with what the bucket has.
func (b bucket) load() (object.Store, error) {
	store := memory.New()
	files, err := os.ReadDir(string(b))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		key, err := url.PathUnescape(f.Name())
		if err != nil {
			return nil, err
		}
		body, err := os.ReadFile(filepath.Join(string(b), f.Name()))
		if err != nil {
			return nil, err
		}
		if _, err := store.Put(context.Background(), key, body); err != nil {
			return nil, err
		}
	}
	return store, nil
}

// Package dir is an object store in a local directory.
package dir

import "sluice/object"

// Store is an object.Store in a directory.
type Store struct{ object.Store }

// Open opens or creates the store in the directory path.
func Open(path string) (*Store, error) { return nil, nil }

// Close releases the directory.
func (s *Store) Close() error { return nil }

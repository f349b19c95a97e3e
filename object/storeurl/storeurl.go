// Package storeurl opens object stores by URL.
package storeurl

import (
	"context"

	"sluice/object"
)

// Store is an object store that is to be closed.
type Store interface {
	object.Store
	Close() error
}

// Open opens the store that rawURL names.
func Open(ctx context.Context, rawURL string) (Store, error) { return nil, nil }

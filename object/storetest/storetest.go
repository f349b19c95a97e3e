// Package storetest holds the conformance suite that every object store passes.
package storetest

import (
	"testing"

	"sluice/object"
)

// Run runs the suite; open returns an empty store each time.
func Run(t *testing.T, open func(t testing.TB) object.Store) {}

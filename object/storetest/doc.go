// Package storetest holds the conformance suite that every object store passes, and the
// decorators around one.
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) object.Store { return memory.New() })
//	}
//
// Each part of the suite gets an empty store of its own. The suite runs against the
// store in memory, the directory and a real S3 server by default.
package storetest

// Package metamorphic drives cached and stored volumes, snapshots, clones and the collector at random, on an object store that fails one
// call in twenty, and compares everything with a model in memory. Each kind of operation is done to volumes of both modes, whose contents go
// different ways only by which volume an operation chose. A failure is shrunk to the shortest sequence that still fails, and
// printed with its seed:
//
//	go test ./test/metamorphic -rapid.checks=1000
//	go test ./test/metamorphic -rapid.seed=N
package metamorphic

package object

import "context"

// Probe is a stub.
func Probe(ctx context.Context, s Store) error { return nil }

//go:build race

package sbc

// racing tells that the race detector is on, under which sync.Pool forgets at random.
const racing = true

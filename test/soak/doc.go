// Package soak does everything at once to real daemons for as long as you like: several initiators to each of several volumes of both modes,
// all of whose reads are verified; snapshots, clones and deletions; a collector beside the gateway's own, with a short
// horizon; restarts and kill -9 of the daemon; and a store that is slow, refuses, cuts connections, is frozen, or is killed and comes
// back. At the end, and on the way for every clone, everything must be what was written; at the very end also on
// a gateway that has nothing but the bucket.
//
//	make soak N=10      ten minutes
//	make test           some seconds
//
// It ends with its counts. A failure is not to be had again by a seed, since the machine's timing is part of it: what there is
// is the daemon's log, and the number of the write that was found in place of the expected one.
package soak

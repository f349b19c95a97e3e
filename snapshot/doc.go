// Package snapshot keeps moments of volumes. A snapshot is a root of a volume's block map
// and a record in the bucket, snapshots/<id>.json, that says whose it is and of when. Its data
// are the segments that the root names, which it shares with the volume, with other snapshots and with clones;
// nothing of them is copied.
//
// So a snapshot costs what changed since, and can be made into a volume again at once, in either
// mode, on any gateway that shares the bucket, also when its volume is long deleted. What no snapshot and no
// volume names any more is garbage: see package volume/gc.
//
// A record is written once, when all that its root names is in the bucket, and never changed.
package snapshot

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
//
// # What changed
//
// Diff compares two roots, not data: parts of the map that both share are not even read. Its cost is that of the
// part of the map that changed, about 14 bytes for a changed block at worst.
//
// # Is it all there?
//
// Verify answers that without restoring: see package volume/verify.
//
// A volume made of a damaged snapshot serves what is left, and fails the reads that meet the damage. Who would rather have zeros there says so:
// Report.Salvage writes a root without the lost ranges, which shares all the rest.
//
// # By themselves
//
// A Schedule says when snapshots of a volume are made, and a Keep which of them stay. Next, Due and Prune are pure functions of the
// schedule, the time and the snapshots that there are: each snapshot names the slot that it was made for, so that who makes them
// (see package appliance) needs no memory of its own, and of slots that were missed makes the last one, once. A schedule
// deletes nothing that it has not made, and never the newest.
//
//	at 01:00, every 8h        01:00     09:00     17:00     01:00     09:00
//	                     ───────■─────────■─────────■─────────■─────────■───────►
//	the gateway was off              └───────────────────┘↑ one, for 17:00
package snapshot

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
// Verify answers that without restoring. Two orders meet in it: the map is sorted by blocks of the volume, and what it names
// lies in segments, in the order of writing. Going through the map and asking for each block would read a segment of
// random writes thousands of times. So Verify first learns which segments there are (60 bytes of memory each, 8 MiB
// of data), and then works in batches of segments:
//
//	map ──────► segment → {slot, CRC32C} ...    as many segments as fit into 128 MiB
//	segments ─► header: is the slot there, with this sum?   ─► frames: do they decode to it?
//
// Each segment is read once: its header (64 KiB), and the frames that hold a wanted block. The map is read once for the segments and
// then for each batch from the first to the last block that the batch holds, so that a volume written in order reads it twice, and one
// written at random once more for each 64 GiB: 2 % of the data for a full TiB of random blocks. When something is
// damaged, one more reading of the map finds the ranges that it takes with it.
//
// A quick verification reads headers, and asks for the size of each object: 1 % of the data. It finds what is missing, cut short or
// another's; it does not find a flipped bit in a frame.
//
// An answer that the bucket could not give is an error, never damage.
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

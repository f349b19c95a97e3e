// Package verify answers whether all of some moments of volumes is in the bucket, without restoring anything. A moment is a root of
// the block map: the newest of a volume, a recovery point, a snapshot.
//
// # Two orders
//
// The map is sorted by blocks of the volume, and what it names lies in segments, in the order of writing. Going through the map and
// asking for each block would read a segment of random writes thousands of times. So Verify first learns which segments there are (60
// bytes of memory each, 8 MiB of data), and then works in batches of segments:
//
//	maps ─────► segment → {slot, CRC32C} ...    as many segments as fit into 128 MiB
//	segments ─► header: is the slot there, with this sum?   ─► frames: do they decode to it?
//
// Each segment is read once, however many moments need it: its header (64 KiB), and the frames that hold a wanted block. The parts of
// the maps that moments share are read once in a pass (see blockmap.Seen). A pass is made for the segments, and one for each batch from
// the first to the last block that the batch holds, so that a volume written in order is read about twice, and one written at random once
// more for each 64 GiB: 2 % of the data for a full TiB of random blocks. When something is damaged, one more reading of each map, but only where
// the damage is, finds the ranges that it takes with it.
//
// A quick verification reads headers, and asks for the size of each object: 1 % of the data. It finds what is missing, cut short or
// another's; it does not find a flipped bit in a frame.
//
// # Segments that are replayed
//
// Behind a root there are segments that no map names yet: whoever opens the volume replays them. Of these all is needed: the header that
// says what they did, and each block. Options.Whole lists them.
//
// # What is damage
//
// An answer that the bucket could not give is an error, never damage. What looks damaged is read twice. What was deleted after the
// moments were listed looks damaged, too: the caller lists them again, and looks again at what he was told (Options.Only).
package verify

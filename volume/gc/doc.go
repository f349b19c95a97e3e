// Package gc deletes from the bucket what no volume and no snapshot needs any more: segments
// without a live block, objects of map pages that no root refers to, and what deleted volumes left behind. Segments
// that are mostly dead are thinned: written again, under their own names, without the blocks that nothing names.
//
// # What is needed
//
// A root of the block map names the blocks of one moment of one volume. Needed is what any root
// names: those in the heads of volumes, with the points of their past, and those of snapshots. Needed is also what is replayed on top of a
// root: all segments of a volume's history behind its oldest point (or its root, if it keeps no past), and objects of roots that were written after the newest. Nothing
// else is.
//
// # Why nothing needed is ever deleted
//
// What is garbage stays garbage: names of blocks are never given twice, a copy inside of a volume
// gives only names that its newest root has or that are newer, and a snapshot or clone begins from a root that is in
// the bucket. So it does not matter how old the knowledge is by which something is deleted, nor
// how many gateways collect at once, nor whether one of them was stopped for a day in between. What matters is that
// a root that appears while we look is not missed:
//
//   - Objects are listed first, then heads are read for the points of the past, then snapshots, then heads again. A segment that is in the
//     list was written by an attachment whose head was there before.
//   - A snapshot is noted before its volume writes the next root (see volume.Cut): a reader of the head
//     after the list of snapshots sees the root that the snapshot has, or an older one.
//   - A clone writes its head, then looks whether its snapshot, or the point that it began from, still exists, and is not
//     made if it does not. So when that is missing from what we read first, a clone that was made of it has its
//     head in what we read last.
//   - What was found is garbage only if it was found twice, Horizon apart, with all heads read
//     anew in between.
//
// The same holds for blocks: one that no root names in a segment that nobody replays is never named again. A thinned segment keeps the
// numbers of the slots that are left, so all names stay good; whoever knows where its frames were finds that their checksums
// are wrong, and reads the header again. It is written by If-Match, so that one that was deleted does not come back.
//
// Any doubt means that nothing is deleted: a head or a snapshot that cannot be read, a map page that is
// damaged, an object whose name is not understood.
//
// # What it costs
//
// A pass lists all objects and reads all map pages of all roots, each page once, however many
// roots share it: about 3 bytes for each kilobyte of data, at most. In memory it holds about 300 bytes for each segment that has
// a live block, of up to 256 Ki segments (2 TiB; of more, passes take turns), and 100 for each page. To thin a segment it is read and written; that is worth it when a quarter of it is
// dead, so under steady overwrites at random the bucket has at most a third more than what is needed.
package gc

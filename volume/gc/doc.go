// Package gc deletes from the bucket what no volume and no snapshot needs any more: segments
// without a live block, objects of map pages that no root refers to, and what deleted volumes left behind.
//
// # What is needed
//
// A root of the block map names the blocks of one moment of one volume. Needed is what any root
// names: those in the heads of volumes and those of snapshots. Needed is also what is newer than
// a volume's root, since opening the volume replays it: segments behind the root's position, and
// objects of roots that were written after it. Nothing else is.
//
// # Why a needed object is never deleted
//
// What is garbage stays garbage: names of blocks are never given twice, a copy inside of a volume
// gives only names that its newest root has or that are newer, and a snapshot or clone begins from a root that is in
// the bucket. So it does not matter how old the knowledge is by which something is deleted, nor
// how many gateways collect at once, nor whether one of them was stopped for a day in between. What matters is that
// a root that appears while we look is not missed:
//
//   - Objects are listed first, then snapshots, then heads. A segment that is in the
//     list was written by an attachment whose head was there before.
//   - A snapshot is noted before its volume writes the next root (see volume.Cut): a reader of the head
//     after the list of snapshots sees the root that the snapshot has, or an older one.
//   - A clone writes its head, then looks whether its snapshot still exists, and is not
//     made if it does not. So when the snapshot is missing from our list, a clone that was made of it has its
//     head in ours.
//   - What was found is garbage only if it was found twice, Horizon apart, with all heads read
//     anew in between.
//
// Any doubt means that nothing is deleted: a head or a snapshot that cannot be read, a map page that is
// damaged, an object whose name is not understood.
//
// # What it costs
//
// A pass lists all objects and reads all map pages of all roots, each page once, however many
// roots share it: about 3 bytes for each kilobyte of data, at most. In memory it holds about 100 bytes for each segment that has
// a live block, and for each page.
package gc

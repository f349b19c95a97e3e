// Package blockmap says where every block of a volume is. It maps a logical block (4 KiB; its
// number is its offset in the volume divided by 4096) to a segment.Entry: the block's name,
// which is a segment and an index in it, and the CRC32C of its content. A block without an entry
// reads as zeros and occupies no space.
//
// # Pages
//
// The map is cut into pages of 512 blocks, 2 MiB of the volume. A page exists in up to three
// places, each as new as those to its right, or newer:
//
//	memory                   badger, on local disk         bucket
//	+-------------------+    +-----------------------+     +---------------------------+
//	| decoded pages,    | -> | encoded pages         |     | root -> nodes -> pages    |
//	| an LRU in bytes   |    | position, root, which |     | many to an object, shared |
//	| limbo: evicted,   |    | pages the root lacks  |     | between roots             |
//	| not saved yet     |    | copies of nodes       |     |                           |
//	+-------------------+    +-----------------------+     +---------------------------+
//	                              Checkpoint                   Freeze, WriteRoot, Done
//
// A lookup takes the first of them that has the page. What comes from the bucket is kept in
// badger from then on, so a volume that was opened from the bucket alone becomes local as it is
// used. A page that is nowhere is empty. A page that was emptied is stored as an empty page as
// long as the bucket may have an older version, which would else come back.
//
// In memory a page is sparse, a sorted list of 14 bytes an entry, or dense, two arrays (6 KiB),
// whichever suits how full it is. 16 million random entries over 1 TiB take 20 bytes each, all
// overhead included. Encoded, runs of consecutive names shrink to a few bytes, so that a page
// written sequentially takes 4 bytes a block (2.1 KB for 2 MiB), and one written at random at
// most 14. The formats are in docs/formats/blockmap.md; everything has a version and a checksum,
// and golden files under testdata keep old versions readable.
//
// # What a checkpoint promises
//
// Checkpoint(pos) saves every page that was changed, then makes them durable, then stores pos.
// After the process died, the map in badger is opened, and the caller replays the records of all
// segments behind Position, in order. The result is the map as it was.
//
// Writers do not stop for a checkpoint, and pages are also saved early, when they are evicted.
// So a saved page may be newer than pos. That does no harm, because replay is idempotent and
// total: each block of a page in badger holds the effect of some record, at pos or later. Either
// no record behind pos touches the block: then it has not changed since. Or some do: then the
// last of them is replayed last, and its effect does not depend on what was there before. In
// both cases the block ends as it was.
//
// That argument needs all records behind pos whose effects may be in badger. After the death of
// the process they are in the segment files. After a loss of power some may not be: those that
// were not synced. A page saved early may then name a block that is lost, in place of an older
// one that is not. A caller who cannot rule that out (the machine started anew, and the volume
// had not been closed cleanly) must Drop the local map and start from the root in the bucket.
//
// # What a root promises
//
// A root is read by others: another gateway, after this one and its disk were lost; a snapshot,
// years later. They replay what follows pos, too, but only segments that reached the bucket. A
// page that is newer than pos might name a segment that never did, and nothing would put that
// right. So a root must be the map at pos exactly: a consistent cut.
//
// Freeze(pos) makes the cut in microseconds. It takes the set of changed pages (a bitmap; one
// word for 64 pages) as the set to be written, and begins an empty one. From then on, whoever
// changes a page of the old set for the first time encodes it first and leaves the copy for
// WriteRoot. Pages that are not changed are encoded when WriteRoot comes to them, wherever they
// are by then. Copies beyond a bound go to badger.
//
// WriteRoot(store, key) writes the changed pages, then the index nodes above them, then the
// root, in one object, or a few if they are large. Pages and nodes that did not change are
// referred to where they are, in objects of older roots. Objects are never overwritten: the key
// ends with a hash of the content, since a root may be written twice for one position, by a
// gateway that died in between. Done, after the root was published, makes it the one that later
// roots build on. If the process dies between the two, or Done is called for a root that was not
// written, the changes are simply part of the next root as well: it is always safe to write a
// page again.
//
// Which pages the root lacks is stored by Checkpoint, too. The stored set may name too many
// pages (a root was finished since) but not too few: pages changed since the checkpoint are
// noted by the replay.
//
// # Roots without a map
//
// A root can be read where there is neither a Map nor a disk: a View yields its mapped blocks in
// order, with names and checksums, and says of each part that is damaged which blocks it takes with it. Diff compares
// two Views. Since nothing in the bucket is overwritten, a node or a page that both refer to at
// the same place is the same, and is not read: the cost is that of what changed.
//
// # Locks
//
// Pages are spread over 64 shards, each with a mutex that is held for a lookup, a change, or the
// encoding of one page: about a microsecond. It is never held while the disk or the bucket is
// waited for (one exception: a page that comes along unasked is looked for in badger). Whoever
// needs a page that is not in memory notes that it is loading it; others wait for that, or get
// EAGAIN if they said that they would not wait. Evicted pages that are not saved are written in
// the background; when they come to a quarter of the cache, whoever needs another page helps.
//
// # Caveats
//
//   - One Map for one volume at a time. The caller orders Set, Clear and Freeze.
//   - A Map does not know the size of its volume: it holds 32 TiB, most of which is empty.
//   - Objects of older roots stay in use as long as one page or node in them is. What a root
//     refers to is in its index nodes; deleting the rest is the work of the garbage collector.
//   - badger ends an iteration over damaged tables without an error. A page that is then missed
//     by Clear would keep its entries. Point reads of damaged blocks do fail.
package blockmap

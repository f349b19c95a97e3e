// Package cache keeps the local copies of segments: the upload buffer and the read cache
// are the same files.
//
// A segment file is born by Create, for the writer of a volume, and is unsent: it may be
// the only copy, so nothing evicts it. Sent marks it clean once it is in the bucket; from
// then on it is a cached copy like those that Read makes when it has to fetch blocks. A
// segment never changes once it is sealed, so a copy can be partial but never stale.
//
// What is present is kept in memory as one bit for each block and in the index (badger) as
// one mark for each clean copy. The index may lag behind: a block that it does not mention is
// fetched again. It may also be ahead of the disk after a loss of power: whoever reads a
// block checks its sum, which the block map has, and calls Invalidate for what is wrong.
//
// Files of whole segments that are evicted are not removed but used again for new segments, since
// a sync of an overwritten file is several times cheaper than of a growing one. Up to 16 of
// them wait for that, outside of the budget.
//
// A miss costs one request for each run of adjacent frames (16 blocks, compressed together),
// after one for the object's header. Readers that want the same frame share one request, and its
// failure. Eviction is by segment, in the order of a 2Q: one pass over a volume larger than
// the cache displaces only other newcomers. Each copy has an open file, so their number is
// bounded, too, by half of what the process may open.
//
// # What a file without a mark is
//
//	header of this segment     made here and maybe never sent: kept until Sent
//	header of another segment  about to be used again when the process died: removed
//	zeros, or nothing          a copy from the bucket that was not marked yet: removed
//	anything else              damaged: moved to the directory "damaged", in case it is the only copy
//	a later format             Open fails: a newer program may have left it unsent
package cache

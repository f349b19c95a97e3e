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
// fetched again. It may also be ahead of the disk after a loss of power: whoever reads a block checks its
// sum, which the block map has, and calls Invalidate for what is wrong.
//
// Files of whole segments that are evicted are not removed but used again for new segments, since
// a sync of an overwritten file is several times cheaper than of a growing one.
//
// A miss costs one request for each run of adjacent frames (16 blocks, compressed together).
// Readers that want the same frame share one request. Eviction is by segment, in the order of a
// 2Q: one pass over a volume larger than the cache displaces only other newcomers.
package cache

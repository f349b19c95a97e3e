// Package segment holds the segment, the unit in which a volume's data is written, uploaded
// and kept: an array of 4 KiB blocks that never changes once it is sealed. It is bytes only:
// it knows files and objects, but no network, no cache and no volume.
//
// # Names
//
// An ID names a segment for ever, and a Name names one block: a segment and the index of a
// slot in it. Wherever the block's bytes are (in the local file, in the object in the
// bucket, in another gateway's cache) its Name is the same, and so is its CRC32C. The block
// map holds both as an Entry.
//
// # A segment's life
//
//	Create -> Writer.Append ... -> sealed -> Builder.EncodeFile -> PUT -> FetchHeader, DecodeFrame
//	               |                              ^
//	               +---- crash ---- Recover ------+
//
// While it is open, a segment is a local file only. Appends take its slots one after the
// other; a block that is written again takes a new slot. When it is sealed, Collapse
// finds what is left: the last state of each logical block. Only that goes to the object,
// but slots keep their numbers, so that every Name stays true.
//
// # The local file
//
//	0        4096                         128 KiB    +4 KiB     +8 KiB           8.125 MiB
//	+--------+--------+--------+-- - - ---+----------+----------+--- - - - ------+
//	| header | record | record | ...      | slot 0   | slot 1   | ...            |
//	+--------+--------+--------+-- - - ---+----------+----------+--- - - - ------+
//	 `---------- metadata region --------' `------------ 2048 slots ------------'
//
// The file has its full size from the beginning, and a file whose segment was evicted is
// used again: syncing data that was overwritten in place is several times cheaper than
// syncing a file that grew. Nothing is erased before. What makes an old record not a
// record of the new segment is the segment ID in it.
//
// An append is one gathered write of the blocks, then one write of a record:
//
//	0     4     8     12 13    16          24     28    32    36    40
//	+-----+-----+-----+--+-----+-----------+------+-----+-----+-----+----------+--------+-----+
//	|SLR1 | CRC | len |op|  0  | segment   |number|slot |runs |sums | runs     | sums   | pad |
//	+-----+-----+-----+--+-----+-----------+------+-----+-----+-----+----------+--------+-----+
//	                                                                 16 each    4 each
//
// One record carries all the writes that were combined into an append: many runs of logical
// blocks, whose data is in consecutive slots.
//
// # What survives
//
// The data is written before its record, so whoever sees the record after the death of the
// process sees the data. After a loss of power neither order nor completeness holds for what
// was not synced. Therefore Recover checks the data of each record against its sums, stops at the
// first record that is not good in every respect, and keeps all before it. Whatever was
// synced comes before anything that was not, so it is kept.
//
// Two things must never come back: a record of the segment that used the file before (its
// ID differs), and a record that was behind a lost one (Resume overwrites it, before
// it writes in the gap).
//
// # The object
//
//	+--------+------+-------------+-----------+-------+-----+---------+---------+-- - -
//	| fixed  | sums | frame table | live runs | holes | CRC | frame 0 | frame 1 | ...
//	+--------+------+-------------+-----------+-------+-----+---------+---------+-- - -
//	 64 bytes  4 each  4 each       varints     varints  4
//
// A frame is 16 live blocks, in slot order, stored as one piece: s2, zstd or raw. A reader
// finds the frame of a slot by binary search among the live runs, fetches just that range
// of the object, and checks every block. The header is in the first 64 KiB of the object
// but for segments with thousands of scattered zeroed or unmapped runs; of 2048 single
// blocks in random places it has about 23 KiB, 0.3 % of the data.
//
// Both formats are described byte by byte in docs/FORMATS.md, and held by the golden files in
// testdata/golden.
package segment
